"A sample of the crash points of the commands, in a process of its own; `make crash` tries all of them."
from pathlib import Path
import pytest
from side_by_side import run

sample = 'fetch', 'pack', 'train', 'catalogue, CSV, replaced', 'catalogue, parts', 'generate, replaced'

def test_a_killed_command_is_repeated_and_two_at_once_do_no_harm():
    script = Path(__file__).with_name('crash.py')
    r = run(script, '--every', 15, '--pairs', 1, '--only', *sample, timeout=600)
    if r.returncode: pytest.fail(r.stdout + r.stderr, pytrace=False)
    assert r.stdout.endswith(' 0 faults\n') and int(r.stdout.splitlines()[-1].split()[0]) >= 10
