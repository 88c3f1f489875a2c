"Wrong calls of model/, train/ and share/: each is answered by an exception of ours, in one sentence with the words given here."
import contextlib,io
from importlib import import_module
from types import SimpleNamespace
import numpy as np,pandas as pd,pytest,torch
from astrovader.core import AstrovaderError
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE

modules = 'model.networks', 'model.mixture', 'model.vade', 'model.losses', 'model.process_group', 'model.device', 'model.diagnostics', 'model.inference', \
    'train.phases', 'train.split_merge', 'train.checkpoint', 'train.learner', 'share.keras', 'share.onnx'
from astrovader.data.survey import as_survey
known = dict(np=np, pd=pd, torch=torch, as_survey=as_survey, train_distributed=import_module('astrovader.train.distributed').train)
for module in map(import_module, (f'astrovader.{name}' for name in modules)): known |= {name: getattr(module, name) for name in module.__all__}

@pytest.fixture(scope='module')
def at(tmp_path_factory):
    "What the calls need: a survey, a run, a model, latents and images"
    folder = tmp_path_factory.mktemp('calls')
    images,_ = sky(30, size=16, seed=0)
    survey = pack_arrays(images, folder/'survey')
    torch.manual_seed(0)
    arch = Architecture(16, encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,), n_latent=4, n_components=3)
    model = VaDE(arch, survey.packing).eval()
    model.save(folder/'run/model')
    z = torch.randn(5, 4)
    return SimpleNamespace(folder=folder, survey=survey, model=model, mixture=model.mixture, z=z, nan=z/0, x=torch.rand(5, 1, 16, 16), bytes=images,
        gamma=np.full((5, 3), 1/3), three=([.3, .3, .4], np.zeros((3, 4)), np.ones((3, 4))))

