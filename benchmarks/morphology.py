"How far components that were found without labels follow what volunteers say of the galaxies: configurations by seeds, plain baselines, the ceiling that the same images have with labels, and galaxies of another framing. What is finished stays in --out, and the same command goes on from there."
import os
os.environ.setdefault('OMP_NUM_THREADS', '1')
import argparse,io,math,tempfile,time,torch
import matplotlib.pyplot as plt,numpy as np,pandas as pd
from contextlib import redirect_stdout
from dataclasses import asdict,dataclass
from fastai.callback.core import CancelFitException,Callback
from hashlib import sha256
from pathlib import Path
from PIL import Image,ImageFilter
from scipy.cluster.hierarchy import fcluster,linkage
from scipy.spatial.distance import squareform
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score,log_loss,mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold,cross_val_predict,cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from zipfile import ZipFile
from common import machine
from astrovader.core import require,read_json,atomic_path,write_json
from astrovader.infer.generate import generate
from astrovader.data.gz2 import classify,read_gz2
from astrovader.analysis.health import calibration,leakage,measure
from astrovader.train.learner import begin
from astrovader.data.loaders import random_flips,to_float
from astrovader.analysis.metrics import agreement,mean_silhouettes
from astrovader.model.diagnostics import total_variation
from astrovader.model.mixture import overlap_of
from astrovader.train.phases import Preset,n_epochs,presets,with_changes
from astrovader.show.image_plots import display_stretch,montage
from astrovader.data.pack import pack
from astrovader.model.vade import VaDE

small, best = presets['small'], presets['morphology']

# What its authors ran, but for the size of images and networks, and the number of epochs
_published = dict(upsample='corners', prior='raw_mixture', scaling='minmax', schedule='published', keep_adam=False, always_draw=True, split_merge=0., refit_weights=False)
_short = dict(epochs_alpha=12, epochs_anneal=4, epochs_static=2, n_periods=1)
_squares = dict(reconstruction='squared_error', alpha=small.alpha, mixture_weight=small.mixture_weight, output=small.arch.output)

def _idea(bands='rgb', **changes): return 'canonical', bands, best, changes

# Name: framing, bands, preset, changes to it; those after 'morphology' are that preset with one idea less or one more
configurations = {'autoencoder': ('canonical', 'rgb', small, _short | dict(alpha=0., sample_alpha=False)), 'paper': ('survey', 'grey', small, _short | _published),
    'canonical': ('canonical', 'grey', small, _short), 'morphology': _idea(), 'shape': ('canonical', 'rgb', presets['shape'], {}), '- pyramid': _idea(**_squares), 'gaussian': _idea(reconstruction='gaussian'),
    '- colour': _idea('grey'), '- mend, settle': _idea(split_merge=0., refit_weights=False), '+ views': _idea(views=True), '+ consistency': _idea(views=True, consistency=1.),
    '+ aperture': _idea(aperture=.6), '+ residual': _idea(residual=True), '+ upsample_first': _idea(upsample_first=True),
    '+ all': _idea(views=True, consistency=1., aperture=.6, residual=True)}
baselines = {'pca': ('canonical', 'rgb'), 'pca survey': ('survey', 'rgb')}
# Name: whose model, and of which images, without training; 'raw' ones have the survey's framing
transfers = {'morphology, re-cut': ('morphology', 're-cut'), 'morphology, blurred and dimmed': ('morphology', 'dimmed'),
    'shape, re-cut': ('shape', 're-cut'), 'shape, blurred and dimmed': ('shape', 'dimmed'),
    'morphology, other survey': ('morphology', 'other'), 'shape, other survey': ('shape', 'other'), 'morphology, raw cutout': ('morphology', 'raw'), '+ views, raw cutout': ('+ views', 'raw')}
ceilings = 'trees with votes','network with votes'
every = [*baselines, *configurations, *transfers, *ceilings]
n_components = 12

