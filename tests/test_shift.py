"A survey beside that of a training: the alarm is silent without a shift and rises with it, weights follow the mix, and the reference travels with the model."
import shutil
import numpy as np,pandas as pd,pytest,torch
import torch.nn.functional as F
from astrovader.analysis.shares import corrected_shares
from astrovader.analysis.shift import conformal_p,shift
from astrovader.core import BadInput,BadModel
from astrovader.data.pack import pack,pack_arrays
from astrovader.data.synth import render,stretch
from astrovader.data.truth import galaxies,kinds
from astrovader.infer.catalogue import catalogue
from astrovader.infer.verify import verify
from astrovader.model.mixture import Mixture
from astrovader.model.vade import VaDE
from astrovader.train.learner import train
from scipy.optimize import minimize

small = dict(encoder_filters=(8, 16), encoder_kernels=(3, 3), decoder_filters=(8, 8), decoder_kernels=(3, 3), n_latent=4, n_components=3,
    reconstruction='pyramid', n_scales=3, epochs_alpha=8, epochs_anneal=2, epochs_static=1, n_periods=1, batch_size=48, lr=3e-3, valid=.25,
    alpha=.1, mixture_weight=1., bf16=False)

def simulated(folder, seed, n=300, blur=1., noise=1., zoom=1., **kwargs):
    "A survey with other seeing, noise, pixels or mix"
    truth = galaxies(n, 24, seed, companions=0, stars=0, artifacts=0, **kwargs)
    truth = truth.assign(psf_fwhm=truth.psf_fwhm*blur, sky_noise=truth.sky_noise*noise)
    images = stretch(render(truth, 24, 1))
    if zoom != 1:
        w = round(12/zoom)
        images = F.interpolate(torch.from_numpy(images[:,:,12-w:12+w,12-w:12+w]).float(), 24, mode='bilinear', align_corners=False).round().byte().numpy()
    return pack_arrays(images, folder, truth[['object_id', 'kind']])

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shift')
    train(simulated(folder/'survey', 0, 1000), folder/'run', 'small', device='cpu', **small)
    return folder/'run'

@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    "Trees are grown in the first test alone"
    if 'no_alarm' not in request.node.name: monkeypatch.setattr('astrovader.analysis.shift.separability_by_statistics', lambda *_, **__: dict(value=.5, low=.5, high=.5, floor=.5))

def found(run, *args, **kwargs): return shift(run, simulated(*args, **kwargs), permutations=200, device='cpu')

def test_no_alarm_without_a_shift(run, tmp_path):
    same = [found(run, tmp_path/f'{seed}', seed) for seed in range(1, 5)]
    assert sum(one.alarm > 0 for one in same) <= 1, [one.verdict for one in same]
    assert np.mean([one.unlike['value'] for one in same]) < .03
    assert all((one.components.verdict.isin(['as trained', 'too few'])).all() for one in same)
    assert abs(np.mean([one.auc['value'] for one in same]) - .5) < .06

@pytest.mark.parametrize('name,values', [('blur', (1.4, 2., 3.)), ('noise', (1.4, 2., 3.)), ('zoom', (1.2, 1.5, 2.)), ('mix', ((.3, .3, .4), (.15, .15, .7), (0, 0, 1)))])
def test_the_alarm_rises_with_the_shift(run, tmp_path, name, values):
    alarms = [found(run, tmp_path/f'{i}', 9, **{name: value}).alarm for i,value in enumerate(values)]
    assert 0 <= alarms[0] < alarms[1] < alarms[2] and alarms[1] > .2, alarms

def test_weights_recover_the_mix(run, tmp_path):
    known = catalogue(run, simulated(tmp_path/'known', 50, 1500), posterior=False, device='cpu')
    kind = pd.read_parquet(tmp_path/'known/index.parquet').kind
    of_kind = np.stack([known.loc[kind == name, ['p_0', 'p_1', 'p_2']].mean() for name in kinds]) # weights of the components among galaxies of each kind
    errors, naive = [], []
    for seed,mix in enumerate(((.2, .2, .6), (.7, .2, .1), (.1, .8, .1))):
        survey = simulated(tmp_path/f'{seed}', 20+seed, 900, mix=mix)
        one = shift(run, survey, permutations=20, n=100, device='cpu').components
        truth = survey.index().kind.value_counts(normalize=True).reindex(kinds, fill_value=0).to_numpy() @ of_kind
        errors.append(abs(one.weight - truth).max())
        naive.append(abs(one.trained - truth).max())
    assert np.mean(errors) < .04 and np.mean(errors) < .4*np.mean(naive), (errors, naive)

def test_em_finds_the_maximum_and_its_intervals_hold():
    mixture = Mixture(3, 2).set_([.6, .3, .1], [[0., 0], [1.8, 0], [0, 2]], [[1., 1], [.6, 1], [1, .5]])
    def drawn(n, truth, seed):
        counts = np.random.default_rng(seed).multinomial(n, truth)
        z = torch.cat([mixture.sample(int(m), c, generator=torch.Generator().manual_seed(10*seed+c))[0] for c,m in enumerate(counts) if m])
        return mixture.posterior(z).detach().double().numpy()
    weights, truth = np.array([.6, .3, .1]), np.array([.2, .3, .5])
    p = drawn(500, truth, 0)
    def cost(logits):
        s = np.exp(logits - logits.max())
        return -np.log((p/weights) @ (s/s.sum())).mean()
    best = minimize(cost, np.zeros(3), method='BFGS', options=dict(gtol=1e-8)).x
    best = np.exp(best - best.max())
    assert abs(corrected_shares(p, weights)['corrected'] - best/best.sum()).max() < 1e-3
    intervals = [corrected_shares(drawn(500, truth, seed), weights) for seed in range(1, 101)]
    covered = np.mean([(one['corrected_low'] < truth) & (truth < one['corrected_high']) for one in intervals])
    assert .6 < covered < .76, covered