calls = r'''
# the architecture and the model
Architecture(size='16') -> size is
Architecture(n_latent=True) -> n_latent is True
Architecture(n_components=2.) -> whole number
Architecture(output=[]) -> use one of relu
Architecture(slope=np.nan) -> give a number
Architecture(encoder_filters=None) -> encoder_filters is None
VaDE('run') -> give an Architecture
VaDE(dict(size=16)) -> give an Architecture
Encoder(None) -> give an Architecture
Decoder(16) -> give an Architecture
VaDE(Architecture(prior='flow')) -> mixture, raw_mixture
VaDE(Architecture(prior=[])) -> mixture, raw_mixture
model.encode('galaxy.png') -> this is a str
model.encode(None) -> this is a NoneType
model.encode(survey) -> this is a Survey
model.encode(bytes) -> divide bytes by 255
model.encode(bytes[:,None]) -> of shape (n, 1, 16, 16)
model.encode(255*x) -> divide bytes by 255
model.encode(x[0]) -> of shape (n, 1, 16, 16), not (1, 16, 16)
model.encode(x/0) -> NaN or infinite
model.encode(x.numpy()*np.nan) -> NaN or infinite
model.encode(x.bool()) -> of torch.bool
model.encode(x.to(torch.complex64)) -> of torch.complex64
model.decode(z[:,:1]) -> of shape (n, 4), not (5, 1)
model.decode(z[0]) -> of shape (n, 4), not (4,)
model.decode(nan) -> NaN or infinite
model.decode([[1, 2], [3]]) -> this is a list
model.decode(folder) -> tensor or an array
model.decode(pd.DataFrame(dict(z=['a']))) -> this is a DataFrame
model.save('') -> is an empty name
model.save(5) -> is 5
VaDE.load(5) -> is 5
VaDE.load('') -> is an empty name
VaDE.load(folder/'run') -> is the folder of a run
VaDE.load(folder/'none') -> does not exist
VaDE.load(folder/'run/model', 'tpu') -> use 'cpu' or 'cuda'
VaDE.load('a\0b') -> give the name of a file or folder
load_weights(folder/'none') -> is missing
load_weights(folder/'survey/survey.json') -> is damaged
load_weights(5) -> is 5
# the mixture
Mixture(0, 4) -> components is 0
Mixture('3', 4) -> components is '3'
Mixture(3, 4.5) -> latents is 4.5
RawMixture(3, -1) -> latents is -1
mixture.log_joint(z[:,:1]) -> of shape (n, 4), not (5, 1)
mixture.log_joint(nan) -> NaN or infinite
mixture.log_joint('z') -> this is a str
mixture.log_density(z[:,:1]) -> of shape (n, 4), not (5, 1)
mixture.log_density(nan.numpy()) -> NaN or infinite
mixture.log_density(z[0]) -> not (4,)
mixture.posterior(z[:,:1]) -> of shape (n, 4), not (5, 1)
mixture.posterior(nan) -> NaN or infinite
mixture.posterior(z, 'soft') -> exact, minmax, tempered
mixture.posterior(z, None) -> exact, minmax, tempered
mixture.posterior(z, 'tempered', '5') -> give a positive number
mixture.posterior(z, ['exact']) -> exact, minmax
mixture.posterior(z[:0], 'minmax') -> the batch is empty
mixture.log_posterior(folder) -> tensor or an array
mixture.kl(z, z[:,:1], gamma) -> log-variances must be
mixture.kl(z, z[:2], np.log(gamma)) -> 5 means and 2 log-variances
mixture.kl(z, z, np.log(gamma[:,:2])) -> of shape (5, 3), not (5, 2)
mixture.kl(nan, z, np.log(gamma)) -> some means are NaN
mixture.latent_kl(z, None) -> log-variances must be
mixture.latent_kl(z[:,:1], z) -> means must be of shape
mixture.set_([1, 1], z, z) -> weights of Mixture(n_components=3, n_latent=4) must be of shape (3,)
mixture.set_('a', None, None) -> this is a str
mixture.set_(*three, rows=[3]) -> they run from 0 to 2
mixture.set_(*three, rows=['a']) -> the component is 'a'
mixture.set_([1, 1, -1], *three[1:]) -> positive and finite
mixture.sample(0) -> samples is 0
mixture.sample('9') -> samples is '9'
mixture.sample(1.5) -> samples is 1.5
mixture.sample(2, 1.5) -> component is 1.5
mixture.sample(2, 3) -> they run from 0 to 2
mixture.sample(2, temperature='hot') -> or a positive number
mixture.sample(2, temperature=None) -> or a positive number
minmax('a') -> log-probabilities must be
responsibilities(z[0]) -> of shape (n, K)
overlap_of([[0.]], [[1.], [1.]]) -> variances must be of shape (1, 1)
fit_mixture(folder, 2) -> embeddings must be
fit_mixture(z[:,0], 2) -> of shape (n, J)
fit_mixture(z, 9) -> cannot be fitted to 5 galaxies
fit_mixture(z, '2') -> n_components is '2'
fit_mixture(z, 2, n_init=0) -> n_init is 0
fit_mixture(z, 2, covariance='round') -> one of diag, full
fit_mixture(z, 2, seed=1.5) -> the seed is 1.5
fit_mixture(nan, 2) -> NaN or infinity
m_step(gamma, z[:2], 0) -> of shape (5, J), not (2, 4)
mixture.maximise_('a', z, 0) -> responsibilities must be
# losses and diagnostics
squared_error(x, x[:1]) -> reconstructions must be of shape (1, 1, 16, 16)
squared_error('a', x) -> this is a str
cross_entropy(2*x+1, x) -> in [0, 1]
noise_likelihood(x, x, 0.) -> of shape (n_scales,)
aperture_map('16', .5) -> images is '16'
aperture_map(16, [.5]) -> aperture is [0.5]
halving(1) -> at least 2
pyramid(x, 0) -> scales is 0
pyramid(folder, 2) -> images must be
gaussian_kl(z, z[:,:1]) -> of shape (5, 4), not (5, 1)
gaussian_kl(None, z) -> this is a NoneType
symmetric_kl((z, z), (z[:2], z[:2])) -> two views of the same images
get_reconstruction(['l1']) -> squared_error, cross_entropy
VaDELoss(folder/'run') -> open_model
bhattacharyya(folder/'run') -> open_model(run).mixture
duplicates(z) -> are of shape (K, K)
duplicates(np.eye(3), '0.9') -> up to 1
total_variation('ab', [1, 2]) -> this is a str
total_variation([1, 2], [[1, 2]]) -> of shape (K,)
tally(z, [0, 1, 2, 3, 9], 3) -> whole numbers from 0 to 2
tally(z, [0, 1], 3) -> of shape (5,)
variances(np.ones((3, 4)), 4) -> have 9 columns
between_share(z, ['a']*5) -> this is a list
between_share(nan, [0]*5) -> leave those rows out
latent_kl(None, z, z) -> a mixture is needed
component_sums(mixture, z[:,:1]) -> of shape (n, 4)
is_empty(3) -> of shape (K,)
n_inactive('a') -> this is a str
diagnose(mixture, np.ones((2, 9))) -> of shape (3, 1+2J)
# inference
open_model('') -> the run is an empty name
open_model(None) -> the run is None
open_model(survey) -> give the name of a file or folder
open_model(folder/'survey') -> no trained model
open_model(model, 'gpu') -> use 'cpu' or 'cuda'
as_model(bytes) -> the run is a ndarray
as_survey(model) -> the survey is a VaDE
as_survey('') -> the survey is an empty name
as_survey(7) -> the survey is 7
as_survey(folder/'run') -> is not a packed survey
RunOptions(batch=0) -> at least 1
RunOptions(batch='9') -> batch is '9'
RunOptions(batch=2.5) -> whole number
RunOptions(bf16='no') -> True or False
best_batch('gpu') -> use 'cpu' or 'cuda'
to_model(x, model) -> give uint8
to_model(bytes[0], model) -> of shape (n, bands, height, width)
latents(model, z) -> of shape (n, 1, 16, 16)
latents(model, x, z[:,:1]) -> normal numbers must be of shape (5, 4)
latents(5, x) -> the run is 5
noise(0, 5, 2, 3) -> at least 5
noise('0', 0, 2, 3) -> the seed is
noise(0, 0, 2, 0) -> latents is 0
noise(0, .5, 2, 3) -> first row is 0.5
Inference.open(model, bytes) -> the survey is a ndarray
Inference.open(9, survey) -> the run is 9
list(Inference.open(model, survey, show_progress=False).map(latents, [5])) -> ranges of rows must be
list(Inference.open(model, survey, show_progress=False).map(latents, [(0, 99)])) -> the survey has 30 rows
model_digest(None) -> the run is None
precision_of([], True) -> the run is []
survey_rows(survey, survey.path/'none.csv') -> does not exist
survey_rows(survey, pd.DataFrame(dict(id=[1]))) -> no column object_id
survey_rows(survey, 5) -> this is a int
survey_rows(3, pd.DataFrame(dict(object_id=['a']))) -> the survey is 3
at_precision('run') -> open_model
embeddings(model, None, 0) -> batches is 0
# processes
join_group('ten').__enter__() -> minutes is 'ten'
join_group(-1).__enter__() -> give a positive number
launch(0, 'x.py') -> processes is 0
# presets
Preset(lr='fast') -> lr is fast
Preset(epochs_alpha=True) -> epochs_alpha is True
Preset(scaling=[]) -> scaling is []
Preset(arch=dict(colour=1)) -> arch is not an Architecture
Preset(valid=np.float32(2)) -> between 0 and 1
get_preset([]) -> there is no preset []
get_preset(folder) -> use one of paper
with_changes('smal') -> there is no preset
plan(None) -> there is no preset None
n_epochs(5) -> there is no preset 5
phase_at('small', '3') -> time in epochs is '3'
phase_at('small', -1) -> no epoch -1
weights('x', 1) -> there is no preset
decodes_draw(5, 1, True) -> there is no preset 5
with_changes('small', n_components='3') -> n_components is '3'
preset_for('small', 30, 1, 16, dict(lr=np.nan)) -> lr is nan
# training
vade_learner(5) -> the survey is 5
vade_learner(bytes) -> the survey is a ndarray
vade_learner(folder/'none') -> does not exist
vade_learner(survey, 'big') -> there is no preset
vade_learner(survey, seed='a') -> the seed is
vade_learner(survey, seed=np.float64(1)) -> the seed is
vade_learner(survey, run='') -> the run is an empty name
vade_learner(survey, run=7) -> the run is 7
vade_learner(survey, device='tpu') -> use 'cpu' or 'cuda'
vade_learner(survey, colour=1) -> no field colour
vade_learner(survey, n_components=np.int64(500)) -> 500 components
begin(survey, '') -> the run is an empty name
begin(survey, None) -> the run is None
begin(None, folder/'new') -> the survey is None
begin(survey, folder/'new', seed=-1) -> the seed is -1
train(survey, survey.path) -> holds something else
train(survey, '') -> empty name
train_distributed(survey, folder/'new', timeout='x') -> timeout in minutes
train_distributed(survey, '') -> empty name
VaDELearner(None, model, 'x') -> there is no preset
vade_learner(survey, 'small', device='cpu').fit(1.5) -> epochs is 1.5
last_checkpoint(None) -> the run is None
read_checkpoint(folder/'none') -> does not exist
read_checkpoint('') -> empty name
restore(None, folder/'none') -> does not exist
Run(folder/'none').saved() -> does not exist
split_merge(*three, z[:,:1]) -> of shape (n, 4)
split_merge(*three, nan) -> NaN or infinite
split_merge(*three, z, threshold=2) -> up to 1
split_merge([1.], *three[1:], z) -> of shape (1, J)
expected_log_joint(*three, 'z') -> this is a str
mixture_fit(*three, z, z[:,:1]) -> variances of the embeddings
stationary_weights(*three, None) -> this is a NoneType
# other software
load_keras(5) -> the Keras file is 5
read_keras('') -> is an empty name
import_keras(folder/'none.h5', folder/'k') -> does not exist
import_keras(folder/'none.h5', '') -> the run is an empty name
import_keras(folder/'none.h5', survey.path) -> holds something else
layout('paper') -> give an Architecture
channels_first(np.ones(7), 2) -> cannot be unfolded
channels_first(z, 0) -> at least 1
to_onnx(folder/'none', folder/'o') -> no trained model
to_onnx(5, folder/'o') -> the run is 5
to_onnx(model, '') -> the export is an empty name
to_onnx(model, survey.path) -> holds something else
verify_export(folder/'none') -> does not exist
verify_export(None) -> the export is None
'''

