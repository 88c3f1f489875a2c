"Every notebook runs from top to bottom, each in a process of its own, and stores outputs of the kinds that its cells give."
import importlib.util,json,multiprocessing,os,tempfile
from pathlib import Path
import pytest,torch
from side_by_side import said_in,server

root = Path(__file__).parents[1]
notebooks = sorted(p.relative_to(root).as_posix() for p in root.glob('nbs/**/*.ipynb') if '.ipynb_checkpoints' not in p.parts)

# torch and oneDNN leave AVX-512, bfloat16 and AMX alone
compiled = os.path.join(tempfile.gettempdir(), f'torchinductor_{os.getuid()}_avx2')
older_processor = dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2', TORCHINDUCTOR_CACHE_DIR=compiled)

def check(path, cwd, env, said):
    "`docs/outputs.py --check` in this process, with what it prints in the file `said`"
    os.chdir(cwd)
    os.environ.update(env)
    said_in(said)
    spec = importlib.util.spec_from_file_location('outputs', root/'docs/outputs.py')
    outputs = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(outputs)
        outputs.refresh(Path(path).absolute(), check=True)
    except SystemExit as e:
        if isinstance(e.code, str): print(e.code, flush=True)
        raise

# torch reads which instructions it may use when it is loaded, so that other ones need another server
fresh = multiprocessing.get_context('spawn')

def run_notebook(path, said, cwd=root, **env):
    "Check one notebook in a process of its own: its exit status, and its messages"
    process = (fresh if env else server).Process(target=check, args=(path, cwd, env, said))
    process.start()
    process.join(900)
    if process.is_alive(): process.kill()
    process.join()
    return process.exitcode, said.read_text(encoding='utf-8')

@pytest.mark.parametrize('path', notebooks)
def test_notebook(path, tmp_path):
    code,messages = run_notebook(path, tmp_path/'said')
    if code or 'Success.' not in messages: pytest.fail(f'{path}\n{messages[-6000:]}', pytrace=False)

depend_on_processor = [o for o in notebooks if o.split('/')[-1].split('_')[0] in ('34', '36', '80')]

@pytest.mark.parametrize('path', depend_on_processor)
def test_notebook_on_an_older_processor(path, tmp_path):
    if torch.backends.cpu.get_cpu_capability() != 'AVX512': pytest.skip('this processor is itself an older one')
    code,messages = run_notebook(path, tmp_path/'said', **older_processor)
    if code or 'Success.' not in messages: pytest.fail(f'{path}\n{messages[-6000:]}', pytrace=False)

def notebook(folder, *sources, outputs=()):
    "A project with one notebook of these code cells, the last of which stores `outputs`"
    cells = [dict(cell_type='code', id=f'{i:08x}', metadata={}, outputs=[], execution_count=None, source=[o]) for i,o in enumerate(sources)]
    cells[-1]['outputs'] = list(outputs)
    (folder/'nbs').mkdir(exist_ok=True)
    (folder/'pyproject.toml').write_text('[tool.nbdev]\nlib_path = "x"\ntst_flags = "slow"\n')
    spec = dict(display_name='python3', language='python', name='python3')
    (folder/'nbs/a.ipynb').write_text(json.dumps(dict(cells=cells, metadata=dict(kernelspec=spec), nbformat=4, nbformat_minor=5)))
    return 'nbs/a.ipynb', folder/'said', folder

printed = dict(output_type='stream', name='stdout', text=['1\n'])

@pytest.mark.parametrize('source, outputs, why', [('assert 1 == 2', [], 'AssertionError'), ('print(1)', [], 'gives text, and nothing is stored'),
    ('x = 1', [printed], 'gives nothing, and text is stored'), ('#| or figure\nx = 1', [printed], 'gives nothing, and text is stored')])
def test_faults_are_seen(tmp_path, source, outputs, why):
    code,messages = run_notebook(*notebook(tmp_path, source, outputs=outputs))
    assert code and why in messages

@pytest.mark.parametrize('source, outputs', [('print(1)', [printed]), ('#| hide\nprint(1)', []), ('#| slow\nprint(1)', [printed]),
    ('#| or nothing\nx = 1', [printed]), ('#| or text\nprint(1)', []), ('print("packing: 1/10")', []), ('import warnings; warnings.warn("a")', [])])
def test_what_is_right_passes(tmp_path, source, outputs):
    code,messages = run_notebook(*notebook(tmp_path, source, outputs=outputs))
    assert code == 0 and 'Success.' in messages