def test_galaxies_unlike_any_are_named(run, tmp_path):
    survey = simulated(tmp_path/'survey', 5)
    images = survey.images(slice(None)).copy()
    images[:12] = np.random.default_rng(0).integers(0, 256, (12, 1, 24, 24)) # noise instead of galaxies
    one = shift(run, pack_arrays(images, tmp_path/'odd', survey.index()[['object_id']]), permutations=20, n=100, device='cpu')
    assert one.galaxies.unlike[:12].all() and one.galaxies.unlike[12:].mean() < .05
    assert 'unlike any' in one.verdict

def test_p_values_are_uniform_or_larger():
    r = np.random.default_rng(0)
    p = np.concatenate([conformal_p(r.standard_normal((150, 2)), r.standard_normal((150, 2))) for _ in range(60)])
    for level in .02, .1, .5: assert .3*level < (p <= level).mean() < level + .015

def test_the_reference_travels_with_the_model(run, tmp_path):
    files = {file.name: file.stat().st_size for file in (run/'model').iterdir()}
    assert files['reference.safetensors'] < 200_000 and VaDE.load(run/'model').reference['held_out'].mean() == 1
    shutil.copytree(run/'model', tmp_path/'given/model')
    survey = simulated(tmp_path/'survey', 1)
    assert shift(tmp_path/'given', survey, permutations=20, device='cpu').verdict == shift(run, survey, permutations=20, device='cpu').verdict
    verify(tmp_path/'given')
    data = (tmp_path/'given/model/reference.safetensors').read_bytes()
    (tmp_path/'given/model/reference.safetensors').write_bytes(data[:-4] + b'abcd')
    with pytest.raises(BadModel, match='reference.safetensors has changed'): verify(tmp_path/'given')

def test_a_model_without_reference_takes_its_survey(run, tmp_path):
    model = VaDE.load(run/'model')
    model.reference = None
    model.save(tmp_path/'old/model')
    shutil.copy(run/'run.json', tmp_path/'old')
    survey = simulated(tmp_path/'survey', 1)
    with pytest.raises(BadInput, match='name the survey of its training as the reference'): shift(tmp_path/'old', survey, device='cpu')
    one, two = (shift(path, survey, given, permutations=20, device='cpu') for path,given in ((tmp_path/'old', run.parent/'survey'), (run, None)))
    assert np.allclose(one.quantities.distance, two.quantities.distance) # the same held-out galaxies

def zoomed_sky(folder, seed, n, pixels, tint=1.):
    "The same sky in pixels of another width, and other colours, in canonical framing"
    truth = galaxies(n, 48, seed, companions=0, stars=0, artifacts=0)
    images = stretch(render(truth, 48, 3)).astype(np.float32)
    images = F.interpolate(torch.from_numpy(images), round(48/pixels), mode='area' if pixels > 1 else 'bilinear').numpy()
    images[:,0] *= tint
    (folder/'images').mkdir(parents=True)
    np.save(folder/'images/all.npy', images.round().astype(np.uint8))
    return pack(folder/'images/all.npy', folder/'survey', size=24, framing='canonical', axes='nbhw', n_workers=0)

def test_size_reaches_the_model_by_resolution_alone_and_colour_is_compared(tmp_path):
    train(zoomed_sky(tmp_path/'training', 0, 300, 1), tmp_path/'run', 'small', device='cpu', **small)
    found = {name: shift(tmp_path/'run', zoomed_sky(tmp_path/name, 1, 120, **how), permutations=100, device='cpu') for name,how in
        dict(same=dict(pixels=1), finer=dict(pixels=.5), coarser=dict(pixels=3), tinted=dict(pixels=1, tint=.6)).items()}
    rows = {name: one.quantities.set_index('quantity') for name,one in found.items()}
    for name in 'same', 'finer', 'tinted': assert rows[name].p['resolution'] > .05
    assert rows['finer'].p['half_light_radius'] < .05 and 'half_light_radius' not in found['finer'].moved[found['finer'].moved.remark == ''].quantity.tolist()
    assert 'half light radius in pixels differs' in found['finer'].verdict and found['finer'].alarm < found['coarser'].alarm
    assert rows['coarser'].p['resolution'] < .05 and 'colour_red_green' in found['tinted'].moved.quantity.tolist()
    model = VaDE.load(tmp_path/'run/model')
    model.reference = {name: values for name,values in model.reference.items() if not name.startswith('colour')}
    model.save(tmp_path/'old/model')
    old = shift(tmp_path/'old', zoomed_sky(tmp_path/'again', 2, 100, 1), permutations=50, device='cpu')
    assert old.quantities.set_index('quantity').remark['colour_red_green'] == 'not kept by the model' and 'colour red green' in old.verdict
