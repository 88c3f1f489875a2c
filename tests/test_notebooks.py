"Every notebook runs from top to bottom, each in a process of its own."
import subprocess,sys
from pathlib import Path
import pytest

root = Path(__file__).parents[1]
notebooks = sorted(p.relative_to(root).as_posix() for p in root.glob('nbs/**/*.ipynb') if '.ipynb_checkpoints' not in p.parts)

def run_notebook(path, cwd=root):
    "`nbdev-test` on one notebook: its exit status, and what it said"
    cmd = [sys.executable, '-c', 'import sys; from nbdev.test import nbdev_test; nbdev_test(sys.argv[1])', str(path)]
    r = subprocess.run(cmd, cwd=cwd, capture_output=True, text=True, timeout=600)
    return r.returncode, r.stdout+r.stderr

# The paper's notebooks share an example that the first of them makes, so they run one after the other
shared = [pytest.param(o, marks=pytest.mark.xdist_group('paper')) if o.startswith('nbs/paper/') else o for o in notebooks]

@pytest.mark.parametrize('path', shared)
def test_notebook(path):
    code,said = run_notebook(path)
    if code or 'Success.' not in said: pytest.fail(f'{path}\n{said[-6000:]}', pytrace=False)

def test_failing_notebook_fails(tmp_path):
    nb = '{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": null, "source": ["assert 1 == 2"]}],' \
        ' "metadata": {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}'
    (tmp_path/'nbs').mkdir()
    (tmp_path/'pyproject.toml').write_text('[tool.nbdev]\nlib_path = "x"\n')
    (tmp_path/'nbs/bad.ipynb').write_text(nb)
    code,said = run_notebook('nbs/bad.ipynb', tmp_path)
    assert code and 'AssertionError' in said