@dataclass
class Found:
    "A division of galaxies: latents, probabilities, and the Gaussians of its components."
    z:np.ndarray # (n, J)
    p:np.ndarray # (n, K)
    weights:np.ndarray # (K,)
    means:np.ndarray # (K, J)
    variances:np.ndarray # (K, J)

# Images, framed

def _recut(im):
    "The middle three quarters, as wide as the whole was: another scale and another frame."
    w = im.width*3//4
    at = (im.width-w)//2
    return im.crop((at, at, at+w, at+w)).resize(im.size, Image.Resampling.BICUBIC)

def _dimmed(im): return im.filter(ImageFilter.GaussianBlur(1)).point(lambda v: v*.7)

changed = {'re-cut': _recut, 'dimmed': _dimmed}

def _jpegs(path, start=''):
    "Names and bytes of the images in a zip."
    with ZipFile(path) as z:
        for o in z.namelist():
            if o.endswith('.jpg'): yield start+Path(o).name, z.read(o)

def _again(data, f):
    f(Image.open(io.BytesIO(data)).convert('RGB')).save(out := io.BytesIO(), 'JPEG', quality=85)
    return out.getvalue()

def files_of(args, kind):
    "Names and bytes of the images of one kind: 'all', 'other', or the voted ones changed."
    if kind == 'other': return _jpegs(args.other, 'other-')
    if kind in changed: return ((k, _again(o, changed[kind])) for k,o in _jpegs(args.votes))
    return (o for path,start in ((args.votes, ''), *((o, f'{i}-') for i,o in enumerate(args.unlabelled))) for o in _jpegs(path, start))

def survey_of(args, kind, framing, bands, like=None):
    "A packed survey of one kind of images, packed now or before."
    images = args.out/'images'/kind
    if not images.exists():
        with atomic_path(images, folder=True) as tmp:
            for name,data in files_of(args, kind): (tmp/name).write_bytes(data)
    out = args.out/'surveys'/f'{kind}-{framing}-{bands}'
    with redirect_stdout(io.StringIO()): return pack(images, out, args.size, framing, bands, like=like, n_workers=1)

def classes_of(args, survey):
    "Smooth, featured or edge-on by the votes for the objects of a survey, missing where they say none of them or there are none."
    votes = read_gz2(args.table, 'image')
    named = pd.Series(classify(votes, 'three').astype(object).to_numpy(), votes.object_id.str.removesuffix('.jpg'))
    return named.reindex(survey.ids()).to_numpy(object)

def measured_of(args, survey):
    "Shapes and companions of the same galaxies, as canonical framing measured them in their original frame."
    m = measure(survey if survey.packing['framing'] == 'canonical' else survey_of(args, 'all', 'canonical', 'rgb'))
    require(len(m) == len(survey), 'the framings of the same images have different numbers of them; pack them into another folder.')
    return m

# Divisions

def pixels(survey): return survey.images(slice(None)).reshape(len(survey), -1)/np.float32(255)

def by_pca(survey, seed):
    "Principal components of the pixels, and a Gaussian mixture of them."
    z = PCA(20, random_state=seed).fit_transform(pixels(survey))
    gm = GaussianMixture(n_components, covariance_type='diag', n_init=3, random_state=seed).fit(z)
    return Found(z, gm.predict_proba(z), gm.weights_, gm.means_, gm.covariances_)

def by_k_means(z, seed):
    "K-means of latents, and the Gaussians of its groups."
    c = KMeans(n_components, n_init=10, random_state=seed).fit_predict(z)
    groups = [z[c == o] for o in range(n_components)]
    return Found(z, np.eye(n_components)[c], np.bincount(c)/len(c), np.stack([o.mean(0) for o in groups]), np.stack([o.var(0)+1e-9 for o in groups]))

