"How time and memory grow with the number of images, components and latents, from packing to agreement, and what a second process brings: the power law of each stage, measured at several sizes, each in a process of its own, and beside it what a plain library takes for the same in the same run."
import io,os,resource,tempfile,time,torch
import numpy as np,pandas as pd
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_mutual_info_score,pairwise_distances,silhouette_samples
from sklearn.mixture import GaussianMixture
from astrovader.infer.catalogue import catalogue
from astrovader.train.learner import vade_learner
from astrovader.train.recorder import KeepHistory
from astrovader.analysis.metrics import agreement,silhouette,silhouette_sample,simplified_silhouette
from astrovader.model.mixture import fit_mixture
from astrovader.model.process_group import launch
from astrovader.data.pack import pack,pack_arrays
from astrovader.data.synth import sky
from common import alternate,cores,finish,parser
from survey import loop,write_folder

def vectors(n, k, j):
    "Overlapping groups in `j` dimensions, and the label of each vector."
    r = np.random.default_rng(0)
    c = r.integers(0, k, n)
    return (r.normal(size=(k, j))[c] + r.normal(size=(n, j))).astype(np.float32), c

def survey_of(d, n):
    "A survey of `n` images of 64 pixels, of which 256 differ."
    x = np.load(d/'sky.npy')
    return pack_arrays((x[np.arange(i, min(i+1024, n))%len(x)] for i in range(0, n, 1024)), Path(tempfile.mkdtemp(dir=d))/'survey')

def packing(d, n, k, j):
    folder = Path(tempfile.mkdtemp(dir=d))
    (folder/'files').write_text('\n'.join(str(d/f'sky/{i}.jpg') for i in range(n)))
    outs = iter(range(1000))
    return lambda: pack(folder/'files', folder/f'{next(outs)}', 64, n_workers=1), 'PIL in a loop', lambda: loop([d/f'sky/{i}.jpg' for i in range(n)], 64)

def learner(d, n, k, j): return vade_learner(survey_of(d, n), 'small', n_components=k, n_latent=j, device='cpu')

def epoch(d, n, k, j):
    learn = learner(d, n, k, j)
    learn.loss_func.weights = dict(gaussian_kl=0., mixture_kl=.1)
    x, valid = (o.one_batch()[0] for o in learn.dls)
    def plain():
        opt = torch.optim.Adam(learn.model.parameters(), fused=True)
        for _ in range(len(learn.dls.train)):
            learn.loss_func(learn.model.train()(x), x).backward()
            opt.step()
            opt.zero_grad()
        with torch.no_grad():
            for _ in range(len(learn.dls.valid)): learn.loss_func(learn.model.eval()(valid), valid)
    def ours(): learn.fit(1, lr=1e-4, cbs=KeepHistory())
    return ours, 'the same steps in a bare loop, on one batch', plain

