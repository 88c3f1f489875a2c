"Runs that are damaged, shared, written twice or on a full disk: every flipped byte is refused, nothing is half-written, and a training resumes."
import contextlib,io,json,os,resource,shutil,stat
from contextlib import contextmanager
import numpy as np,pytest,torch
from fastai.callback.core import Callback
from astrovader.core import AstrovaderError,BadInput,BadModel,Diverged,read_json,write_json
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer.verify import verify
from astrovader.model.inference import open_model
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.train.checkpoint import Run,last_checkpoint,read_checkpoint,restore
from astrovader.train.learner import begin,train,vade_learner
from astrovader.train.phases import get_preset,presets,with_changes

tiny = with_changes(get_preset('small'), encoder_filters=(4, 4, 4), decoder_filters=(4, 4, 4), n_latent=3, n_components=2, init_batches=4, batch_size=16,
    epochs_alpha=1, epochs_anneal=1, epochs_static=0, n_periods=1)
def quietly(f, *args, **kwargs):
    with contextlib.redirect_stdout(io.StringIO()): return f(*args, **kwargs)

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(80, size=32, seed=0)[0], tmp_path_factory.mktemp('damaged')/'survey')

@pytest.fixture(scope='module')
def run(survey):
    quietly(train, survey, survey.path.parent/'run', tiny, device='cpu')
    return survey.path.parent/'run'

@pytest.fixture(scope='module')
def export(run):
    for name in 'onnx','onnxscript','onnxruntime': pytest.importorskip(name)
    from astrovader.share.onnx import to_onnx
    to_onnx(run, run.parent/'export')
    return run.parent/'export'

def weights_of(learn): return learn.model.state_dict()
def same(a, b): return all(value.equal(b[name]) for name,value in a.items())
def hidden(folder): return [path.name for path in folder.rglob('.*') if path.name != '.lock']

# Flipped bytes

n_flips = 30

def survivors(path, load):
    "Positions of a flipped byte that `load` does not refuse"
    content,passed = path.read_bytes(),[]
    for position in np.linspace(0, len(content)-1, n_flips).astype(int):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        try: load()
        except BadModel as e: assert str(path) in str(e) and '\n' not in str(e)
        else: passed.append(position)
    path.write_bytes(content)
    load()
    return passed

@pytest.mark.parametrize('name', ['weights.safetensors', 'model.json'])
def test_a_flipped_byte_in_a_model_is_refused(run, name): assert survivors(run/'model'/name, lambda: VaDE.load(run/'model')) == []

@pytest.mark.parametrize('name', ['weights.safetensors', 'optimizer.safetensors', 'random.safetensors', 'state.json'])
def test_a_flipped_byte_in_a_checkpoint_is_refused(run, name):
    folder = last_checkpoint(run)
    assert survivors(folder/name, lambda: read_checkpoint(folder)) == []

def test_a_flipped_byte_in_the_history_is_found(run): assert survivors(run/'history.csv', lambda: quietly(verify, run)) == []

def test_a_history_may_be_an_epoch_ahead_of_its_checkpoint(run):
    path = run/'history.csv'
    whole = path.read_text()
    path.write_text(whole + whole.splitlines()[-1].replace('2,', '3,', 1) + '\n')
    assert quietly(verify, run) == 1
    path.write_text(whole)

def test_a_history_without_a_checkpoint_is_still_read(run, tmp_path):
    shutil.copytree(run, tmp_path/'run', ignore=shutil.ignore_patterns('checkpoint'))
    assert quietly(verify, tmp_path/'run') == 1
    (tmp_path/'run/history.csv').write_bytes(b'')
    with pytest.raises(AstrovaderError, match='history.csv'): quietly(verify, tmp_path/'run')

def test_a_flipped_byte_in_the_settings_is_refused(run): assert survivors(run/'run.json', lambda: Run(run).saved()) == []

@pytest.mark.parametrize('name', ['encoder.onnx', 'decoder.onnx', 'export.json'])
def test_a_flipped_byte_in_an_export_is_refused(export, name):
    from astrovader.share.onnx import verify_export
    assert survivors(export/name, lambda: verify_export(export)) == []

