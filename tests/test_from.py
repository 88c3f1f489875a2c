"Going on from a model: it begins with the predictions of the other, keeps the numbers of components, adds some, and resumes exactly."
import json
import numpy as np,pandas as pd,pytest,torch
from astrovader.cli import astrovader_train
from astrovader.core import BadInput,BadModel,BadSurvey
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import render,stretch
from astrovader.data.truth import galaxies
from astrovader.infer.catalogue import catalogue
from astrovader.infer.verify import verify
from astrovader.model.inference import model_digest
from astrovader.model.vade import VaDE
from astrovader.train.learner import begin,learning_rate,train,vade_learner
from astrovader.train.seeds import train_seeds
from astrovader.train.start import start_of,start_preset
from side_by_side import in_two
from trainings import StopAfter,same

small = dict(encoder_filters=(8, 16), encoder_kernels=(3, 3), decoder_filters=(8, 8), decoder_kernels=(3, 3), n_latent=4, n_components=3,
    reconstruction='pyramid', n_scales=3, epochs_alpha=10, epochs_anneal=2, epochs_static=1, n_periods=1, batch_size=48, lr=3e-3, valid=.1, alpha=.1,
    mixture_weight=1., bf16=False)

def simulated(folder, seed, n=300, blur=1., rings=0, **kwargs):
    "A survey, of which the last are rings, a class of its own"
    truth = galaxies(n, 24, seed, companions=0, stars=0, artifacts=0, **kwargs)
    images = stretch(render(truth.assign(psf_fwhm=truth.psf_fwhm*blur), 24, 1))
    y, x = np.mgrid[:24, :24] - 11.5
    r = np.random.default_rng(seed)
    for i in range(n-rings, n): images[i,0] = np.clip(200*np.exp(-((np.hypot(x, y)-r.uniform(7.5, 9))/1.3)**2) + r.normal(20, 4, (24, 24)), 0, 255)
    return pack_arrays(images, folder, truth[['object_id']])

@pytest.fixture(scope='module')
def other(tmp_path_factory):
    folder = tmp_path_factory.mktemp('from')
    train(simulated(folder/'survey', 0, 600), folder/'other', 'small', device='cpu', **small)
    return folder/'other'

@pytest.fixture(scope='module')
def survey(other): return simulated(other.parent/'new', 1, blur=1.5)

@pytest.fixture(scope='module')
def run(other, survey):
    train(survey, other.parent/'run', start=other, device='cpu')
    return other.parent/'run'

def test_it_begins_with_the_predictions_of_the_other(other, survey):
    model, former = vade_learner(survey, start=other, device='cpu').model.eval(), VaDE.load(other/'model')
    assert model_digest(model) == model_digest(former)
    larger = vade_learner(survey, start=other, n_components=5, device='cpu').model.eval()
    x = torch.from_numpy(survey.images(slice(0, 50))).float()/255
    (z, _), p = former.encode(x), former.mixture.posterior(former.encode(x)[0])
    assert torch.allclose(larger.encode(x)[0], z, atol=1e-5) and torch.allclose(larger.decode(z), former.decode(z), atol=1e-5)
    assert (larger.mixture.posterior(z)[:,:3] - p).abs().max() < 1e-3

def test_components_keep_their_numbers(other, survey, run):
    changes = pd.read_csv(run/'changes.csv')
    assert changes.matched.tolist() == [0, 1, 2] and changes.kept.mean() > .8, changes
    assert changes.share_before.sum() == pytest.approx(1) == changes.share_after.sum()
    before, after = (catalogue(path, survey, posterior=False, device='cpu') for path in (other, run))
    assert (before.component == after.component).mean() > .8
    assert after.recon_error.mean() < before.recon_error.mean() # it has learnt what the new galaxies look like

def test_phases_and_provenance(other, run):
    history = pd.read_csv(run/'history.csv')
    assert history.phase.tolist() == ['static']*3
    record = json.loads((run/'run.json').read_text())
    assert record['start'] == dict(name='other', model=model_digest(other)) and str(other.parent) not in json.dumps(record['start'])
    assert json.loads((run/'model/model.json').read_text())['start']['name'] == 'other'
    former, preset = VaDE.load(other/'model').meta['preset'], record['preset']
    assert former['lr'] > preset['lr'] > former['lr_end'] and preset['split_merge'] == 0
    assert learning_rate(start_preset(start_of(other)))(0) == pytest.approx(preset['lr'])
    verify(run)

def test_a_new_component_takes_up_a_new_class(other, tmp_path):
    survey = simulated(tmp_path/'rings', 2, 400, rings=80)
    train(survey, tmp_path/'run', start=other, n_components=4, device='cpu')
    changes, labels = pd.read_csv(tmp_path/'run/changes.csv'), catalogue(tmp_path/'run', survey, posterior=False, device='cpu').component.to_numpy()
    assert changes.matched.tolist() == ['0', '1', '2', 'new'], changes
    assert (labels[-80:] == 3).mean() > .9 and (labels[:-80] == 3).mean() < .1, changes
    assert changes.share_before[3] == 0 and np.isnan(changes.moved[3])