@torch.no_grad()
def by_model(model, survey):
    "What a model says of images, whether they are framed as its own were or not."
    zs = torch.cat([model.encode(to_float(survey.images(slice(i, i+256))))[0][:,:model.arch.n_latent] for i in range(0, len(survey), 256)])
    m = model.mixture
    return Found(*(o.double().numpy() for o in (zs, m.posterior(zs))), *m.moments())

class FirstPhase(Callback):
    "Ends a training with its first phase."
    order = 11
    def before_epoch(self):
        if self.epoch >= self.learn.preset.epochs_alpha: raise CancelFitException

def shortened(preset, factor):
    "A preset whose phases last `factor` times as long."
    names = 'epochs_contrast','epochs_alpha','epochs_anneal','epochs_static'
    return with_changes(preset, **{o: max(1, round(getattr(preset, o)*factor)) for o in names if getattr(preset, o)})

def settings(preset):
    "The fields of a preset that are not as they come."
    plain = Preset()
    def differ(a, b): return {k: v for k,v in asdict(a).items() if v != asdict(b)[k] and k != 'arch'}
    return differ(preset, plain) | differ(preset.arch, plain.arch)

def folder_of(args, name, seed, what):
    "Where a configuration and seed are kept: another folder for other settings."
    digest = sha256(repr((args.size, what)).encode()).hexdigest()[:8]
    return args.out/'runs'/f'{name.replace(" ", "_")}-{seed}-{digest}'

def preset_of(args, name):
    preset, changes = configurations[name][2:]
    return shortened(with_changes(preset, **changes), args.epochs)

def trained(args, name, seed):
    "The model of a configuration, trained now or before, and the seconds of processor time that it took."
    framing, bands = configurations[name][:2]
    survey, preset = survey_of(args, 'all', framing, bands), preset_of(args, name)
    folder = kept_in(args, name, seed).parent
    if not (folder/'trained.json').exists():
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder/'log.txt', 'a') as f, redirect_stdout(f):
            learn = begin(survey, folder/'run', preset, seed, (folder/'run'/'run.json').exists(), 'cpu')
            if name == 'autoencoder': learn.add_cb(FirstPhase())
            start, first = time.process_time(), learn.first_epoch
            learn.fit_phases()
        n = n_epochs(learn.preset) if name != 'autoencoder' else learn.preset.epochs_alpha
        write_json(folder/'trained.json', dict(cpu_s=(time.process_time()-start)*n/max(n-first, 1)))
    return survey, VaDE.load(folder/'run'/'model'), read_json(folder/'trained.json')['cpu_s']

# Scores

def families(found, n=3):
    "Components joined until there are `n` families, by how little they overlap: the family of each."
    d = -np.log(overlap_of(found.means, found.variances).clip(1e-300))
    return fcluster(linkage(squareform(d, checks=False), 'average'), n, 'maxclust')

def _folds(seed): return StratifiedKFold(5, shuffle=True, random_state=seed)

def with_votes(found, classes, seed):
    "How far components and latents agree with the classes that volunteers see."
    ok = ~pd.isna(classes)
    z, c, y = found.z[ok], found.p[ok].argmax(1), classes[ok]
    a = agreement(c, y, 'lift')
    probe = make_pipeline(StandardScaler(), LogisticRegression(class_weight='balanced', max_iter=2000))
    hard = np.isin(found.p, (0, 1)).all()
    return dict(ami=a['ami'], balanced=a['balanced_accuracy'], probe=cross_val_score(probe, z, y, cv=_folds(seed), scoring='balanced_accuracy').mean(),
        information=mutual_info_score(c, y), entropy=entropy(np.bincount(c)), ami_families=agreement(families(found)[c], y)['ami'],
        ece=math.nan if hard else calibration(found.p[ok], y, seed=seed)['ece'])

