"Training in two processes, started as a user starts them: it equals training in one, resumes in any number, and ends together."
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
from side_by_side import Command,in_two

changes = dict(n_components=3, n_latent=4, batch_size=31, epochs_alpha=3, epochs_anneal=2, epochs_static=1, n_periods=1, lr=1e-3, valid=.1)
informative = changes | dict(sample_alpha=False, bf16=False, l2=1e-5, lr=3e-3, epochs_alpha=4)

def options(**more): return [str(word) for name,value in (changes | more).items() for word in (f'--{name.replace("_", "-")}', value)]

@pytest.fixture(autouse=True)
def without_gpus(monkeypatch): monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A survey of 203 galaxies, and runs on it in one process: with the paper's switches, and with informative latents from the first epochs"
    path = tmp_path_factory.mktemp('distributed')
    pack_arrays(sky(203, 16)[0], path/'survey')
    distributed.train(path/'survey', path/'one', 'paper', device='cpu', **changes)
    distributed.train(path/'survey', path/'informative', 'small', device='cpu', **informative)
    return path

def saved(run): return pd.read_csv(run/'history.csv').drop(columns='seconds'), load_file(run/'model/weights.safetensors')

def in_order(weights):
    "Weights with the components in the order of their first coordinate: of several equally likely fits, rounding decides which is taken"
    order = weights['mixture.means'][:,0].argsort()
    return {name: tensor[order] if name.startswith('mixture.') else tensor for name,tensor in weights.items()}

def assert_same(one, two, tolerance):
    "The histories and the weights of two runs agree to `tolerance`, relative to 1 or to the greatest value of a column or a tensor"
    # Rounding grows to 1e-4 in the informative run; the gradients of one process alone change it by 0.05 and more
    history, weights = saved(one)
    other_history, other_weights = saved(two)
    assert history[['epoch', 'phase', 'period']].equals(other_history[['epoch', 'phase', 'period']])
    numbers = history.select_dtypes('number')
    differences = (numbers - other_history[numbers.columns]).abs().max()/numbers.abs().max().clip(lower=1)
    assert differences.max() < tolerance, differences[differences > tolerance/10]
    other_weights = in_order(other_weights)
    for name,tensor in in_order(weights).items():
        assert (tensor - other_weights[name]).abs().max() < tolerance*max(1, tensor.abs().max()), name

def files(folder): return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*'))

