"Processes that begin with the libraries loaded: a server imports them once, and each process is forked from it."
import atexit,multiprocessing,os,runpy,signal,socket,subprocess,sys,tempfile,time
from multiprocessing.connection import wait
from pathlib import Path

server = multiprocessing.get_context('forkserver')
libraries = ['torch', 'torch._dynamo', 'fastai.basics', 'fastai.callback.all', 'sklearn.mixture', 'seaborn', 'astropy.table', 'astropy.modeling', 'astropy.wcs', 'numba', 'zarr',
    'pyarrow.parquet', 'nbdev.test', 'execnb.shell']
server.set_forkserver_preload(libraries)

def said_in(out, err=None):
    "What this process and those that it starts print goes into a file, or into two"
    for stream,file in (sys.stdout, out),(sys.stderr, err or out):
        with open(file, 'a') as to: os.dup2(to.fileno(), stream.fileno())

def _begin(argv, cwd, env, said, session):
    if session: os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    said_in(*said)
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv = argv
    runpy.run_path(argv[0], run_name='__main__')

class Command:
    "A script, or a command of this package, in a process of its own, with those methods of `Popen` that tests need"
    def __init__(self, script, *args, cwd='.', env=(), start_new_session=False):
        if not Path(cwd, script).is_file(): script = Path(sys.executable).with_name(script)
        self.folder = tempfile.TemporaryDirectory()
        self.said = [Path(self.folder.name)/name for name in ('out', 'err')]
        for file in self.said: file.touch()
        argv = list(map(str, (script, *args)))
        self.process = server.Process(target=_begin, args=(argv, cwd, {**os.environ, **dict(env)}, self.said, start_new_session))
        self.process.start()
        atexit.register(self.kill)
    @property
    def pid(self): return self.process.pid
    def poll(self): return self.process.exitcode
    @property
    def returncode(self): return self.poll()
    def send_signal(self, number):
        if self.poll() is None: os.kill(self.process.pid, number)
    def kill(self): self.send_signal(signal.SIGKILL)
    def until(self, text):
        "Wait until the process has printed `text`, or has ended"
        while self.poll() is None and text not in self.said[0].read_text(encoding='utf-8'): time.sleep(.002)
    def communicate(self, timeout=120):
        self.process.join(timeout)
        if self.poll() is not None: return tuple(file.read_text(encoding='utf-8') for file in self.said)
        self.kill()
        raise subprocess.TimeoutExpired('a command', timeout)

def run(*args, timeout=120, **kwargs):
    "What `subprocess.run` gives, of a `Command`"
    out,err = (command := Command(*args, **kwargs)).communicate(timeout)
    return subprocess.CompletedProcess(args, command.returncode, out, err)

def in_two(*args, timeout=300):
    "A script in two processes that find each other as those of torchrun do; one that fails ends the other"
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        group = dict(WORLD_SIZE='2', LOCAL_WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free.getsockname()[1]))
    pair = [Command(*args, env=group | dict(RANK=str(rank), LOCAL_RANK=str(rank))) for rank in range(2)]
    wait([command.process.sentinel for command in pair], timeout)
    if any(command.poll() for command in pair):
        time.sleep(.1) # how often torchrun looks
        for command in pair: command.send_signal(signal.SIGTERM)
    try: printed = [command.communicate(timeout) for command in pair]
    finally:
        for command in pair: command.kill()
    return subprocess.CompletedProcess(args, max(abs(command.returncode) for command in pair), *map(''.join, zip(*printed)))
