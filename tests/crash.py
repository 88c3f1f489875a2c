"""Crash points of every command: a process is killed at its n-th change of a file, the same command runs again, and the result is compared with an undisturbed one.

`python tests/crash.py` tries every change of every command, and every pair of commands at once; `--every 9` tries a ninth of the changes, and `--only pack train` some commands."""
import argparse,io,json,os,shutil,signal,sys,tempfile,time,traceback
from hashlib import sha256
from http.server import BaseHTTPRequestHandler,ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
import h5py,numpy as np,pandas as pd,torch
import lsdb
from PIL import Image
from astrovader import cli
from astrovader.core import AstrovaderError
from astrovader.data.pack import pack_arrays
from astrovader.data.survey import Survey
from astrovader.data.synth import sky,write_sky
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.share.keras import layout
from astrovader.tables import read_table

# Libraries and modules that commands load when they run are loaded once, before processes are forked
for name in 'fastai.callback.all','onnxruntime','astrovader.data.fetch','astrovader.train.distributed','astrovader.infer.hats','astrovader.infer.generate','astrovader.analysis.naming','astrovader.show.report','astrovader.share.onnx':
    import_module(name)

# A process that can be killed at any change of a file

_changes = 'os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'os.link', 'os.symlink', 'os.truncate'
_writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

class Countdown:
    "An audit hook that counts the changes below a folder, and kills the process at one of them"
    def __init__(self, root, kill_at=None):
        self.root = os.fspath(root)
        self.kill_at = kill_at
        self.n = 0

    def is_change(self, event, args):
        if event == 'open': return isinstance(args[0], (str, bytes)) and args[2] & _writes
        return event in _changes

    def __call__(self, event, args):
        if not self.is_change(event, args) or not os.path.abspath(os.fsdecode(args[0])).startswith(self.root): return
        self.n += 1
        if self.n == self.kill_at: os.kill(os.getpid(), signal.SIGKILL)

def _work(work, countdown, answer):
    try:
        with open(os.devnull, 'w') as nowhere:
            for stream in 1,2: os.dup2(nowhere.fileno(), stream)
        sys.addaudithook(countdown)
        value,error = work(),None
    except AstrovaderError as e: value,error = None,f'{type(e).__name__}: {e}'
    except BaseException: value,error = None,traceback.format_exc()
    answer.write_text(json.dumps(dict(value=value, error=error, changes=countdown.n)))

def start(work, root, kill_at=None):
    "Begin `work()` in a child process: its number, and the file of its answer"
    answer = Path(tempfile.mkstemp(prefix='answer')[1])
    child = os.fork()
    if child: return child,answer
    try: _work(work, Countdown(root, kill_at), answer)
    finally: os._exit(1)

def finish(child, answer):
    "Wait for a child process: its answer, None where it was killed"
    os.waitpid(child, 0)
    text = answer.read_text()
    answer.unlink()
    return json.loads(text) if text else None

def run(work, root, kill_at=None): return finish(*start(work, root, kill_at))

# What a result holds, without times, versions and the names of folders

def table(path): return sha256(read_table(path).to_csv(index=False).encode()).hexdigest()
def survey(path):
    s = Survey(path).verify()
    return [shard['sha256'] for shard in s.meta['shards']], sha256(s.index().to_csv().encode()).hexdigest(), len(s.rejected())

def weights(path): return {name: sha256(value.numpy().tobytes()).hexdigest() for name,value in VaDE.load(path).state_dict().items()}
def trained(path): return weights(path/'model'), pd.read_csv(path/'history.csv').drop(columns='seconds').to_csv(index=False)
def names(path): return sorted(file.relative_to(path).as_posix() for file in path.rglob('*'))
def fetched(path): return {file.name: sha256(file.read_bytes()).hexdigest() for file in path.glob('*.jpg')}, table(path/'catalogue.parquet')
def judged(path): return (path/'realism.csv').read_text(), names(path)
def agreed(path): return table(path/'catalogue.parquet'), table(path/'components.csv'), names(path)
def tuned(path):
    rows = pd.read_csv(path/'trials.csv')
    return rows.loc[rows.state == 'complete', ['lr', 'score']].to_csv(index=False), (path/'best.json').read_text()
def hats(path): return sha256(lsdb.open_catalog(path).compute().to_csv(index=False).encode()).hexdigest()

# A sky service, in a process of its own

class Sky(BaseHTTPRequestHandler):
    "Noise for every position"
    def log_message(self, *_): pass
    def do_GET(self):
        seed = [*self.path.encode()]
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64), dtype=np.uint8)).save(picture := io.BytesIO(), 'jpeg')
        self.send_response(200)
        self.end_headers()
        self.wfile.write(picture.getvalue())