def without(found, measured, seed):
    "What can be said of a division by itself."
    c = found.p.argmax(1)
    overlap = overlap_of(found.means, found.variances) - 2*np.eye(len(found.means))
    leak = leakage(c, measured, seed=seed).set_index('name').mi
    return dict(silhouette=mean_silhouettes(found.z, c).attrs['mean'], overlap=overlap.max(),
        tv=total_variation(found.weights, np.bincount(c, minlength=len(found.weights))), tv_mean=total_variation(found.weights, found.p.sum(0)),
        **{o: leak[o] for o in ('orientation', 'companion_position', 'companion_direction', 'companion_share')})

def scores(args, found, survey, seed):
    "Everything on one division."
    classes = classes_of(args, survey)
    out = without(found, measured_of(args, survey), seed)
    return (with_votes(found, classes, seed) if (~pd.isna(classes)).any() else {}) | out

# The ceiling

def supervised(p, y, names):
    "Scores of probabilities of classes that were given by a model which had other galaxies' votes."
    prior = np.array([(y == o).mean() for o in names])
    said, fair = names[p.argmax(1)], names[(p/prior).argmax(1)]
    return dict(ami=agreement(said, y)['ami'], balanced=balanced_accuracy_score(y, fair), accuracy=float((said == y).mean()),
        information=entropy(prior)-log_loss(y, p, labels=names), entropy=entropy(np.unique(said, return_counts=True)[1]))

def by_trees(x, y, args, seed):
    "Boosted trees on principal components of the pixels."
    z = PCA(min(60, *x.shape), random_state=seed).fit_transform(x.reshape(len(x), -1)/np.float32(255))
    trees = HistGradientBoostingClassifier(learning_rate=.05, max_iter=150, l2_regularization=1., random_state=seed)
    return cross_val_predict(trees, z, y, cv=_folds(seed), method='predict_proba')

def _network(bands, k):
    "Four convolutions with normalisation, the mean over the image, and one layer."
    widths = [bands, 16, 32, 64, 64]
    parts = [[nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)] for a,b in zip(widths, widths[1:])]
    return nn.Sequential(*(o for part in parts for o in part), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(.2), nn.Linear(widths[-1], k))

