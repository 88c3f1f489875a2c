"Packing against opening and resizing with PIL in a loop, opening two million rows against pandas reading the index, and random batches against reading the files."
import argparse,os,tempfile,time
import numpy as np,pandas as pd
from pathlib import Path
from PIL import Image
from astrovader.core import provenance,read_json,write_json
from astrovader.data.sources import find_images
from astrovader.data.survey import Survey,npy_header
from astrovader.data.pack import pack,pack_arrays
from astrovader.data.synth import sky

def timed(f):
    "Seconds, wall-clock, and what `f` returned."
    t = time.perf_counter()
    out = f()
    return time.perf_counter()-t, out

def write_folder(d, n, size):
    "`n` JPEGs of simulated galaxies, three bands."
    (d/'sky').mkdir()
    xs,truth = sky(min(n, 500), size, bands=3)
    for i in range(n): Image.fromarray(xs[i % len(xs)].transpose(1, 2, 0)).save(d/f'sky/{i}.jpg', quality=90)
    return d/'sky'

def loop(files, size):
    "The baseline of packing: open, average the bands, resize and keep, one file after another."
    return np.stack([np.asarray(Image.fromarray(np.asarray(Image.open(f)).mean(2)).resize((size, size), Image.Resampling.BILINEAR)).astype(np.uint8)
        for f in files])

def packing(d, src, size, n_workers, i):
    sources = find_images(src)
    ours,s = timed(lambda: pack(src, d/f'packed-{i}', size, n_workers=n_workers))
    theirs,xs = timed(lambda: loop(sources[:], size))
    return ours, theirs, s, sources

def sparse(d, n, size, rows=8192):
    "A survey of `n` rows whose shards are holes, with an index as long as that of a real one."
    s = pack_arrays(np.zeros((1, 1, size, size), np.uint8), d/'sparse')
    parts = [min(rows, n-i) for i in range(0, n, rows)]
    for i,o in enumerate(parts):
        with open(s.path/f'shard-{i:05d}.npy', 'wb') as f:
            f.write(npy_header((o, 1, size, size)))
            f.truncate(f.announce() + o*size*size)
    r,k = np.random.default_rng(0),np.arange(n)
    own = dict(object_id=(587722981736120000+k).astype(str), file=[f'{i%1000}/{i}.jpg' for i in k], shard=k//rows, row=k%rows, flags=0, n_nan=0)
    pd.DataFrame({**own, **{f'vote_{i}': r.random(n) for i in range(10)}}).to_parquet(s.path/'index.parquet', index=False, row_group_size=100_000)
    meta = read_json(s.path/'survey.json')
    write_json(s.path/'survey.json', {**meta, 'n': n, 'shards': [dict(file=f'shard-{i:05d}.npy', rows=o, sha256='') for i,o in enumerate(parts)]})
    return s.path

def resident():
    "Memory of this process in MB (Linux)."
    return int(Path('/proc/self/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')/1e6

def opening(path):
    before = resident()
    ours,s = timed(lambda: Survey(path))
    grown = resident()-before
    return ours, timed(lambda: pd.read_parquet(path/'index.parquet'))[0], grown, timed(lambda: s.ids([0]))[0]

def batches(s, sources, size, n=20, batch=256):
    rows = np.random.default_rng(0).integers(0, len(s), (n, batch))
    ours = timed(lambda: [s.images(o) for o in rows])[0]
    return ours/n, timed(lambda: loop([sources[int(i):int(i)+1][0] for i in rows[0]], size))[0]

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--src', help='images to pack, a folder of files; simulated JPEGs without it')
    p.add_argument('--n', type=int, default=4000, help='how many JPEGs are simulated')
    p.add_argument('--size', type=int, default=64, help='size they are packed at')
    p.add_argument('--n-workers', type=int, default=2, help='processes that pack')
    p.add_argument('--rows', type=int, default=2_000_000, help='rows of the survey that is opened')
    p.add_argument('--repeats', type=int, default=3, help='repetitions, in turn with the baselines; the median counts')
    p.add_argument('--json', help='write the result to this file')
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        src = Path(a.src) if a.src else write_folder(d, a.n, 128)
        packs = [packing(d, src, a.size, a.n_workers, i) for i in range(a.repeats)]
        s,sources = packs[-1][2:]
        gets = [batches(s, sources, a.size) for _ in range(a.repeats)]
        path = sparse(d, a.rows, 64)
        opens = [opening(path) for _ in range(a.repeats)]
        (ours,theirs),(got,read),(opened,pandas,grown,ids) = (np.median([o[:k] for o in xs], axis=0) for xs,k in ((packs, 2), (gets, 2), (opens, 4)))
        out = dict(benchmark='survey', images=len(s), size=a.size, n_workers=a.n_workers, repeats=a.repeats,
            packing=dict(seconds=ours, images_per_s=len(s)/ours, baseline='open and resize with PIL in a loop', baseline_seconds=theirs, ratio=theirs/ours),
            batch=dict(images=256, seconds=got, baseline='read the same files', baseline_seconds=read, ratio=read/got),
            opening=dict(rows=a.rows, seconds=opened, baseline='pandas reads the whole index', baseline_seconds=pandas, ratio=pandas/opened,
                mb_more=max(o[2] for o in opens), first_id_seconds=ids), **provenance())
    for k in 'packing', 'batch', 'opening':
        o = out[k]
        print(f"{k}: {o['seconds']:.4f} s; {o['baseline']}: {o['baseline_seconds']:.4f} s; ratio {o['ratio']:.2f}")
    print(f"opening {a.rows} rows took {out['opening']['mb_more']:.1f} MB, and the first id {ids:.2f} s")
    if a.json: write_json(a.json, out)

if __name__ == '__main__': main()
