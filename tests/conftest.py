"What every test stands on: the checkout, no screen, one thread each, and the closing line that `make test` promises."
import os,shutil,signal
from functools import cache
from pathlib import Path
import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MPLBACKEND', 'agg')
# A shell that runs the tests in its background has them ignore Ctrl-C, and so would the commands that the tests start and interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)

@pytest.fixture(scope='session')
def root(): return Path(__file__).parents[1]

def chromium(): return next((path for name in ('chromium', 'chromium-browser', 'google-chrome') if (path := shutil.which(name))), None)

@pytest.fixture(scope='module')
def browser():
    "A real browser for pages, or a skipped test"
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed, which drives the browser of these tests')
    if not chromium(): pytest.skip('there is no chromium here, in which these tests open pages')
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=['--no-sandbox'])
        yield browser
        browser.close()

@cache
def has_shared_work(file): return "scope='module'" in file.read_text(encoding='utf-8')

class SharedWork(LoadScopeScheduling):
    "Tests that share what a fixture of their file makes run in one process; so do the paper's notebooks, with the example that the first of them makes"
    def _split_scope(self, nodeid):
        file = nodeid.split('::')[0]
        if '[nbs/paper/' in nodeid: return 'paper'
        return file if has_shared_work(self.config.rootpath/file) else nodeid
    def _assign_work_unit(self, node):
        "One process begins with the file that compiles the loops of canonical framing, and the next with the paper's notebooks, which need none: the others find them compiled"
        for scope in 'paper','tests/test_framing.py':
            if scope in self.workqueue: self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log): return SharedWork(config, log)

def closing_line(stats, exitstatus):
    "`N passed, N failed`: an error counts as a failure, and so does a run that broke down without one."
    passed = len(stats.get('passed', []))
    failed = len(stats.get('failed', [])) + len(stats.get('error', []))
    if exitstatus not in (0, 5) and not failed: failed = 1
    return f'{passed} passed, {failed} failed'

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    session.config.exitstatus = exitstatus
    return (yield)

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin('terminalreporter')
    if reporter and hasattr(config, 'exitstatus') and not hasattr(config, 'workerinput'):
        reporter.write_line(closing_line(reporter.stats, config.exitstatus))
        reporter.flush()
