"Processes that begin with the libraries loaded: a server imports them once, and each process is forked from it."
import multiprocessing,os,runpy,socket,subprocess,sys
from pathlib import Path

server = multiprocessing.get_context('forkserver')
libraries = ['torch', 'torch._dynamo', 'fastai.basics', 'fastai.callback.all', 'sklearn.mixture', 'seaborn', 'astropy.table', 'astropy.modeling', 'astropy.wcs', 'numba', 'zarr',
    'pyarrow.parquet', 'nbdev.test', 'execnb.shell']
server.set_forkserver_preload(libraries)

def said_in(file):
    "What this process and those that it starts print goes into a file"
    with open(file, 'w') as out:
        for stream in sys.stdout,sys.stderr: os.dup2(out.fileno(), stream.fileno())

def _member(rank, port, env, said, script, args):
    os.environ.clear()
    os.environ.update(env, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', LOCAL_WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    said_in(said)
    sys.argv = [str(script), *map(str, args)]
    runpy.run_path(str(script), run_name='__main__')

def in_two(folder, script, *args, timeout=300):
    "Run a script in two processes that find each other as those of torchrun do; what they print is kept in `folder`"
    if not Path(script).is_file(): script = Path(sys.executable).with_name(script)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    said = [folder/f'said-{rank}' for rank in range(2)]
    pair = [server.Process(target=_member, args=(rank, port, dict(os.environ), said[rank], script, args)) for rank in range(2)]
    for process in pair: process.start()
    for process in pair: process.join(timeout)
    for process in pair: process.kill()
    for process in pair: process.join()
    printed = ''.join(file.read_text(encoding='utf-8') for file in said)
    return subprocess.CompletedProcess(script, max(abs(process.exitcode) for process in pair), printed, printed)