def test_files_without_digests_still_open(survey, run, tmp_path):
    quietly(train, survey, tmp_path/'old', tiny, device='cpu')
    for path,key in (tmp_path/'old/model/model.json', 'weights_sha256'), (last_checkpoint(tmp_path/'old')/'state.json', 'digests'):
        content = json.loads(path.read_text())
        del content[key], content['checksum']
        path.write_text(json.dumps(content))
    assert same(open_model(tmp_path/'old', 'cpu').state_dict(), open_model(run, 'cpu').state_dict())
    assert quietly(begin, survey, tmp_path/'old', resume=True, device='cpu').first_epoch == 2

# Contents of another kind

wrong_states = dict(history=None), dict(history=[1, 2]), dict(history=[]), dict(epoch='2'), dict(random={}), dict(random=dict(numpy=[], python=[])), \
    dict(random=dict(numpy=['MT19937', [2**40]*624, 1, 0, 0.], python=[3, [], None])), dict(threads=None, bf16=1, digests=5, history={})

@pytest.mark.parametrize('change', wrong_states)
def test_a_checkpoint_of_another_kind_is_refused(survey, run, tmp_path, change):
    learn = quietly(begin, survey, run, resume=True, device='cpu')
    folder = last_checkpoint(run)
    content = (folder/'state.json').read_bytes()
    try:
        write_json(folder/'state.json', read_json(folder/'state.json') | change)
        with pytest.raises(BadModel, match='is damaged'): restore(learn, folder)
    finally: (folder/'state.json').write_bytes(content)

@pytest.mark.parametrize('name', ['run.json', 'model/model.json', 'checkpoint/epoch-00002/state.json'])
@pytest.mark.parametrize('content', ['[]', '7', '{}', '', '{"format": 1}', '['*100_000, '{"preset": {"arch": {"size": [[[]]]}}, "seed": {}, "survey": []}'])
def test_json_of_another_kind_is_refused(survey, run, name, content):
    before = (run/name).read_bytes()
    try:
        (run/name).write_text(content)
        with pytest.raises(BadModel) as e:
            if name.startswith('model'): open_model(run, 'cpu')
            else: quietly(begin, survey, run, resume=True, device='cpu')
        assert '\n' not in str(e.value) and 'run' in str(e.value)
    finally: (run/name).write_bytes(before)

def test_a_model_of_nan_is_refused(run, tmp_path):
    model = VaDE.load(run/'model')
    model.decoder.body[-2].bias.fill_(torch.nan)
    model.save(tmp_path/'nan/model')
    with pytest.raises(BadModel, match='NaN or infinite.*decoder'): open_model(tmp_path/'nan', 'cpu')
    with pytest.raises(BadModel, match='NaN or infinite'): open_model(model, 'cpu')

# Shared, foreign and doubled folders

def test_all_files_of_a_run_have_the_same_permissions(run):
    files = [path for path in run.rglob('*') if path.is_file() and path.name != '.lock']
    umask = os.umask(0)
    os.umask(umask)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}

@pytest.mark.parametrize('name', ['paper.tex', 'model', 'survey.json', 'history.csv'])
def test_a_foreign_folder_is_refused(survey, tmp_path, name):
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/name).touch()
    with pytest.raises(BadModel, match='holds something else'): quietly(train, survey, tmp_path/'mine', tiny, device='cpu')
    assert [path.name for path in (tmp_path/'mine').iterdir()] == [name]

