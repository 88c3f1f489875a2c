"Galaxies drawn onto the disk: the most memory and galaxies a second against their number, as a packed survey and as cubes of stamps, beside drawing all of them in memory."
import subprocess,sys,tempfile
import pandas as pd
from pathlib import Path
from astrovader.core import write_json
from common import machine,parser

code = '''
import resource,sys,time,torch
way,run,out,n,size = sys.argv[1:4] + [int(o) for o in sys.argv[4:6]]
from astrovader.infer.fields import write_stamps
from astrovader.infer.generate import generate,write_generated
from astrovader.infer.stamps import mock
ways = {'packed survey': lambda: write_generated(run, out, n, detail='none', device='cpu'),
    'cubes': lambda: write_stamps(mock(run, n, detail='none', device='cpu'), out, 'cube', size),
    'in memory': lambda: generate(run, n, detail='none', device='cpu')}
start = time.perf_counter()
ways[way]()
print('\\nfound', time.perf_counter()-start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)
'''

def drawn(way, run, out, n, size):
    "Seconds, and the most memory in MB, of a process that draws `n` galaxies."
    done = subprocess.run([sys.executable, '-c', code, way, run, out, str(n), str(size)], capture_output=True, text=True, check=True)
    return tuple(map(float, done.stdout.split('found')[-1].split()))

def main():
    p = parser(__doc__, device=False)
    p.add_argument('--run', default='sdss', help='the model: a run, or the name of a packaged one')
    p.add_argument('--n', type=int, nargs='+', default=[1000, 10_000, 100_000], help='numbers of galaxies')
    p.add_argument('--ways', nargs='+', default=['packed survey', 'cubes', 'in memory'], help='which ways; the last is the baseline')
    p.add_argument('--size', type=int, default=32, help='size of the stamps of a cube in pixels')
    a = p.parse_args()
    rows = []
    for n in a.n:
        for way in a.ways:
            with tempfile.TemporaryDirectory() as folder: seconds, peak = drawn(way, a.run, Path(folder)/'out', n, a.size)
            rows.append(dict(way=way, n=n, seconds=seconds, per_s=n/seconds, peak_mb=peak))
            print(f'{way}, {n:,} galaxies: {peak:,.0f} MB, {n/seconds:,.0f} galaxies/s', flush=True)
    t = pd.DataFrame(rows).set_index(['way', 'n'])
    first, last = min(a.n), max(a.n)
    base = t.loc[a.ways[-1]]
    for way in a.ways[:-1]:
        grown, more = (one.peak_mb[last] - one.peak_mb[first] for one in (t.loc[way], base))
        print(f'{way}: {grown:+,.0f} MB from {first:,} to {last:,} galaxies, {a.ways[-1]} {more:+,.0f} MB; {t.per_s[way, last]/base.per_s[last]:.2f} times as fast')
    if a.json: write_json(a.json, dict(benchmark='drawing', settings=dict(run=a.run, size=a.size), **machine(), rows=rows))

if __name__ == '__main__': main()