def _taught(x, y, k, epochs, bs=64):
    "A network that learnt classes from images."
    net = _network(x.shape[1], k)
    opt, n = torch.optim.AdamW(net.parameters(), weight_decay=.02), -(-len(x)//bs)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, epochs*n)
    for _ in range(epochs):
        for o in torch.randperm(len(x)).tensor_split(n):
            opt.zero_grad()
            nn.functional.cross_entropy(net(to_float(random_flips(x[o]))), y[o]).backward()
            opt.step()
            plan.step()
    return net.eval()

def by_network(x, y, args, seed):
    "A convolutional network, seen and mirrored."
    torch.manual_seed(seed)
    codes, k = torch.from_numpy(pd.factorize(y, sort=True)[0]), len(set(y))
    x, out = torch.from_numpy(x), np.zeros((len(y), k))
    for learn,test in _folds(seed).split(x, y):
        net = _taught(x[learn], codes[learn], k, max(1, round(8*args.epochs)))
        with torch.no_grad():
            for o in np.array_split(test, max(1, len(test)//256)):
                seen = to_float(x[o])
                out[o] = sum(net(v).double().softmax(1).numpy() for v in (seen, seen.flip(2), seen.flip(3), seen.flip(2, 3)))/4
    return out

def ceiling(args, name, seed):
    survey = survey_of(args, 'all', 'canonical', 'rgb')
    classes = classes_of(args, survey)
    ok = np.flatnonzero(~pd.isna(classes))
    y = classes[ok].astype(str)
    way, start = by_trees if name == ceilings[0] else by_network, time.process_time()
    return supervised(way(survey.images(ok), y, args, seed), y, np.unique(y)) | dict(cpu_s=time.process_time()-start)

# One by one

def baseline(args, name, seed):
    survey, start = survey_of(args, 'all', *baselines[name]), time.process_time()
    found = by_pca(survey, seed)
    return dict(cpu_s=time.process_time()-start) | scores(args, found, survey, seed)

def configuration(args, name, seed):
    survey, model, cpu_s = trained(args, name, seed)
    found = by_model(model, survey)
    return dict(cpu_s=cpu_s) | scores(args, by_k_means(found.z, seed) if name == 'autoencoder' else found, survey, seed)

def transfer(args, name, seed):
    "A trained model on other images, or on the same in another frame."
    of, kind = transfers[name]
    own, model, _ = trained(args, of, seed)
    bands = own.packing['bands']
    survey = survey_of(args, 'all', 'survey', bands) if kind == 'raw' else survey_of(args, kind, 'canonical', bands, own)
    return scores(args, by_model(model, survey), survey, seed)

def kept_in(args, name, seed):
    "The file of one result; that of a transfer is beside the model."
    if name in transfers: of, file = transfers[name]
    else: of, file = name, 'result'
    what = (*configurations[of][:2], settings(preset_of(args, of))) if of in configurations else baselines.get(of, args.epochs)
    return folder_of(args, of, seed, what)/f'{file}.json'

def result(args, name, seed):
    "The scores of one configuration and seed, found now or before."
    path = kept_in(args, name, seed)
    if path.exists(): return read_json(path)
    f = next(f for f,names in ((configuration, configurations), (baseline, baselines), (transfer, transfers), (ceiling, ceilings)) if name in names)
    start, got = time.time(), f(args, name, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, out := dict(name=name, seed=seed) | {k: None if v != v else float(v) for k,v in got.items()})
    said = ', '.join(f'{k} {got[k]:.3f}' for k in ('ami', 'balanced', 'probe', 'silhouette') if k in got)
    print(f'{name}, seed {seed}: {said}; {time.time()-start:.0f} s', flush=True)
    return out

columns = ['ami', 'balanced', 'accuracy', 'probe', 'information', 'entropy', 'ami_families', 'silhouette', 'overlap', 'tv', 'tv_mean', 'orientation',
    'companion_position', 'companion_direction', 'companion_share', 'ece', 'cpu_s']

def summary(each):
    "For every name the mean, the standard deviation, and the ends over seeds."
    t = pd.DataFrame(each).reindex(columns=['name', 'seed', *columns]).astype({o: float for o in columns})
    def of(v): return None if v.isna().all() else dict(mean=v.mean(), sd=v.std(ddof=1) if len(v) > 1 else None, least=v.min(), most=v.max())
    return [dict(name=k, seeds=o.seed.tolist()) | {c: of(o[c]) for c in columns} for k,o in t.groupby('name', sort=False)]

def table(rows):
    "Rows as text: mean, and standard deviation over seeds."
    def cell(o, digits):
        if o is None: return '-'
        return f'{o["mean"]:.{digits}f}' + ('' if o['sd'] is None else f'±{o["sd"]:.{digits}f}')
    short = dict(orientation='orient.', companion_position='comp. at', companion_direction='comp. dir.', companion_share='comp. flux', information='MI',
        entropy='H', ami_families='3 fam.')
    return pd.DataFrame([dict(what=r['name']) | {short.get(c, c): cell(r[c], 0 if c == 'cpu_s' else 3) for c in columns} for r in rows]).to_string(index=False)

def figure(model, c, classes, path, n=9):
    "Galaxies drawn from each component, and the classes that the galaxies found in it have."
    shares = pd.crosstab(c, classes, normalize='index').reindex(range(model.arch.n_components), columns=['smooth', 'featured', 'edge-on'], fill_value=0.)
    order = shares.index[np.argsort(shares.to_numpy()@(0, 1, 2), kind='stable')].to_numpy()
    drawn = [generate(model, n, component=int(i), seed=int(i))[0] for i in order]
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 6.4), width_ratios=(n, 5), layout='constrained')
    images = np.concatenate(drawn)
    left.imshow(montage(display_stretch(images)(images), ncols=n), aspect='auto')
    left.axis('off')
    left.set_title('drawn from each component', fontsize=9, loc='left')
    ends, k = shares.loc[order].cumsum(axis=1).to_numpy(), np.arange(len(order))
    for j,(name,colour) in enumerate(zip(shares, ('#b9682c', '#3b6fa5', '#7a9e4a'))):
        right.barh(k, shares.loc[order, name], left=ends[:,j-1] if j else 0, color=colour, label=name, height=.8)
    right.set(ylim=(len(order)-.5, -.5), xlim=(0, 1), yticks=k, xlabel='share of those that volunteers classed')
    right.set_yticklabels([f'{100*(c == i).mean():.2g}%' for i in order], fontsize=8)
    right.set_title('of all', fontsize=8, loc='left', x=-.14)
    right.legend(ncols=3, loc='lower center', bbox_to_anchor=(.5, 1.02), frameon=False, fontsize=8)
    fig.savefig(path, dpi=100)

def same_images(args):
    "Keep what the folder is of, or refuse to go on with other images."
    zips = [args.votes, *args.unlabelled] + [args.other]*bool(args.other)
    mine = dict(size=args.size, zips=[[Path(o).name, Path(o).stat().st_size] for o in zips])
    if not (args.out/'images.json').exists(): write_json(args.out/'images.json', mine)
    there = read_json(args.out/'images.json')
    require(there == mine, f'{args.out} is of other images, or another size; choose another folder.')

def bench(args):
    args.out.mkdir(parents=True, exist_ok=True)
    same_images(args)
    names = args.only or [o for o in every if args.other or transfers.get(o, ('', ''))[1] != 'other']
    each = [result(args, o, s) for s in range(args.seeds) for o in names]
    rows = summary(sorted(each, key=lambda o: (names.index(o['name']), o['seed'])))
    survey = survey_of(args, 'all', 'canonical', 'rgb')
    n = pd.Series(classes_of(args, survey)).value_counts().to_dict()
    print(table(rows))
    plain = {k: Path(v).name if k in ('votes', 'table', 'other') and v else [Path(o).name for o in v] if k == 'unlabelled' else v
        for k,v in vars(args).items() if k not in ('json', 'out', 'figure')}
    used = {o: settings(preset_of(args, o)) for o in names if o in configurations}
    if args.figure:
        survey, model, _ = trained(args, 'morphology', 0)
        figure(model, by_model(model, survey).p.argmax(1), classes_of(args, survey), args.figure)
    if args.json: write_json(args.json, dict(benchmark='morphology', settings=plain, images=len(survey), classes=n, rows=rows, each=each, presets=used, **machine()))

def add_images(p):
    "The arguments of the images and their votes."
    p.add_argument('--votes', required=True, help='a zip of JPEGs that volunteers have voted on')
    p.add_argument('--table', required=True, help='their votes under the names of Galaxy Zoo 2, with a column `image` of file names')
    p.add_argument('--unlabelled', nargs='*', default=[], help='zips of more images to train on')
    p.add_argument('--other', help='a zip of galaxies of another framing, without votes, for a trained model')
    p.add_argument('--size', type=int, default=64, help='height and width of the framed images, in pixels')

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_images(p)
    p.add_argument('--out', type=Path, help='where surveys, runs and results are kept; a folder that is removed in the end without it')
    p.add_argument('--only', nargs='+', choices=every, metavar='NAME', help='only these: ' + '; '.join(every))
    p.add_argument('--seeds', type=int, default=3, help='trainings of each configuration, with seeds 0, 1, ...')
    p.add_argument('--epochs', type=float, default=1., help='times as many epochs')
    p.add_argument('--figure', help="draw the components of 'morphology' into this file")
    p.add_argument('--json', help='write the result to this file')
    args = p.parse_args()
    torch.set_num_threads(1)
    if args.out: return bench(args)
    with tempfile.TemporaryDirectory() as d:
        args.out = Path(d)
        bench(args)

if __name__ == '__main__': main()