def test_an_empty_name_is_not_the_current_folder(survey, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for make in train,vade_learner:
        with pytest.raises(BadInput, match='empty name'): make(survey, run='', preset=tiny, device='cpu')
    with pytest.raises(BadInput, match='empty name'): open_model('')
    assert list(tmp_path.iterdir()) == []

def test_two_trainings_do_not_share_a_folder(survey, run):
    with Run(run).alone(), pytest.raises(AstrovaderError, match='being written by another process'): quietly(train, survey, run, resume=True, device='cpu')

def test_what_killed_processes_left_is_removed(survey, run, tmp_path):
    quietly(train, survey, tmp_path/'run', tiny, device='cpu')
    for name in '.run.json', '.history.csv', '.model', 'checkpoint/.epoch-00002', 'checkpoint/.epoch-00003':
        (tmp_path/f'run/{name}.tmp-1234abcd').mkdir()
        (tmp_path/f'run/{name}.tmp-1234abcd/half').touch()
    (tmp_path/'run/checkpoint/epoch-00001').mkdir()
    assert same(weights_of(quietly(train, survey, tmp_path/'run', resume=True, device='cpu')), open_model(run, 'cpu').state_dict())
    assert hidden(tmp_path/'run') == [] and [path.name for path in (tmp_path/'run/checkpoint').iterdir()] == ['epoch-00002']

# A full disk, and other errors inside fastai

@contextmanager
def full_disk(most):
    "A limit on the size of a file is as good as a full disk"
    soft,hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

@pytest.mark.parametrize('most, name', [(300, 'run.json'), (4000, 'checkpoint/epoch-00001')])
def test_a_full_disk_is_one_sentence_and_the_training_resumes(survey, run, tmp_path, most, name):
    with full_disk(most), pytest.raises(BadInput, match='make room') as e: quietly(train, survey, tmp_path/'run', tiny, device='cpu')
    assert str(e.value).startswith(f'{tmp_path}/run/{name} cannot be written (File too large)')
    assert hidden(tmp_path/'run') == [] and {path.name for path in tmp_path.rglob('*') if path.is_file()} <= {'run.json', 'history.csv'}
    resumed = quietly(train, survey, tmp_path/'run', tiny, resume=True, device='cpu')
    assert same(weights_of(resumed), open_model(run, 'cpu').state_dict())

def test_a_disk_that_fills_before_the_model_is_saved(survey, run, tmp_path, monkeypatch):
    save = VaDE.save
    def save_on_full_disk(*args, **kwargs):
        with full_disk(4000): save(*args, **kwargs)
    monkeypatch.setattr(VaDE, 'save', save_on_full_disk)
    with pytest.raises(BadInput, match='run/model cannot be written'): quietly(train, survey, tmp_path/'run', tiny, device='cpu')
    assert not (tmp_path/'run/model').exists() and hidden(tmp_path/'run') == []
    monkeypatch.undo()
    assert same(weights_of(quietly(train, survey, tmp_path/'run', resume=True, device='cpu')), open_model(run, 'cpu').state_dict())

class Fail(Callback):
    def __init__(self, error): self.error = error
    def before_batch(self): raise self.error

@pytest.mark.parametrize('error', [MemoryError(), BadInput('one sentence.'), OSError(5, 'Input/output error', 'shard')])
def test_an_error_in_a_callback_keeps_its_words(survey, error):
    learn = vade_learner(survey, tiny, device='cpu')
    with pytest.raises(type(error)) as e: quietly(learn.add_cb(Fail(error)).fit_phases)
    assert 'one sentence.' == str(e.value) if isinstance(error, BadInput) else e.value is error

@pytest.mark.parametrize('preset', ['small', 'morphology'])
def test_a_diverged_training_proposes_a_usual_rate(survey, preset):
    with pytest.raises(Diverged) as e: quietly(vade_learner(survey, preset, lr=1e6, device='cpu').fit_phases)
    assert f'(--lr {presets[preset].lr:.2g})' in str(e.value)

def test_a_diverged_cross_entropy_is_one_sentence(survey):
    learn = vade_learner(survey, with_changes(tiny, reconstruction='cross_entropy'), lr=1e6, device='cpu')
    with pytest.raises(Diverged, match='diverged in epoch'): quietly(learn.fit_phases)

def test_numpy_scalars_are_numbers(survey, tmp_path):
    changes = dict(n_components=np.int64(2), lr=np.float32(1e-3), epochs_alpha=np.int32(1), flips=np.bool_(True))
    quietly(train, survey, tmp_path/'run', tiny, np.int64(3), device='cpu', **changes)
    preset,seed,n = Run(tmp_path/'run').saved()
    assert (type(preset.arch.n_components), preset.lr, seed, n) == (int, float(np.float32(1e-3)), 3, 80)
    arch = Architecture(size=np.int64(16), encoder_filters=np.array([4]), encoder_kernels=(3,), decoder_filters=[np.int8(4)], decoder_kernels=(3,))
    assert type(VaDE(arch).arch.size) is int