def start(n, *args):
    "Start astrovader-train in `n` processes, as a process group of its own, so that Ctrl-C reaches all of them as at a prompt"
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', n, Path(sys.executable).with_name('astrovader-train'), *args]
    return subprocess.Popen(list(map(str, command)), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

def finish(process, timeout=180):
    "What a command prints to stderr until it ends; all its processes are killed after `timeout` seconds"
    try: return process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise

def children(pid):
    listed = subprocess.run(['ps', '-A', '-o', 'pid=,ppid='], capture_output=True, text=True, check=True).stdout
    pairs = [map(int, line.split()) for line in listed.splitlines()]
    return sorted(child for child,parent in pairs if parent == pid)

def interrupt(folder, run, stop):
    "Train in two processes until the third epoch, then `stop` the launcher; returns the messages, and the seconds until all had ended"
    process = start(2, folder/'survey', run, '--preset', 'paper', *options(epochs_alpha=400))
    for line in process.stdout:
        if 'epoch 3/' in line: break
    began = time.time()
    stop(process)
    err = finish(process)
    unfinished = [path for path in files(run) if '/.' in f'/{path}']
    assert process.returncode != 0 and not (run/'model').exists() and not unfinished, err
    return [line for line in err.splitlines() if line.startswith('astrovader: ')], time.time() - began

def test_two_processes_train_what_one_trains(folder):
    done = launch(2, 'astrovader-train', folder/'survey', folder/'two', '--preset', 'paper', *options(), timeout=240)
    assert done.returncode == 0 and done.stdout.count('epoch 5/5') == 1, done.stderr
    assert done.stdout.count('mixture fitted to') == 1
    assert_same(folder/'one', folder/'two', 1e-4)
    one, two = ([path for path in files(folder/run) if 'checkpoint/epoch' not in path] for run in ('one', 'two'))
    assert one == two

def test_a_killed_process_ends_the_others_and_the_run_resumes_in_one(folder, tmp_path):
    messages,seconds = interrupt(folder, tmp_path/'run', lambda process: os.kill(children(process.pid)[-1], signal.SIGKILL))
    assert len(messages) == 1 and 'another of the 2 processes ended' in messages[0] and '--resume' in messages[0], messages
    assert seconds < 25
    learn = begin(folder/'survey', tmp_path/'run', resume=True, device='cpu')
    assert learn.first_epoch >= 3 and len(learn.rows) == learn.first_epoch

def test_ctrl_c_is_reported_once(folder, tmp_path):
    messages,seconds = interrupt(folder, tmp_path/'run', lambda process: os.killpg(process.pid, signal.SIGINT))
    assert len(messages) == 1 and 'stopped' in messages[0] and '--resume' in messages[0], messages
    assert seconds < 25

class PressCtrlC(distributed.Callback):
    "Ctrl-C in the middle of the third epoch"
    def before_batch(self):
        if (self.epoch, self.iter) == (2, 3): raise KeyboardInterrupt

def test_a_run_begun_in_one_process_ends_in_two_of_accelerate(folder, tmp_path):
    learn = begin(folder/'survey', tmp_path/'run', 'paper', device='cpu', **changes)
    learn.add_cb(PressCtrlC())
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    commands = Path(sys.executable).parent
    command = [commands/'accelerate', 'launch', '--multi_gpu', '--num_processes', '2', '--main_process_port', '0',
        commands/'astrovader-train', folder/'survey', tmp_path/'run', '--resume']
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and 'continuing after epoch 2 of 5' in done.stdout and 'another number of processes' in done.stdout, done.stderr
    assert_same(folder/'one', tmp_path/'run', 1e-4)

script = '''
import sys
from astrovader.core import AstrovaderError
from astrovader.train.distributed import Callback,join_group
from astrovader.train.learner import begin
class Break(Callback):
    def before_batch(self):
        if (self.epoch, self.iter) == (1, 2): exec(sys.argv[3])
def work(group):
    learn = begin(sys.argv[1], sys.argv[2], 'small', device='cpu', group=group, **eval(sys.argv[4]))
    if not group.is_first: learn.add_cb(Break())
    import fastai.distributed
    with learn.distrib_ctx(): learn.fit_phases()
try:
    with join_group(timeout=1, device='cpu') as group: work(group)
except AstrovaderError as e: sys.exit('' if getattr(e, 'silent', 0) else str(e))
'''

def test_an_error_in_one_process_ends_both_and_the_run_resumes(folder, tmp_path):
    (tmp_path/'script.py').write_text(script)
    done = in_two(tmp_path/'script.py', folder/'survey', tmp_path/'run', "raise OSError(28, 'No space left on device')", informative)
    assert done.returncode != 0 and done.stderr.count('No space left on device') >= 1 and 'another of the 2' not in done.stderr, done.stderr
    distributed.train(folder/'survey', tmp_path/'run', resume=True, device='cpu')
    assert_same(folder/'informative', tmp_path/'run', 1e-3)

@pytest.mark.parametrize('run,more,why', [('one', (), 'holds a training already'), ('new', ('--lr', 30), 'training diverged in epoch')])
def test_an_error_is_reported_once(folder, run, more, why):
    before = files(folder)
    process = start(2, folder/'survey', folder/run, '--preset', 'paper', *options(), *more)
    err = finish(process)
    assert process.returncode != 0 and err.count(why) == 1 and err.count('astrovader: ') == 1, err
    assert [path for path in files(folder) if not path.startswith('new')] == [path for path in before if not path.startswith('new')]

hang = """
import torch
from astrovader.model.process_group import ProcessGroup,signals_as_errors
x = torch.rand(6000, 6000)
with signals_as_errors(.2, ProcessGroup(remedy='start again').report_lost):
    print('ready', flush=True)
    x@x@x@x@x@x
"""

def test_a_process_that_hangs_in_a_library_reports_and_ends(tmp_path):
    (tmp_path/'hang.py').write_text(hang)
    process = Command(tmp_path/'hang.py')
    process.until('ready')
    time.sleep(.1)
    process.send_signal(signal.SIGTERM)
    _,err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.startswith('astrovader: another of the 1 processes ended') and err.count('\n') == 1, err

def test_without_accelerate_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'accelerate', None)
    with pytest.raises(BadInput, match='distributed'): distributed._require_accelerate()
    assert torch.distributed.is_available()
