"Batches from the packed survey against the same images as PNG files through fastai's own DataBlock, with no worker processes and with some; and what share of a training step the loading is. All runs take turns, on simulated galaxies, with all files in the page cache."
import tempfile,torch
import numpy as np
from fastai.data.block import DataBlock
from fastai.vision.core import PILImageBW
from fastai.vision.data import ImageBlock
from functools import partial
from pathlib import Path
from PIL import Image
from astrovader.train.learner import vade_learner
from astrovader.data.loaders import SurveyLoader,SurveyRows,prefetch
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from common import alternate,finish,parser,rates

def simulate(d, n, n_files, size):
    "A survey of `n` simulated galaxies, some of which are there more than once, and the first `n_files` of them as PNG files."
    xs = sky(min(n, 500), size)[0]
    (d/'png').mkdir(parents=True)
    files = [d/f'png/{i:06}.png' for i in range(n_files)]
    for i,f in enumerate(files): Image.fromarray(xs[i%len(xs),0]).save(f)
    blocks = (xs[np.arange(i, min(i+1000, n))%len(xs)] for i in range(0, n, 1000))
    return pack_arrays(blocks, d/'survey'), files

def of_fastai(files, bs, n_workers):
    "fastai's own way with files: grey images, shuffled, as floats."
    block = DataBlock(blocks=(ImageBlock(PILImageBW),), splitter=lambda o: (range(len(o)), [0]))
    return block.dataloaders(files, bs=bs, num_workers=n_workers, device=torch.device('cpu')).train

def drain(batches):
    "Take all batches, of which `batches()` makes a new round."
    for _ in batches(): pass

def runs(survey, files, a):
    "Name to function and number of images, of each way to load."
    loader = partial(SurveyLoader, bs=a.bs, shuffle=True, drop_last=True, device=torch.device(a.device))
    data = SurveyRows(survey)
    plain,flipped = loader(data),loader(data, flips=True)
    n = len(plain)*a.bs
    out = {'survey, bytes': (partial(map, data.batch), n), 'survey, bytes, read ahead': (partial(prefetch, data.batch), n)}
    out = {k: (lambda f=f: f(plain.get_idxs()), n) for k,(f,n) in out.items()}
    out |= {'survey, floats': (lambda: plain, n), 'survey, floats, flipped': (lambda: flipped, n)}
    if plain.device.type == 'cuda':
        held = loader(SurveyRows(survey, device=a.device), flips=True)
        out['survey on the device, floats, flipped'] = lambda: held, n
    for w in sorted({0, a.workers}):
        dl = of_fastai(files, a.bs, w)
        out[f'PNG files, floats, {w} workers'] = lambda dl=dl: dl, len(dl)*a.bs
    return {k: (partial(drain, f), n) for k,(f,n) in out.items()}

def step(survey, preset, a):
    "A training step on the device as a function, and its images."
    learn = vade_learner(survey, preset, device=a.device, valid=.1)
    learn.model.train()
    learn.create_opt()
    x = learn.dls.train.one_batch()[0]
    def one():
        learn.loss_func(learn.model(x), x).backward()
        learn.opt.step()
        learn.opt.zero_grad()
    return one, len(x)

def measure(size, preset, a, d):
    "Rows of the table for images of one size, with a training step of one preset."
    survey,files = simulate(Path(d)/f'{size}', a.n, a.n_files, size)
    ways = runs(survey, files, a)
    one,n_step = step(survey, preset, a)
    took = alternate({k: f for k,(f,_) in ways.items()}, a.rounds, a.device)
    step_s = alternate(dict(step=one), a.steps, a.device).loc['step', 'median']/n_step
    rows = []
    for k,(_,n) in ways.items():
        r = rates(took.loc[[k]], n).iloc[0]
        rows.append(dict(size=size, way=k, images_per_s=r.per_s, slowest=r.slowest, fastest=r.fastest, step=preset, step_images_per_s=1/step_s,
            percent_of_step=100/r.per_s/step_s))
    return rows

def main():
    p = parser(__doc__)
    p.add_argument('--n', type=int, default=20000, help='images in the survey')
    p.add_argument('--n-files', type=int, default=2000, help='how many of them are written as PNG files too')
    p.add_argument('--sizes', type=int, nargs='+', default=[128, 64], help='sides of the images in pixels')
    p.add_argument('--presets', nargs='+', default=['full', 'small'], help='preset of the training step, for each size')
    p.add_argument('--bs', type=int, default=180, help='images in a batch that is loaded')
    p.add_argument('--workers', type=int, default=2, help="fastai's worker processes, beside a run without any")
    p.add_argument('--steps', type=int, default=3, help='training steps that are timed; the median counts')
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d: rows = [o for size,preset in zip(a.sizes, a.presets) for o in measure(size, preset, a, d)]
    finish(rows, a, 'loading', images='simulated by astrovader.data.synth, 8-bit grey')

if __name__ == '__main__': main()
