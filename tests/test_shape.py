"Shape and detail: a model whose mixture governs the shape alone, trained with a contrast between galaxies, from the survey to everything that is made with it."
import json
from dataclasses import asdict
from hashlib import sha256
import matplotlib.pyplot as plt,numpy as np,pandas as pd,pytest,torch
from astrovader.core import BadInput
from astrovader.data.pack import pack_arrays
from astrovader.data.survey import Survey
from astrovader.data.synth import sky
from astrovader.infer.catalogue import catalogue
from astrovader.analysis.summary import history_cautions,read_history
from astrovader.infer.generate import write_generated
from astrovader.model.inference import model_digest
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.show.statistics_plots import plot_diagnostics,plot_history
from astrovader.train.learner import begin,train
from astrovader.train.phases import with_changes
from side_by_side import in_two
from trainings import KeepStates,StopAfter

small = dict(encoder='residual', encoder_filters=(8, 16), encoder_kernels=(5, 3), decoder_filters=(8, 8), decoder_kernels=(3, 3), n_latent=4, n_detail=3,
    n_components=3, reconstruction='pyramid', n_scales=3, epochs_contrast=2, epochs_alpha=2, epochs_anneal=2, epochs_static=1, n_periods=1,
    batch_size=31, lr=2e-3, valid=.1, alpha=1., mixture_weight=1., bf16=False)

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(203, 32)[0], tmp_path_factory.mktemp('shape')/'survey')

@pytest.fixture(scope='module')
def learn(survey):
    "A training that all tests look at"
    return begin(survey, survey.path.parent/'run', 'small', device='cpu', **small).add_cb(KeepStates()).fit_phases()

@pytest.fixture(scope='module')
def run(learn): return learn.folder

def test_every_phase_records_its_own_terms(run):
    h = pd.read_csv(run/'history.csv').set_index('phase')
    assert h.index.unique().tolist() == ['contrast', 'alpha', 'anneal', 'static']
    assert h.loc['contrast'].train_rec.isna().all() and h.drop('contrast').train_contrast.isna().all()
    assert np.isfinite(h.drop('contrast')[['train_rec', 'train_detail_kl', 'valid_mixture_kl']]).all(axis=None)
    assert h.valid_contrast.iloc[1] < h.valid_contrast.iloc[0] < np.log(2*31-1) + 1

def test_the_features_learn_in_the_contrast_phase_alone(learn):
    states = learn.keep_states.states
    def changed(a, b): return {name.rsplit('.', 1)[0] for name in a if not torch.equal(a[name], b[name])}
    first, last = changed(*states[:2]), changed(states[2], states[-1])
    assert first and all(name.startswith(('encoder.features', 'encoder.projection')) for name in first)
    assert not any(name.startswith(('encoder.features', 'encoder.projection', 'encoder.shape_heads')) for name in last) and 'decoder.body.0' in last
    assert any(name.startswith('encoder.detail') for name in last) and any(name.startswith('encoder.shape_heads') for name in changed(*states[1:3]))

@pytest.mark.parametrize('n', [1, 2, 4])
def test_it_resumes_exactly(survey, run, tmp_path, n):
    learn = begin(survey, tmp_path/'run', 'small', device='cpu', **small).add_cb(StopAfter(n))
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    again = train(survey, tmp_path/'run', resume=True, device='cpu')
    assert all(torch.equal(a, b) for a,b in zip(again.model.state_dict().values(), VaDE.load(run/'model').state_dict().values()))

def test_a_learner_that_was_interrupted_goes_on_with_the_right_images(survey, run, tmp_path):
    learn = begin(survey, tmp_path/'run', 'small', device='cpu', **small)
    images, stop = learn.dls, StopAfter(1)
    with pytest.raises(KeyboardInterrupt): learn.add_cb(stop).fit_phases()
    assert learn.dls is images and learn.model.task == "images"
    learn.remove_cb(stop).fit_phases()
    assert all(torch.equal(a, b) for a,b in zip(learn.model.state_dict().values(), VaDE.load(run/'model').state_dict().values()))

def test_labels_guide_its_mixture_in_the_later_phases_alone(survey, tmp_path):
    labels = pd.DataFrame(dict(object_id=survey.ids()[:40], label=np.where(np.arange(40) % 2, 'a', 'b')))
    train(survey, tmp_path/'run', 'small', device='cpu', labels=labels, **small)
    h = pd.read_csv(tmp_path/'run'/'history.csv').set_index('phase')
    assert h.loc['contrast'].train_labels.isna().all() and (h.loc[['anneal', 'static']].train_labels > 0).all()
    assert {'class_a', 'class_b'} <= set(catalogue(tmp_path/'run', survey, device='cpu'))

def test_latents_of_the_shape_have_the_unit_of_their_uncertainty_and_a_mean_variance_of_1(survey, run):
    model = VaDE.load(run/'model')
    means,log_vars = (part[:,:4] for part in model.encode(torch.from_numpy(survey.images(slice(None))/np.float32(255))))
    spread,noise = means.std(0),log_vars.mean(0).exp()
    assert (means.mean(0)/spread).abs().max() < .2 and (spread.square().mean() - 1).abs() < .2 and (spread.diff() < .2*spread[1:]).all()
    assert noise.max()/noise.min() < 2, noise

