"How well components that were found without labels agree with known classes: of simulated galaxies, or of MNIST's digits. Several seeds, and plain baselines on the same images in the same run: k-means on principal components, and k-means on the latents of the first phase, which is an autoencoder with a weak Gaussian prior."
import argparse,math,tempfile,time,torch
import numpy as np,pandas as pd
from fastai.callback.core import Callback
from pathlib import Path
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from astrovader.infer.catalogue import catalogue
from astrovader.tables import numbered
from astrovader.core import provenance,write_json
from astrovader.train.learner import vade_learner
from astrovader.analysis.metrics import agreement,clustering_accuracy
from astrovader.model.networks import Architecture
from astrovader.train.phases import Preset,presets,with_changes
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky

# s3VDC's recipe, shortened: 25 epochs of the first phase where it has about 180, and one ramp where it has many, with a learning rate that has almost vanished by then
digits = Preset(arch=Architecture(size=32, encoder_filters=(16, 32, 64), encoder_kernels=(3, 3, 3), decoder_filters=(64, 32, 16),
    decoder_kernels=(3, 3, 3), convolutions=1, output='sigmoid', n_latent=10, n_components=10, prior='full_mixture'),
    reconstruction='cross_entropy', scaling='exact', sample_alpha=False, epochs_alpha=25, epochs_anneal=3, epochs_static=1, n_periods=1, mixture_weight=.3, l2=1e-4,
    init_covariance='full', batch_size=128, lr=2e-3, lr_end=1e-5, flips=False, valid=0.02, bf16=True)

def mnist(path, n):
    "MNIST's images, training and test, with two empty pixels around them so that they halve three times."
    with np.load(path) as f: x,y = (np.concatenate([f[f'{o}_train'], f[f'{o}_test']]) for o in 'xy')
    return np.pad(x, ((0, 0), (2, 2), (2, 2)))[:n,None],y[:n]

def simulated(path, n):
    "Simulated galaxies and their true classes."
    images,truth = sky(n or 5000, size=64, seed=0)
    return images,truth.kind.to_numpy()

tasks = dict(mnist=(mnist, digits, 10), simulated=(simulated, presets['small'], 12))

def spread(n, width): return (2*torch.rand(n)-1)*width

class Shake(Callback):
    "Turns, shears, scales and shifts the input at random; the target stays, so the latents need not say how a digit lies."
    def before_batch(self):
        if not self.training: return
        x,n = self.xb[0],len(self.xb[0])
        angle,scale,shear = spread(n, math.pi/7.5),1+spread(n, .2),spread(n, .4)
        rows = [scale*angle.cos(), scale*(shear-angle.sin()), spread(n, 4/16)],[scale*angle.sin(), scale*angle.cos(), spread(n, 4/16)]
        theta = torch.stack([torch.stack(o, 1) for o in rows], 1).to(x.device)
        grid = torch.nn.functional.affine_grid(theta, x.shape, align_corners=False)
        self.learn.xb = (torch.nn.functional.grid_sample(x, grid, align_corners=False),)

class Latents(Callback):
    "Keeps the latents of all images as they are when the first phase ends."
    order = 12
    def __init__(self, preset, survey): self.preset,self.survey = preset,survey
    def before_epoch(self):
        if self.epoch != self.preset.epochs_alpha: return
        self.z = numbered(catalogue(self.model, self.survey), 'z')
        self.model.train()

def scores(labels, truth):
    "Agreement of a division with the truth, and the accuracy where a component can stand for a class."
    return dict(ami=agreement(labels, truth)['ami'], accuracy=clustering_accuracy(labels, truth))

def one_seed(survey, truth, preset, seed, shake):
    "Train with one seed; the scores of ours and of both baselines."
    began,k = time.time(),preset.arch.n_components
    learn = vade_learner(survey, preset, seed=seed)
    learn.add_cbs([latents := Latents(learn.preset, survey)] + [Shake()]*shake)
    learn.fit_phases()
    seconds,ours = time.time()-began,catalogue(learn.model, survey).component
    pixels = survey.images(slice(None)).reshape(len(survey), -1)/np.float32(255)
    found = {'astrovader': ours, 'first phase + k-means': KMeans(k, n_init=10, random_state=seed).fit_predict(latents.z),
        'PCA + k-means': KMeans(k, n_init=10, random_state=seed).fit_predict(PCA(20, random_state=seed).fit_transform(pixels))}
    return [dict(method=m, seed=seed, **scores(o, truth), seconds=seconds if m == 'astrovader' else None) for m,o in found.items()]

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('data', choices=tasks)
    p.add_argument('--path', help='mnist.npz with x_train, y_train, x_test, y_test, for mnist')
    p.add_argument('--n', type=int, help='only so many images')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='one training for each')
    p.add_argument('--shake', action='store_true', help='turn, shear, scale and shift the input a little at random in training')
    p.add_argument('--threads', type=int, help='threads that torch uses; all cores without it')
    p.add_argument('--json', help='write the result to this file')
    a = p.parse_args()
    if a.data == 'mnist' and not a.path: p.error('mnist needs --path mnist.npz')
    if a.threads: torch.set_num_threads(a.threads)
    load,preset,k = tasks[a.data]
    images,truth = load(a.path, a.n)
    preset = with_changes(preset, n_components=k)
    with tempfile.TemporaryDirectory() as d:
        survey = pack_arrays(images, Path(d)/'survey')
        rows = pd.DataFrame([o for s in a.seeds for o in one_seed(survey, truth, preset, s, a.shake)])
    print(rows.to_string(index=False, float_format='%.3f'))
    print(rows.groupby('method', sort=False)[['ami', 'accuracy']].agg(['mean', 'std']).round(3).to_string())
    found = rows.astype(object).where(rows.notna(), None).to_dict('records')
    if a.json: write_json(a.json, dict(benchmark='clustering', data=a.data, shake=a.shake, images=len(images), rows=found, **provenance()))

if __name__ == '__main__': main()
