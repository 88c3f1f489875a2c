"Every notebook runs from top to bottom, each in a process of its own, and stores outputs of the kinds that its cells give."
import json,os,subprocess,sys
from pathlib import Path
import pytest

root = Path(__file__).parents[1]
notebooks = sorted(p.relative_to(root).as_posix() for p in root.glob('nbs/**/*.ipynb') if '.ipynb_checkpoints' not in p.parts)

# torch and oneDNN leave AVX-512, bfloat16 and AMX alone
older_processor = dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2')

def run_notebook(path, cwd=root, **env):
    "`docs/outputs.py --check` on one notebook: its exit status, and its messages"
    cmd = [sys.executable, root/'docs/outputs.py', '--check', path]
    r = subprocess.run(cmd, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=900)
    return r.returncode, r.stdout+r.stderr

# The paper's notebooks share an example that the first of them makes, so they run one after the other
shared = [pytest.param(o, marks=pytest.mark.xdist_group('paper')) if o.startswith('nbs/paper/') else o for o in notebooks]

@pytest.mark.parametrize('path', shared)
def test_notebook(path):
    code,messages = run_notebook(path)
    if code or 'Success.' not in messages: pytest.fail(f'{path}\n{messages[-6000:]}', pytrace=False)

depend_on_processor = [o for o in notebooks if o.split('/')[-1].split('_')[0] in ('30', '32', '34', '36', '80')]

@pytest.mark.parametrize('path', depend_on_processor)
def test_notebook_on_an_older_processor(path):
    code,messages = run_notebook(path, **older_processor)
    if code or 'Success.' not in messages: pytest.fail(f'{path}\n{messages[-6000:]}', pytrace=False)

def notebook(folder, *sources, outputs=()):
    "A project with one notebook of these code cells, the last of which stores `outputs`"
    cells = [dict(cell_type='code', id=f'{i:08x}', metadata={}, outputs=[], execution_count=None, source=[o]) for i,o in enumerate(sources)]
    cells[-1]['outputs'] = list(outputs)
    (folder/'nbs').mkdir(exist_ok=True)
    (folder/'pyproject.toml').write_text('[tool.nbdev]\nlib_path = "x"\ntst_flags = "slow"\n')
    spec = dict(display_name='python3', language='python', name='python3')
    (folder/'nbs/a.ipynb').write_text(json.dumps(dict(cells=cells, metadata=dict(kernelspec=spec), nbformat=4, nbformat_minor=5)))
    return 'nbs/a.ipynb', folder

printed = dict(output_type='stream', name='stdout', text=['1\n'])

@pytest.mark.parametrize('source, outputs, why', [('assert 1 == 2', [], 'AssertionError'), ('print(1)', [], 'gives text, and nothing is stored'),
    ('x = 1', [printed], 'gives nothing, and text is stored')])
def test_faults_are_seen(tmp_path, source, outputs, why):
    code,messages = run_notebook(*notebook(tmp_path, source, outputs=outputs))
    assert code and why in messages

@pytest.mark.parametrize('source, outputs', [('print(1)', [printed]), ('#| hide\nprint(1)', []), ('#| slow\nprint(1)', [printed]),
    ('print("packing: 1/10")', []), ('import warnings; warnings.warn("a")', [])])
def test_what_is_right_passes(tmp_path, source, outputs):
    code,messages = run_notebook(*notebook(tmp_path, source, outputs=outputs))
    assert code == 0 and 'Success.' in messages
