"One training in two gloo processes, started as a user starts them: the same as in one, resumed in any number, and ended together."
import os,signal,subprocess,sys,time
from pathlib import Path
import pandas as pd,pytest,torch
from safetensors.torch import load_file
from astrovader.train import distributed
from astrovader.core import BadInput
from astrovader.train.learner import begin
from astrovader.model.process_group import launch
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky

changes = dict(n_components=3, n_latent=4, batch_size=31, epochs_alpha=3, epochs_anneal=2, epochs_static=1, n_periods=1, lr=1e-3, valid=.1)
pytestmark = pytest.mark.xdist_group('ranks')
def options(**more): return [str(o) for k,v in (changes | more).items() for o in (f'--{k.replace("_", "-")}', v)]
lively = changes | dict(sample_alpha=False, bf16=False, l2=1e-5, lr=3e-3, epochs_alpha=4)
long = '--preset', 'paper', *options(epochs_alpha=400)

@pytest.fixture(autouse=True)
def on_processors(monkeypatch): monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder with a survey of 203 galaxies, and runs on it in one process: with the paper's switches, and with latents that matter from the start"
    d = tmp_path_factory.mktemp('ranks')
    pack_arrays(sky(203, 16)[0], d/'survey')
    distributed.train(d/'survey', d/'one', 'paper', device='cpu', **changes)
    distributed.train(d/'survey', d/'lively', 'small', device='cpu', **lively)
    return d

def same(a, b, tol):
    "Are the histories and the weights of two runs the same to `tol`, of 1 or the greatest value in a column or a tensor?"
    # Rounding grows to 1e-4 in the lively run; the gradients of one process alone move it by 0.05 and more
    a,b = ((pd.read_csv(o/'history.csv').drop(columns='seconds'), load_file(o/'model/weights.safetensors')) for o in (a, b))
    assert a[0][['epoch', 'phase', 'period']].equals(b[0][['epoch', 'phase', 'period']])
    numbers = a[0].select_dtypes('number')
    apart = (numbers - b[0][numbers.columns]).abs().max()/numbers.abs().max().clip(lower=1)
    assert apart.max() < tol, apart[apart > tol/10]
    # Of several starts that find the same mixture, rounding decides which is taken, and so the order of the components
    a,b = ({k: v[o[1]['mixture.means'][:,0].argsort()] if k.startswith('mixture.') else v for k,v in o[1].items()} for o in (a, b))
    for k,v in a.items(): assert (v - b[k]).abs().max() < tol*max(1, v.abs().max()), k