def through(d, n, k, j):
    learn = learner(d, n, k, j)
    model, survey = learn.model.eval(), learn.dls.train.dataset.survey
    x = torch.from_numpy(survey.images(np.arange(min(n, 100)))).float()/255
    @torch.no_grad()
    def plain():
        for _ in range(-(-n//100)): model.decode(model.encode(x)[0])
    return lambda: catalogue(model, survey, device='cpu'), 'encode and decode one batch again and again', plain

def fitting(d, n, k, j):
    z, _ = vectors(n, k, j)
    return lambda: fit_mixture(z, k), 'GaussianMixture of scikit-learn, one start', lambda: GaussianMixture(k, covariance_type='diag', random_state=0).fit(z)

def full(d, n, k, j):
    z, c = vectors(n, k, j)
    return lambda: silhouette(z, c, 'cpu'), 'silhouette_samples of scikit-learn', lambda: silhouette_samples(z, c)

def sampled(d, n, k, j):
    z, c = vectors(n, k, j)
    def plain():
        order = np.argsort(c)
        for i in range(0, 1200, 50): np.add.reduceat(cdist(z[i:i+50], z[order]), np.searchsorted(c[order], range(k)), axis=1)
    return lambda: silhouette_sample(z, c, 1200, device='cpu'), 'distances of as many by cdist, summed', plain

def simplified(d, n, k, j):
    z, c = vectors(n, k, j)
    means = np.stack([z[c==i].mean(0) for i in range(k)])
    return lambda: simplified_silhouette(z, c, means), 'pairwise_distances of scikit-learn to the means', lambda: pairwise_distances(z, means)

def agreeing(d, n, k, j):
    _, c = vectors(n, k, 1)
    truth = np.where(np.random.default_rng(1).random(n) < .5, c%3, 0)
    return lambda: agreement(c, truth), 'adjusted_mutual_info_score of scikit-learn', lambda: adjusted_mutual_info_score(truth, c)

# the sizes of each stage, quick and full, and what else it may grow with
stages = {'packing': (packing, (200, 400, 800), (1000, 4000, 16000), ''), 'one epoch': (epoch, (143, 285, 570), (1024, 4096, 16384), 'KJ'),
    'catalogue': (through, (300, 600, 1200), (2000, 8000, 32000), 'KJ'), 'mixture initialisation': (fitting, (4000, 12000, 36000), (36000, 200000, 10**6), 'KJ'),
    'silhouettes, full': (full, (5000, 9000, 16000), (20000, 60000, 180000), 'KJ'),
    'silhouettes of 1,200': (sampled, (20000, 60000, 180000), (10**5, 3*10**5, 10**6), 'KJ'),
    'silhouettes, simplified': (simplified, (10**5, 3*10**5, 10**6), (10**6, 2*10**6, 4*10**6), 'KJ'),
    'agreement': (agreeing, (10**5, 3*10**5, 10**6), (10**6, 3*10**6, 10**7), 'K')}

def resident():
    "Memory of this process in MB (Linux)."
    return int(Path('/proc/self/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')/2**20

def measured(stage, d, n, k, j, rounds):
    "Seconds of ours and of the baseline, one of each a round, and the most memory that ours took beyond what it began with, in a process of its own."
    with redirect_stdout(io.StringIO()):
        ours, name, plain = stages[stage][0](Path(d), n, k, j)
        before = resident()
        ours()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
        t = alternate({'ours': ours, 'plain': plain}, rounds, warm=0)
    return dict(n=n, k=k, j=j, seconds=t['all']['ours'], baseline=name, baseline_seconds=t['all']['plain'], mb=max(0., peak-before), peak_mb=peak)

def apart(*args):
    "`measured`, in a new process that has loaded the libraries and computed nothing."
    context = get_context('forkserver')
    context.set_forkserver_preload(['sklearn.mixture', 'sklearn.metrics', *(f'astrovader.{o}' for o in ('catalogue', 'learner', 'metrics', 'ranks', 'survey', 'synth'))])
    with ProcessPoolExecutor(1, mp_context=context) as pool: return pool.submit(import_module('scaling').measured, *args).result()

def law(sizes, seconds):
    "The exponent of time as a power of size: the median over rounds, the least and the most."
    got = [np.polyfit(np.log(sizes), np.log(o), 1)[0] for o in zip(*seconds)]
    return np.median(got), min(got), max(got)

def row(stage, along, points):
    "What the table says of one stage, grown in one way."
    sizes, times = [o[along] for o in points], [o['seconds'] for o in points]
    (exponent, least, most), last = law(sizes, times), points[-1]
    listed = lambda xs, f: ' / '.join(f.format(o) for o in xs)
    ratios = np.divide(last['baseline_seconds'], last['seconds'])
    return dict(stage=stage, along=dict(n='rows', k='components', j='latents', ranks='processes')[along], sizes=listed(sizes, '{:,}'),
        seconds=listed([np.median(o) for o in times], '{:.3g}'), exponent=f'{exponent:.2f} ({least:.2f} to {most:.2f})', mb_more=listed([o['mb'] for o in points], '{:.0f}') if 'mb' in last else None,
        faster=f'{np.median(ratios):.2g} ({min(ratios):.2g} to {max(ratios):.2g})', than=last['baseline'])

def grown(stage, d, a):
    "Rows of the table for one stage, and the measurements behind them."
    _, quick, large, more = stages[stage]
    sizes = [max(2*a.components, int(o*a.scale)) for o in (large if a.full else quick)]
    point = lambda n, k=a.components, j=a.latents: apart(stage, str(d), n, k, j, a.rounds)
    points = dict(n=[point(n) for n in sizes])
    middle = points['n'][1]
    if 'K' in more: points['k'] = [point(sizes[1], a.components//2), middle, point(sizes[1], 2*a.components)]
    if 'J' in more: points['j'] = [point(sizes[1], j=a.latents//2), middle, point(sizes[1], j=2*a.latents)]
    return [row(stage, o, v) for o,v in points.items()], {f'{stage}, {o}': v for o,v in points.items()}

def trained(d, survey, ranks, epochs):
    "Seconds of each epoch of a training in so many processes, after the first."
    was = dict(os.environ)
    os.environ.update(OMP_NUM_THREADS=str(max(1, cores()//ranks)), CUDA_VISIBLE_DEVICES='')
    r = launch(ranks, 'astrovader-train', survey.path, d/f'run-{ranks}', '--preset', 'small', '--epochs-alpha', epochs+1, '--epochs-anneal', 1,
        '--epochs-static', 0, '--n-periods', 1)
    os.environ.clear()
    os.environ.update(was)
    if r.returncode: raise SystemExit(f'training in {ranks} processes failed:\n{r.stderr[-2000:]}')
    return pd.read_csv(d/f'run-{ranks}/history.csv').seconds[1:epochs+1].tolist()

def shared(d, a):
    "The row of an epoch in more processes, all of them on the cores of this machine."
    survey = survey_of(d, max(64, int((4096 if a.full else 1024)*a.scale)))
    took = {r: trained(d, survey, r, a.rounds) for r in a.ranks}
    points = [dict(ranks=r, seconds=o, baseline='one process', baseline_seconds=took[a.ranks[0]]) for r,o in took.items()]
    return row('one epoch, shared', 'ranks', points), points

def main():
    p = parser(__doc__, device=False)
    p.add_argument('--stages', nargs='+', choices=list(stages), default=list(stages), help='which stages')
    p.add_argument('--components', type=int, default=12, help='components, where they do not grow')
    p.add_argument('--latents', type=int, default=20, help='latents, where they do not grow')
    p.add_argument('--ranks', type=int, nargs='*', default=[1, 2], help='numbers of processes that share an epoch; none for no such row')
    p.add_argument('--full', action='store_true', help='sizes up to a million rows and more; minutes for each stage')
    p.add_argument('--scale', type=float, default=1., help='multiply all sizes, for a trial')
    p.set_defaults(rounds=3)
    a = p.parse_args()
    began, rows, points = time.perf_counter(), [], {}
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        if 'packing' in a.stages: write_folder(d, int(max(stages['packing'][1 + a.full])*a.scale)+2*a.components, 128)
        np.save(d/'sky.npy', sky(256, 64, seed=0)[0])
        for stage in a.stages:
            print(stage, end=' ', flush=True)
            more, got = grown(stage, d, a)
            rows, points = rows+more, points|got
        if len(a.ranks) > 1:
            one, points['ranks'] = shared(d, a)
            rows.append(one)
    print()
    finish(rows, a, 'scaling', points=points, minutes=(time.perf_counter()-began)/60)

if __name__ == '__main__': main()