def test_two_processes_train_as_one(survey, run, tmp_path):
    (tmp_path/'script.py').write_text('import json,sys\nfrom astrovader.train.distributed import train\n'
        'train(sys.argv[1], sys.argv[2], "small", device="cpu", **json.loads(sys.argv[3]))\n')
    done = in_two(tmp_path/'script.py', survey.path, tmp_path/'two', json.dumps(small))
    assert done.returncode == 0, done.stderr
    one, two = (pd.read_csv(folder/'history.csv').drop(columns='seconds').select_dtypes('number') for folder in (run, tmp_path/'two'))
    first = [name for name in one if name.startswith(('train_', 'valid_'))]
    assert ((one - two)[first].abs()/one[first].abs().clip(lower=1)).iloc[0].max() < 2e-3

def test_the_contrast_of_two_processes_has_all_galaxies(survey, tmp_path):
    (tmp_path/'script.py').write_text('import sys,torch\nfrom astrovader.model.losses import contrast\nfrom astrovader.model.process_group import join_group\n'
        'from astrovader.train.distributed import group_rows\ntorch.manual_seed(0)\none,other = torch.randn(2, 7, 3, requires_grad=True)\n'
        'with join_group(device="cpu") as group:\n    part = slice(0, 4) if group.is_first else slice(4, 7)\n'
        '    def gather(rows): return group_rows(rows, part, 7, group), part.start\n'
        '    whole = contrast(one, other)\n    expected, = torch.autograd.grad(whole, one)\n'
        '    mine = contrast(one[part], other[part], gather=gather)*(part.stop-part.start)/7\n    found, = torch.autograd.grad(mine, one)\n'
        '    found = group.sum_(found); total = group.sum_(mine.detach().clone())\n'
        '    assert abs(total - whole) < 1e-6 and (found - expected).abs().max() < 1e-6, (total, whole, found, expected)\n')
    done = in_two(tmp_path/'script.py')
    assert done.returncode == 0, done.stderr

def test_what_is_made_with_it(survey, run, tmp_path):
    model, cat = VaDE.load(run/'model'), catalogue(run, survey, device='cpu')
    assert [name for name in cat if name.startswith('z_') and name[2:].isdigit()] == ['z_0', 'z_1', 'z_2', 'z_3'] and 'z_var_3' in cat and 'z_var_4' not in cat
    x = torch.from_numpy(survey.images(slice(None))/np.float32(255))
    z_mean,z_log_var = model.encode(x)
    assert z_mean.shape == (203, 7) and np.abs(model.mixture.posterior(z_mean).numpy() - cat[['p_0', 'p_1', 'p_2']]).max(axis=None) < 1e-4
    errors = (model.decode(z_mean) - x).square().sum((1, 2, 3)).numpy()
    assert np.allclose(errors, cat.recon_error, rtol=1e-3) and (model.decode(z_mean[:,:4]) - model.decode(z_mean)).abs().max() > 0
    # what is drawn has the detail that goes with its shape: mean and covariance of all embeddings, those kept for validation too
    total, prior = torch.cov(z_mean.T) + z_log_var.exp().mean(0).diag(), model.mixture
    told = prior.detail_slopes @ total[:4,:4]
    assert not torch.equal(prior.detail_root, torch.eye(3)) # it was fitted
    assert (prior.detail_mean(z_mean[:,:4]) - z_mean[:,4:]).mean(0).abs().max() < .1 and (told - total[4:,:4]).abs().max() < .1
    assert (told @ prior.detail_slopes.T + prior.detail_root @ prior.detail_root.T - total[4:,4:]).abs().max() < .1
    made = write_generated(run, tmp_path/'made', 20, device='cpu')
    assert len(Survey(made.path)) == 20

def test_its_export_computes_the_same(run, tmp_path):
    for name in 'onnx','onnxscript','onnxruntime': pytest.importorskip(name)
    from astrovader.share.onnx import to_onnx
    about = to_onnx(run, tmp_path/'out')
    assert max(about['differences'].values()) < 1e-3
    detail, prior = about['mixture']['detail'], VaDE.load(run/'model').mixture
    assert all(np.allclose(detail[name], getattr(prior, f'detail_{name}')) for name in ('offset', 'slopes', 'root'))

def test_models_without_detail_keep_their_digest():
    "The digest is that of the version before, which had no fields for encoder and detail; catalogues that it began continue."
    torch.manual_seed(0)
    widths = dict(encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,))
    model = VaDE(Architecture(8, n_latent=2, n_components=2, **widths))
    fields = {name: value for name,value in asdict(model.arch).items() if name not in ('encoder', 'n_detail', 'detail_filters')}
    former = ', '.join('raw_mixture=False' if name == 'prior' else f'{name}={value!r}' for name,value in fields.items())
    chunks = [f'Architecture({former})'.encode()]
    for name,weights in sorted(model.state_dict().items()): chunks += [name.encode(), weights.numpy().tobytes()]
    assert model_digest(model) == sha256(b'\0'.join(chunks)).hexdigest()[:16]

def test_the_residual_encoder_and_the_contrast_phase_need_each_other():
    with pytest.raises(BadInput, match="only encoder='residual' has a contrast phase"): with_changes('small', epochs_contrast=1)
    with pytest.raises(BadInput, match='set epochs_contrast to 1 or more'): with_changes('small', encoder='residual')

def test_its_history_is_shown(run):
    history = read_history(run)
    assert 'contrast' in [ax.get_title('left') for ax in plot_history(history).axes] and not plot_diagnostics(history) is None
    assert history_cautions(history) == history_cautions(history[history.train_rec.notna()].reset_index(drop=True))
    plt.close('all')