def files(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*'))
def started(n, *args):
    "A command in `n` processes, with its own group of processes, so that Ctrl-C reaches all of them as at a prompt"
    cmd = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', n, Path(sys.executable).with_name('astrovader-train'), *args]
    return subprocess.Popen(list(map(str, cmd)), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

def children(pid):
    rows = [l.split() for l in subprocess.run(['ps', '-A', '-o', 'pid=,ppid='], capture_output=True, text=True, check=True).stdout.splitlines()]
    return sorted(int(p) for p,parent in rows if int(parent) == pid)

def broken(place, run, stop):
    "Train in two processes until the third epoch, then `stop` the launcher; what they said, and seconds until all had ended"
    p = started(2, place/'survey', run, *long)
    for l in p.stdout:
        if 'epoch 3/' in l: break
    t = time.time()
    stop(p)
    _,err = p.communicate(timeout=60)
    assert p.returncode != 0 and not (run/'model').exists() and not [o for o in files(run) if '/.' in f'/{o}'], err
    return [l for l in err.splitlines() if l.startswith('astrovader: ')], time.time() - t

def test_two_processes_train_what_one_trains(place):
    r = launch(2, 'astrovader-train', place/'survey', place/'two', '--preset', 'paper', *options(), timeout=120)
    assert r.returncode == 0 and r.stdout.count('epoch 5/5') == 1, r.stderr
    assert r.stdout.count('mixture set from') == 1
    same(place/'one', place/'two', 1e-4)
    assert [o for o in files(place/'two') if 'checkpoint/epoch' not in o] == [o for o in files(place/'one') if 'checkpoint/epoch' not in o]

def test_a_killed_process_ends_the_others_and_the_run_goes_on_in_one(place, tmp_path):
    said,seconds = broken(place, tmp_path/'run', lambda p: os.kill(children(p.pid)[-1], signal.SIGKILL))
    assert len(said) == 1 and 'another of the 2 processes ended' in said[0] and '--resume' in said[0], said
    assert seconds < 25
    learn = begin(place/'survey', tmp_path/'run', resume=True, device='cpu')
    assert learn.first_epoch >= 3 and len(learn.rows) == learn.first_epoch

def test_ctrl_c_is_said_once(place, tmp_path):
    said,seconds = broken(place, tmp_path/'run', lambda p: os.killpg(p.pid, signal.SIGINT))
    assert len(said) == 1 and 'stopped' in said[0] and '--resume' in said[0], said
    assert seconds < 25

class Stop(distributed.Callback):
    "Ctrl-C in the middle of the third epoch"
    def before_batch(self):
        if (self.epoch, self.iter) == (2, 3): raise KeyboardInterrupt

def test_a_run_begun_in_one_process_ends_in_two_of_accelerate(place, tmp_path):
    learn = begin(place/'survey', tmp_path/'run', 'paper', device='cpu', **changes)
    learn.add_cb(Stop())
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    bin = Path(sys.executable).parent
    cmd = [bin/'accelerate', 'launch', '--multi_gpu', '--num_processes', '2', '--main_process_port', '0', bin/'astrovader-train', place/'survey', tmp_path/'run', '--resume']
    r = subprocess.run(cmd, capture_output=True, text=True, timeout=120)
    assert r.returncode == 0 and 'going on after epoch 2 of 5' in r.stdout and 'another number of processes' in r.stdout, r.stderr
    same(place/'one', tmp_path/'run', 1e-4)

script = '''
import sys
from astrovader.core import AstrovaderError
from astrovader.train.distributed import Callback,joined
from astrovader.train.learner import begin
class Break(Callback):
    def before_batch(self):
        if (self.epoch, self.iter) == (1, 2): exec(sys.argv[3])
def work(ranks):
    learn = begin(sys.argv[1], sys.argv[2], 'small', device='cpu', ranks=ranks, **eval(sys.argv[4]))
    if not ranks.first: learn.add_cb(Break())
    import fastai.distributed
    with learn.distrib_ctx(): learn.fit_phases()
try:
    with joined(timeout=1, device='cpu') as ranks: work(ranks)
except AstrovaderError as e: sys.exit('' if getattr(e, 'silent', 0) else str(e))
'''

def test_an_error_in_one_process_ends_both_and_the_run_goes_on(place, tmp_path):
    (tmp_path/'script.py').write_text(script)
    r = launch(2, tmp_path/'script.py', place/'survey', tmp_path/'run', "raise OSError(28, 'No space left on device')", lively, timeout=120)
    assert r.returncode != 0 and r.stderr.count('No space left on device') >= 1 and 'another of the 2' not in r.stderr, r.stderr
    distributed.train(place/'survey', tmp_path/'run', resume=True, device='cpu')
    same(place/'lively', tmp_path/'run', 1e-3)

@pytest.mark.parametrize('run,more,why', [('one', (), 'holds a training already'), ('new', ('--lr', 30), 'training diverged in epoch')])
def test_what_is_wrong_is_said_once(place, run, more, why):
    before = files(place)
    p = started(2, place/'survey', place/run, '--preset', 'paper', *options(), *more)
    _,err = p.communicate(timeout=60)
    assert p.returncode != 0 and err.count(why) == 1 and err.count('astrovader: ') == 1, err
    assert [o for o in files(place) if not o.startswith('new')] == [o for o in before if not o.startswith('new')]

hang = """
import torch
from astrovader.model.process_group import Ranks,heeding
x = torch.rand(6000, 6000)
with heeding(.2, Ranks(again='start again').last_words):
    print('ready', flush=True)
    x@x@x@x@x@x
"""

def test_a_process_that_hangs_in_a_library_says_so_and_ends(tmp_path):
    (tmp_path/'hang.py').write_text(hang)
    p = subprocess.Popen([sys.executable, tmp_path/'hang.py'], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline() == 'ready\n'
    time.sleep(.1)
    p.terminate()
    _,err = p.communicate(timeout=60)
    assert p.returncode == 1 and err.startswith('astrovader: another of the 1 processes ended') and err.count('\n') == 1, err

def test_without_accelerate_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'accelerate', None)
    with pytest.raises(BadInput, match='distributed'): distributed._libraries()
    assert torch.distributed.is_available()
