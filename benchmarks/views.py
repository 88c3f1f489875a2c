"Which views the features of `shape` need: the contrast phase alone with each left out, by seeds; how far the shape that is read from the features, and a mixture of it, follow what volunteers say, in the framing that was learned and in others."
import os
os.environ.setdefault('OMP_NUM_THREADS', '1')
import argparse,time,torch
import numpy as np,pandas as pd
from contextlib import redirect_stdout
from dataclasses import replace
from fastai.callback.core import CancelFitException,Callback
from pathlib import Path
from sklearn.mixture import GaussianMixture
from common import machine
from morphology import Found,add_images,classes_of,n_components,same_images,survey_of,with_votes
from astrovader.core import read_json,write_json
from astrovader.analysis.metrics import mean_silhouettes
from astrovader.data.loaders import to_float
from astrovader.data.views import shape_views,unchanged,view_loaders
from astrovader.train.learner import vade_learner
from astrovader.train.phases import presets,with_changes

still = dict(brightness=(1., 1.), tint=0., blur=0., noise=0., sky=0.) | unchanged
appearance = 'shift','zoom','brightness','tint','blur','noise','sky'
variants = {'all views': ()} | {f'no {"change of " if o in ("brightness", "tint", "sky") else ""}{o}': (o,) for o in appearance}
variants |= {'no rotation or mirror image': ('angle', 'flip'), 'rotation and mirror image alone': appearance}
others = 're-cut','dimmed'

class ContrastAlone(Callback):
    "Ends a training when its features are learned and the shape is set."
    order = 11
    def before_epoch(self):
        if self.epoch >= self.learn.preset.epochs_contrast: raise CancelFitException

@torch.no_grad()
def encoded(model, survey):
    "Features and shape of the images of a survey."
    model.eval()
    parts = [model.encoder.features(to_float(survey.images(slice(i, i+256)))) for i in range(0, len(survey), 256)]
    features = torch.cat(parts)
    return features.double().numpy(), model.encoder.shape_heads[0](features).double().numpy()

def grouped(z, seed):
    "Components of full covariances."
    gm = GaussianMixture(n_components, n_init=3, reg_covar=1e-4, random_state=seed).fit(z)
    return Found(z, gm.predict_proba(z), gm.weights_, gm.means_, np.stack([np.diag(o) for o in gm.covariances_])), gm

def scores(args, model, seed):
    "What features, shape and components tell, and what is left of it in other framings."
    survey = survey_of(args, 'all', 'canonical', 'rgb')
    classes = classes_of(args, survey)
    features, z = encoded(model, survey)
    found, gm = grouped(z, seed)
    of_features = with_votes(replace(found, z=features), classes, seed)['probe']
    out = {k: v for k,v in with_votes(found, classes, seed).items() if k in ('ami', 'balanced', 'probe')}
    out |= dict(features=of_features, silhouette=mean_silhouettes(z, found.p.argmax(1)).attrs['mean'])
    for kind in others:
        other = survey_of(args, kind, 'canonical', 'rgb', survey)
        z = encoded(model, other)[1]
        there = with_votes(replace(found, z=z, p=gm.predict_proba(z)), classes_of(args, other), seed)
        out |= {f'{o}, {kind}': there[o] for o in ('ami', 'probe')}
    return out

def result(args, name, seed):
    "The scores of one training, made now or before."
    path = args.out/'views'/f'{name.replace(" ", "_")}-{args.noise}-{args.epochs}-{seed}.json'
    if path.exists(): return read_json(path)
    survey, start = survey_of(args, 'all', 'canonical', 'rgb'), time.process_time()
    preset = with_changes(presets['shape'], epochs_contrast=args.epochs)
    views = replace(shape_views, **{'noise': args.noise} | {o: still[o] for o in variants[name]})
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix('.log'), 'a') as f, redirect_stdout(f):
        learn = vade_learner(survey, preset, seed=seed, device='cpu')
        learn.pairs = view_loaders(survey, views, True, preset.batch_size, preset.valid, seed, 'cpu')
        learn.add_cb(ContrastAlone())
        learn.fit_phases()
    out = dict(name=name, seed=seed, cpu_s=time.process_time()-start) | scores(args, learn.model, seed)
    write_json(path, out)
    print(f'{name}, seed {seed}: ' + ', '.join(f'{k} {v:.3f}' for k,v in out.items() if k not in ('name', 'seed')), flush=True)
    return out

def bench(args):
    args.out.mkdir(parents=True, exist_ok=True)
    same_images(args)
    each = pd.DataFrame([result(args, o, s) for s in range(args.seeds) for o in args.only])
    groups = each.drop(columns='seed').groupby('name', sort=False)
    mean, spread = groups.mean(), groups.std().fillna(0)
    print((mean.map('{:.3f}'.format) + ' ± ' + spread.map('{:.3f}'.format)).to_string())
    base = mean.loc[args.only[0]]
    print((mean/base).round(2).to_string())
    settings = dict(epochs=args.epochs, noise=args.noise, seeds=args.seeds, size=args.size)
    if args.json: write_json(args.json, dict(benchmark='views', settings=settings, rows=mean.reset_index().to_dict('records'), each=each.to_dict('records'), **machine()))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_images(p)
    p.add_argument('--out', type=Path, required=True, help='where surveys and results are kept')
    p.add_argument('--only', nargs='+', choices=variants, default=list(variants), metavar='NAME', help='only these, the first as the baseline')
    p.add_argument('--seeds', type=int, default=3, help='trainings of each, with seeds 0, 1, ...')
    p.add_argument('--epochs', type=int, default=4, help='epochs of the contrast phase')
    p.add_argument('--noise', type=float, default=shape_views.noise, help='largest standard deviation of the noise that views add')
    p.add_argument('--json', help='write the result to this file')
    args = p.parse_args()
    torch.set_num_threads(1)
    bench(args)

if __name__ == '__main__': main()
