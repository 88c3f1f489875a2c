"Training never waits for a GPU without need: which values a batch copies to the host, how batches are copied to a GPU, and how much memory reading uses."
import contextlib,subprocess,sys
from types import SimpleNamespace
from unittest import mock
import numpy as np,pytest,torch
from fastai.callback.core import Callback
from torch.utils._python_dispatch import TorchDispatchMode
from astrovader.train.learner import vade_learner
from astrovader.data.loaders import Prefetcher,SurveyRows,prefetch
from astrovader.train.phases import get_preset,with_changes
from astrovader.data.pack import pack_arrays

def noise(n, size=16): return np.random.default_rng(0).integers(0, 256, (n, 1, size, size), np.uint8)

# Values that a batch copies to the host

class HostReads(TorchDispatchMode):
    "Records each operation that would wait for a GPU: numbers, copies to the host, and shapes that depend on values."
    waits = '_local_scalar_dense is_nonzero equal nonzero masked_select _unique2 unique_dim'.split()
    copies = 'cpu numpy tolist'.split()
    def __enter__(self):
        self.seen,self.stack = [],contextlib.ExitStack()
        for o in self.copies: self.stack.enter_context(mock.patch.object(torch.Tensor, o, self.noting(o)))
        return super().__enter__()

    def noting(self, name):
        f = getattr(torch.Tensor, name)
        def noted(t, *args, **kwargs):
            self.seen.append(name)
            return f(t, *args, **kwargs)
        return noted

    def __exit__(self, *args):
        self.stack.close()
        return super().__exit__(*args)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        bools = func.overloadpacket._qualified_op_name == 'aten::index' and any(o is not None and o.dtype == torch.bool for o in args[1])
        if func._schema.name.removeprefix('aten::') in self.waits or bools: self.seen.append(func._schema.name)
        return func(*args, **kwargs or {})

@pytest.mark.parametrize('read', [lambda t: t.item(), float, bool, int, lambda t: t.tolist(), lambda t: t.cpu(), lambda t: t.numpy(), lambda t: t.nonzero(),
    lambda t: t[t > 0], lambda t: t.view(1).unique(), lambda t: f'{t:.3f}', lambda t: torch.equal(t, t), lambda t: 1 if t > 0 else 2])
def test_reads_are_noticed(read):
    with HostReads() as reads: read(torch.tensor(1.))
    assert reads.seen

def test_what_stays_is_not_noticed():
    t = torch.rand(8)
    with HostReads() as reads: torch.lerp(t, t.flip(0), .5).sum().mul(2).sqrt()
    assert reads.seen == []

class Watch(Callback):
    "Records the reads of each training batch; checks for divergence as rarely as on a GPU."
    order = 21
    def __init__(self, reads): self.reads,self.found = reads,{}
    def before_fit(self): self.learn.stop_if_diverged.every = 5
    def before_epoch(self): self.last = None
    def before_batch(self):
        if self.training and self.last is not None: self.found[self.epoch, self.iter-1] = self.reads.seen[self.last:]
        self.last = len(self.reads.seen)

def test_a_batch_reads_nothing_but_the_guard(tmp_path):
    preset = with_changes(get_preset('small'), encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,), n_latent=4,
        n_components=3, batch_size=16, epochs_alpha=1, epochs_anneal=1, epochs_static=1, n_periods=1)
    learn = vade_learner(pack_arrays(noise(200), tmp_path/'s'), preset, tmp_path/'run', device='cpu')
    for dl in learn.dls.loaders: dl.dataset = SurveyRows(dl.dataset.survey, dl.dataset.rows, device='cpu')
    with HostReads() as reads: learn.add_cb(watch := Watch(reads)).fit_phases()
    n = len(learn.dls.train)
    assert n == 11 and sorted(watch.found) == [(e, i) for e in range(3) for i in range(n-1)]
    for (_,i),o in watch.found.items(): assert o == (['tolist'] if i % 5 == 0 else []), (i, o)

# Copies to a GPU, with a mock stream that records calls

@pytest.fixture
def cuda():
    "The calls to torch.cuda, in order."
    log,inside = [],[]
    @contextlib.contextmanager
    def stream(s):
        inside.append(s)
        yield
        inside.pop()
    side = SimpleNamespace(record_event=lambda: log.append(('event', *inside)) or 'copied')
    now = SimpleNamespace(wait_event=lambda e: log.append(('wait', e)))
    def record(t, s): log.append(('in use', s is now))
    with mock.patch('torch.cuda.Stream', lambda device: side), mock.patch('torch.cuda.stream', stream), \
        mock.patch('torch.cuda.current_stream', lambda device: now), mock.patch.object(torch.Tensor, 'record_stream', record):
        yield SimpleNamespace(log=log, inside=inside, side=side)

def test_copies_run_on_their_own_stream_and_the_device_waits_for_them(cuda):
    class Host(torch.Tensor):
        def to(self, device, non_blocking=False):
            cuda.log.append(('copy', non_blocking, *cuda.inside))
            return self
    def batch(idxs, pin): return tuple(torch.as_tensor(o).as_subclass(Host) for o in (idxs*10, idxs)) if pin else pytest.fail('not pinned')
    way = Prefetcher(SimpleNamespace(batch=batch), 'cuda')
    sent = way.send(np.array([3, 1]))
    copy = ('copy', True, cuda.side)
    assert cuda.log == [copy, copy, ('event', cuda.side)] and cuda.inside == []
    x,rows = way.receive(sent)
    assert cuda.log[3:] == [('wait', 'copied'), ('in use', True), ('in use', True)]
    assert (x.tolist(), rows.tolist()) == ([30, 10], [3, 1])

def test_prefetched_batches_are_cancelled_when_the_epoch_ends_early():
    begun = []
    for o in prefetch(lambda i: begun.append(i) or i, range(100), n=4): break
    assert o == 0 and len(begun) <= 6
    with pytest.raises(OSError, match='shard'): list(prefetch(mock.Mock(side_effect=OSError('shard')), range(3)))

# Memory

memory = """
import sys,numpy as np
from pathlib import Path
from astrovader.data.survey import Survey
from astrovader.data.loaders import SurveyLoader,SurveyRows
def anonymous(): return next(int(l.split()[1])/1e3 for l in Path('/proc/self/status').read_text().splitlines() if l.startswith('RssAnon'))
dl = SurveyLoader(SurveyRows(Survey(sys.argv[1])), bs=64, shuffle=True, flips=True)
it = iter(dl)
for _ in range(5): next(it)
before,n = anonymous(),5
for _ in it: n += 1
print(n, round(anonymous()-before, 1))
"""

@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_an_epoch_allocates_no_lasting_memory(tmp_path):
    pack_arrays(noise(4000, 128), tmp_path/'s')
    r = subprocess.run([sys.executable, '-c', memory, tmp_path/'s'], capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stderr
    n,grown = r.stdout.split()
    assert int(n) == 63 and float(grown) < 25, f'{grown} MB more after reading 66 MB'
