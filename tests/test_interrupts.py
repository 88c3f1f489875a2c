"Ctrl-C at any moment of a write leaves the former file or the new one, and nothing beside it."
import linecache,os,signal,sys
import pytest
from astrovader import core

class Interrupt:
    "Ctrl-C at the n-th line that runs in `core`; lines of the clean-up, which a second Ctrl-C would have to hit, do not count"
    def __init__(self, n):
        self.n = n
        self.cleaning = False
    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != core.__file__: return None
        if '_recover(' in linecache.getline(core.__file__, frame.f_lineno): self.cleaning = True
        if event == 'line' and not self.cleaning and self.n >= 0:
            if self.n == 0: os.kill(os.getpid(), signal.SIGINT)
            self.n -= 1
        return self

def write(path, folder):
    with core.atomic_path(path, folder=folder) as new: (new/'part' if folder else new).write_text('new')

def write_interrupted(path, folder, n):
    "Was the write interrupted?"
    former = sys.gettrace()
    sys.settrace(Interrupt(n))
    try: write(path, folder)
    except KeyboardInterrupt: return True
    finally: sys.settrace(former)
    return False

@pytest.mark.parametrize('folder', [False, True])
def test_ctrl_c_at_any_line_of_a_write_leaves_nothing(folder, tmp_path):
    path = tmp_path/'result'
    contents = path/'part' if folder else path
    found = []
    for n in range(500):
        write(path, folder)
        contents.write_text('former')
        interrupted = write_interrupted(path, folder, n)
        found.append(contents.read_text())
        assert found[-1] in ('former', 'new') and os.listdir(tmp_path) == ['result'], n
        if not interrupted: break
    assert not interrupted and len(found) > 25 and set(found) == {'former', 'new'}