def serve():
    "Start the service: its address, and the number of its process"
    os.environ['no_proxy'] = '127.0.0.1'
    server = ThreadingHTTPServer(('127.0.0.1', 0), Sky)
    child = os.fork()
    if not child:
        server.handle_error = lambda *_: None
        server.serve_forever()
    server.server_close()
    return f'http://127.0.0.1:{server.server_port}/',child

# The commands

here = Path(tempfile.mkdtemp(prefix='crash')).resolve()
networks = dict(encoder_filters=[8], encoder_kernels=[3], decoder_filters=[8], decoder_kernels=[3], convolutions=1)
train_settings = networks | dict(preset='small', n_components=2, n_latent=3, epochs_alpha=1, epochs_anneal=1, epochs_static=1, n_periods=1, batch_size=32)

def make_inputs():
    write_sky(here/'sky', 60, 16)
    (here/'sky/empty.png').touch()
    images,_ = sky(300, 16, seed=1)
    r = np.random.default_rng(0)
    places = pd.DataFrame(dict(object_id=[f'galaxy {i}' for i in range(300)], ra=r.uniform(0, 360, 300), dec=r.uniform(-90, 90, 300)))
    pack_arrays(images, here/'survey', places, shard_rows=100)
    places[:12].to_csv(here/'places.csv', index=False)
    for seed in 0,1:
        torch.manual_seed(seed)
        arch = Architecture(16, encoder_filters=(8, 8), encoder_kernels=(3, 3), decoder_filters=(8, 8), decoder_kernels=(3, 3), n_latent=4, n_components=3)
        VaDE(arch, Survey(here/'survey').packing).save(here/f'run{seed}/model')
    pd.DataFrame(dict(object_id=places.object_id[:40], label=np.where(np.arange(40) % 3, 'disc', 'ring'))).to_csv(here/'labels.csv', index=False)
    (here/'tiny.json').write_text(json.dumps(train_settings))
    with h5py.File(here/'weights.h5', 'w') as file:
        for name,shape in layout(Architecture(16, n_latent=4, n_components=3)).items(): file[name] = r.normal(0, .1, shape)**2 + .1

def fetch(out): cli.astrovader_fetch(here/'places.csv', out, size=64, n_at_once=2, per_second=50, url=os.environ['SKY'])
def pack(out): cli.astrovader_pack(here/'sky', out, size=16, n_workers=0)
def train(out): cli.astrovader_train(here/'survey', out, resume=True, preset=here/'tiny.json')
def calls(function): return lambda *args, **kwargs: lambda out: function(out, *args, **kwargs)
@calls
def catalogue(out, run=0, parts=None): cli.astrovader_catalogue(here/f'run{run}', here/'survey', out, parts=parts)
def with_hats(out): cli.astrovader_catalogue(here/'run0', here/'survey', out.with_name('c.parquet'), hats=out)
@calls
def generate(out, seed=0): cli.astrovader_generate(here/'run0', out, n=300, seed=seed)
@calls
def report(out, run=0): cli.astrovader_report(here/f'run{run}', here/'survey', out)
@calls
def explore(out, run=0): cli.astrovader_explore(here/f'run{run}', here/'survey', out)
@calls
def export(out, run=0): cli.astrovader_export(here/f'run{run}', out)
@calls
def realism(out, seed=0): cli.astrovader_realism(here/'run0', here/'survey', out, n=60, seed=seed)
def consensus(out): cli.astrovader_consensus([here/'run0', here/'run1'], here/'survey', out)
def naming(out): cli.astrovader_name(here/'run0', here/'survey', here/'labels.csv', out)
def tune(out): cli.astrovader_tune(here/'survey', out, 2, here/'tiny.json', space='lr')
def import_keras(out): cli.astrovader_import_keras(here/'weights.h5', out)

# name: (the file or folder that is written, the command, what the result holds, the command whose result it replaces)
commands = {}
commands['fetch'] = 'images', fetch, fetched, None
commands['pack'] = 'survey', pack, survey, None
commands['train'] = 'run', train, trained, None
commands['tune'] = 'search', tune, tuned, None
commands['catalogue, Parquet'] = 'c.parquet', catalogue(), table, None
commands['catalogue, Parquet, replaced'] = 'c.parquet', catalogue(1), table, catalogue()
commands['catalogue, FITS, replaced'] = 'c.fits', catalogue(1), table, catalogue()
commands['catalogue, CSV, replaced'] = 'c.csv', catalogue(1), table, catalogue()
commands['catalogue, parts'] = 'c.parquet', catalogue(parts=50), table, None
commands['catalogue, HATS'] = 'sky', with_hats, hats, None
commands['generate'] = 'g', generate(), survey, None
commands['generate, replaced'] = 'g', generate(1), survey, generate()
commands['realism, replaced'] = 'realism', realism(1), judged, realism()
commands['report, replaced'] = 'report', report(1), names, report()
commands['explore, replaced'] = 'e.html', explore(1), lambda path: sha256(path.read_bytes()).hexdigest(), explore()
commands['export, replaced'] = 'onnx', export(1), names, export()
commands['consensus'] = 'consensus', consensus, agreed, None
commands['name'] = 'named', naming, agreed, None
commands['import-keras'] = 'keras', import_keras, lambda out: weights(out/'model'), None
slow = 'realism, replaced', 'report, replaced', 'explore, replaced', 'export, replaced', 'catalogue, HATS', 'consensus', 'name', 'tune' # seconds each, where others take a fraction