def rows(table): return [line for line in table.strip().splitlines() if not line.startswith('#')]

def skip_without_packages(call):
    for function,names in dict(to_onnx=['onnx', 'onnxscript', 'onnxruntime'], keras=['h5py']).items():
        if function in call:
            for name in names: pytest.importorskip(name)

@pytest.mark.parametrize('row', rows(calls))
def test_a_wrong_call_is_one_sentence(at, row):
    call,words = row.split(' -> ')
    skip_without_packages(call)
    before = sorted(at.folder.rglob('*'))
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(AstrovaderError) as e: eval(call, known, vars(at))
    message = str(e.value)
    assert words in message and '\n' not in message and message.endswith('.'), message
    assert sorted(at.folder.rglob('*')) == before

right = '''
mixture.posterior(z.double().numpy())
mixture.log_density(pd.DataFrame(z.numpy()))
model.decode(z.numpy().tolist())
model.decode(z.double())
model.encode(x.numpy().astype('>f4'))
model.encode(x.double())
model.encode(x[:0])
model.decode(z[:0])
mixture.posterior(z[:0])
mixture.sample(np.int64(2), np.int64(1), np.float32(.5))
fit_mixture(z, np.int64(2), np.int64(1), np.int8(2))
open_model(str(folder/'run'), 'cpu')
latents(folder/'run', x)
model_digest(str(folder/'run'))
RunOptions(batch=np.int64(4), bf16=np.bool_(False))
Inference.open(str(folder/'run'), str(survey.path))
noise(np.int64(3), np.int64(0), np.int32(4), np.int64(2))
survey_rows(str(survey.path), pd.DataFrame(dict(object_id=survey.ids())))
vade_learner(str(survey.path), 'small', seed=np.uint8(2), device='cpu', batch_size=np.int64(8), lr=np.float32(.001))
mixture.kl(z.numpy(), z.numpy(), np.log(gamma))
total_variation(torch.ones(2), (1, 2))
n_epochs('small')
squared_error(x.numpy(), x)
VaDE.load(str(folder/'run/model'))
'''

@pytest.mark.parametrize('call', rows(right))
def test_arrays_names_and_numpy_scalars_are_taken(at, call): eval(call, known, vars(at))