def test_it_resumes_exactly_without_the_other_run(other, survey, run, tmp_path):
    learn = begin(survey, tmp_path/'run', start=other, device='cpu').add_cb(StopAfter(1))
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    resumed = train(survey, tmp_path/'run', resume=True, device='cpu')
    assert same(resumed.model, VaDE.load(run/'model'))
    assert (tmp_path/'run/changes.csv').read_bytes() == (run/'changes.csv').read_bytes()
    assert same(vade_learner(survey, start=run/'start', device='cpu').fit_phases().model, resumed.model) # the same seed, the same numbers, from the copy

def test_what_is_refused(other, survey, run, tmp_path):
    for changes,why in (dict(n_components=2), '3 components, and 2 would lose'), (dict(n_latent=5), 'has n_latent 4'), (dict(size=64, encoder_filters=(8, 8)), 'keeps its architecture'):
        with pytest.raises(BadInput, match=why): train(survey, tmp_path/'run', start=other, device='cpu', **changes)
    with pytest.raises(BadModel, match='no trained model'): train(survey, tmp_path/'run', start=tmp_path, device='cpu')
    with pytest.raises(BadModel, match='from another model'): train(survey, run, resume=True, start=run, device='cpu')
    with pytest.raises(BadModel, match='without a model'): train(other.parent/'survey', other, resume=True, start=run, device='cpu')
    wide = pack_arrays(np.zeros((60, 1, 32, 32), np.uint8), tmp_path/'wide')
    with pytest.raises(BadSurvey): train(wide, tmp_path/'run', start=other, device='cpu')
    assert not (tmp_path/'run').exists()

def test_two_processes_and_several_seeds(other, survey, run, tmp_path):
    (tmp_path/'script.py').write_text('import sys\nfrom astrovader.train.distributed import train\n'
        'train(*sys.argv[1:3], start=sys.argv[3], n_components=4, device="cpu")\n')
    done = in_two(tmp_path/'script.py', survey.path, tmp_path/'two', other)
    assert done.returncode == 0, done.stderr
    train(survey, tmp_path/'one', start=other, n_components=4, device='cpu')
    one, two = (pd.read_csv(tmp_path/f'{name}/history.csv') for name in ('one', 'two'))
    assert (one.valid_loss - two.valid_loss).abs().max() < .02*one.valid_loss.abs().max()
    folders = train_seeds(survey, tmp_path/'seeds', 1, start=other, device='cpu')
    train_seeds(survey, tmp_path/'seeds', 2, resume=True, device='cpu')
    assert same(VaDE.load(folders[0]/'model'), VaDE.load(run/'model'))
    assert json.loads((tmp_path/'seeds/seed-1/run.json').read_text())['start']['name'] == 'other'

def test_a_residual_encoder_and_detail(survey, tmp_path):
    filters = dict(encoder_filters=(8, 16), encoder_kernels=(3, 3), decoder_filters=(8, 8), decoder_kernels=(3, 3))
    arch = dict(n_latent=4, n_detail=5, n_components=3, n_scales=3, **filters)
    short = dict(epochs_contrast=1, epochs_alpha=1, epochs_anneal=1, epochs_static=1, n_periods=1, batch_size=48, bf16=False)
    former = train(survey, tmp_path/'former', 'small', device='cpu', encoder='residual', reconstruction='pyramid', **arch, **short).model
    learn = train(survey, tmp_path/'run', start=tmp_path/'former', epochs_detail=1, detail_filters=(8, 16), device='cpu')
    shape = torch.randn(9, 4)
    for k in 3,4:
        mixture = vade_learner(survey, start=tmp_path/'former', n_components=k, device='cpu').model.mixture
        assert mixture.detail_mean(shape).equal(former.mixture.detail_mean(shape)) and mixture.detail_root.equal(former.mixture.detail_root)
    assert former.mixture.detail_slopes.any()
    assert learn.history.phase.tolist() == ['static', 'static', 'detail'] and learn.changes.matched.tolist() == ['0', '1', '2']
    again = train(survey, tmp_path/'again', start=tmp_path/'former', epochs_contrast=0, device='cpu') # its features are there
    assert again.history.phase.tolist() == ['static', 'static'] and same(again.model, vade_learner(survey, start=tmp_path/'former', device='cpu').fit_phases().model)
    assert train(survey, tmp_path/'again', resume=True, device='cpu').preset.epochs_contrast == 0
    with pytest.raises(BadInput, match='go on from a model'): vade_learner(survey, encoder='residual', reconstruction='pyramid', epochs_contrast=0, device='cpu', **arch)
    features = lambda model: model.encoder.features.state_dict().values()
    assert all(torch.equal(a, b) for a,b in zip(features(former), features(learn.model)) if a.is_floating_point() and a.ndim > 1)

def test_the_command(other, survey, tmp_path, capsys):
    astrovader_train(str(survey.path), str(tmp_path/'run'), from_run=str(other), epochs_static=0, epochs_anneal=1)
    assert 'component 0: ' in capsys.readouterr().out and (tmp_path/'run/changes.csv').exists()