# Experiments

def leftovers(folder): return [file.name for file in folder.rglob('.*')]

def undisturbed(name):
    "The result of a command, and how many changes of files it makes"
    folder = here/'undisturbed'/name
    folder.mkdir(parents=True)
    file,command,contents,former = commands[name]
    if former: run(lambda: former(folder/file), folder)
    made = run(lambda: command(folder/file), folder)
    held = run(lambda: contents(folder/file), folder)
    assert not made['error'] and not held['error'], (name, made, held)
    assert not leftovers(folder), (name, leftovers(folder))
    return held['value'],made['changes']

def fault_of_kill(name, kill_at, expected):
    "Kill a command, repeat it, and say what is wrong with the result; None if it is right"
    folder = here/f'killed/{name}/{kill_at}'
    folder.mkdir(parents=True)
    file,command,contents,former = commands[name]
    out = folder/file
    if former: run(lambda: former(out), folder)
    if run(lambda: command(out), folder, kill_at) is not None: return 'the process was not killed'
    between = run(lambda: contents(out), folder) if out.exists() else dict(error=None)
    if between['error'] and 'Traceback' in between['error']: return f'what the kill left is no sentence: {between["error"]}'
    again = run(lambda: command(out), folder)
    if again['error']: return f'the command cannot be repeated: {again["error"]}'
    held = run(lambda: contents(out), folder)
    if held['error'] or held['value'] != expected: return f'the result differs: {held["error"]}'
    if leftovers(folder): return f'the repeated command leaves {leftovers(folder)}'

def fault_of_pair(name, delay, expected):
    "Start a command twice, stop neither, and say what is wrong; None if one or both finish, and the result is right"
    folder = here/f'pairs/{name}/{delay}'
    folder.mkdir(parents=True)
    file,command,contents,former = commands[name]
    out = folder/file
    if former: run(lambda: former(out), folder)
    one = start(lambda: command(out), folder)
    time.sleep(delay)
    two = start(lambda: command(out), folder)
    errors = [finish(*child)['error'] for child in (one, two)]
    if all(errors): return f'both fail: {errors}'
    if any(error and 'Traceback' in error for error in errors): return f'no sentence: {errors}'
    held = run(lambda: contents(out), folder)
    if held['error'] or held['value'] != expected: return f'the result differs: {held["error"]}, {errors}'
    if leftovers(folder): return f'they leave {leftovers(folder)}'

def test_command(name, every, pairs):
    "All experiments with one command: how many, and a line for each fault"
    expected,n_changes = undisturbed(name)
    stride = every*(4 if name in slow and every > 1 else 1)
    kills = range(1 + n_changes//2 % min(stride, n_changes), n_changes+1, stride)
    faults = {f'{name}, killed at change {i} of {n_changes}': fault_of_kill(name, i, expected) for i in kills}
    delays = [0., .05, .2][:pairs]
    faults |= {f'{name}, two at once, the second after {delay} s': fault_of_pair(name, delay, expected) for delay in delays}
    return len(kills),len(delays),[f'{what}: {fault}' for what,fault in faults.items() if fault]

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--every', type=int, default=1, help='try every n-th change of a file')
    parser.add_argument('--pairs', type=int, default=3, help='pairs of processes for each command, at most 3')
    parser.add_argument('--only', nargs='+', default=list(commands), choices=list(commands), metavar='COMMAND', help='; '.join(commands))
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ['SKY'],service = serve()
    try: return try_all(args)
    finally: os.kill(service, signal.SIGKILL)

def try_all(args):
    "All experiments with the commands that were chosen; are there faults?"
    made = run(make_inputs, here)
    assert not made['error'], made['error']
    n_kills = n_pairs = 0
    faults = []
    for name in args.only:
        kills,pairs,found = test_command(name, args.every, args.pairs)
        n_kills += kills
        n_pairs += pairs
        faults += found
        print(f'{name}: {kills} kills and {pairs} pairs, {len(found)} faults', *found, sep='\n  ', flush=True)
    print(f'{n_kills} kills, {n_pairs} pairs of processes, {len(faults)} faults')
    shutil.rmtree(here, ignore_errors=True)
    return bool(faults)

if __name__ == '__main__': sys.exit(main())
