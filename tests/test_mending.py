"Components that are merged and seeded anew while a model trains: resumed, and in two processes"
import numpy as np,pandas as pd,pytest,torch
from safetensors.torch import load_file
from astrovader.train import learner
from astrovader.model.diagnostics import bhattacharyya,duplicates,diagnostic_names
from astrovader.model.process_group import launch
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky

changes = dict(n_components=4, n_latent=3, encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,), batch_size=32,
    epochs_alpha=12, epochs_anneal=2, epochs_static=1, n_periods=2, bf16=False, l2=1e-5, lr=1e-2, alpha=1e-6)

script = '''
import sys,torch
from fastai.callback.core import Callback
from astrovader.train import distributed,learner
from test_mending import Spoil,changes
whole = learner.VaDELearner.fit
learner.VaDELearner.fit = lambda self, *args, cbs=(), **kwargs: whole(self, *args, cbs=[*cbs, Spoil()], **kwargs)
distributed.train(*sys.argv[1:3], 'small', device='cpu', resume=len(sys.argv) > 3, **(changes if len(sys.argv) <= 3 else {}))
'''

class Spoil(learner.Callback):
    "Makes the second component the first, and sends the last far off, when the second period is about to begin; before the first, latents are made to matter"
    order = 13
    @torch.no_grad()
    def before_epoch(self):
        if self.epoch == 12: self.model.encoder.z_log_var.bias -= 5
        if self.epoch != 15: return
        m = self.model.mixture
        m.means[1], m.raw_log_vars[1], m.means[3] = m.means[0], m.raw_log_vars[0], 1e3

@pytest.fixture(autouse=True)
def on_processors(monkeypatch, request):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    monkeypatch.setenv('PYTHONPATH', str(request.path.parent))

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(150, 16)[0], tmp_path_factory.mktemp('mending')/'survey')

def spoilt(survey, run, monkeypatch, **kwargs):
    fit = learner.VaDELearner.fit
    with monkeypatch.context() as m:
        m.setattr(learner.VaDELearner, 'fit', lambda self, *args, cbs=(), **kw: fit(self, *args, cbs=[*cbs, Spoil()], **kw))
        return learner.train(survey, run, 'small', device='cpu', **changes | kwargs)

def test_a_spoilt_mixture_is_mended_and_the_history_says_so(survey, tmp_path, monkeypatch, capsys):
    mended = spoilt(survey, tmp_path/'mended', monkeypatch)
    assert 'components mended: 1 merged into 0' in (said := capsys.readouterr().out) and '3 was empty' in said
    h = pd.read_csv(tmp_path/'mended/history.csv')
    assert h.loc[:11, list(diagnostic_names)].isna().all(axis=None) and h.loc[12:, list(diagnostic_names)].notna().all(axis=None)
    assert not duplicates(bhattacharyya(mended.model.mixture)) and (h.empties[15:] == 0).all()
    left = spoilt(survey, tmp_path/'left', monkeypatch, split_merge=0.)
    assert 'mended' not in capsys.readouterr().out and left.history.empties.iloc[-1] >= 1
    assert h.duplicates.iloc[-1] == 0 < left.history.duplicates.iloc[15]

def test_a_stopped_run_mends_in_the_same_way(survey, tmp_path, monkeypatch):
    spoilt(survey, tmp_path/'whole', monkeypatch)
    keep = learner.Checkpoint.after_epoch
    def stop(self):
        keep(self)
        if self.epoch == 14: raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(learner.Checkpoint, 'after_epoch', stop)
        with pytest.raises(KeyboardInterrupt): spoilt(survey, tmp_path/'broken', monkeypatch)
    fit = learner.VaDELearner.fit
    monkeypatch.setattr(learner.VaDELearner, 'fit', lambda self, *args, cbs=(), **kw: fit(self, *args, cbs=[*cbs, Spoil()], **kw))
    learner.train(survey, tmp_path/'broken', resume=True, device='cpu')
    a,b = (pd.read_csv(tmp_path/o/'history.csv').drop(columns='seconds') for o in ('whole', 'broken'))
    pd.testing.assert_frame_equal(a, b)
    a,b = (load_file(tmp_path/o/'model/weights.safetensors') for o in ('whole', 'broken'))
    assert all(torch.equal(v, b[k]) for k,v in a.items())

def test_two_processes_mend_what_one_mends(survey, tmp_path, monkeypatch):
    spoilt(survey, tmp_path/'one', monkeypatch)
    (tmp_path/'two.py').write_text(script)
    p = launch(2, tmp_path/'two.py', survey.path, tmp_path/'two', timeout=120)
    assert p.returncode == 0 and p.stdout.count('components mended: 1 merged into 0') == 1, p.stderr
    a,b = (load_file(tmp_path/o/'model/weights.safetensors') for o in ('one', 'two'))
    assert max((v - b[k]).abs().max().item() for k,v in a.items()) < 1e-3
    a,b = (pd.read_csv(tmp_path/o/'history.csv')[['valid_loss', *diagnostic_names]] for o in ('one', 'two'))
    np.testing.assert_allclose(a, b, rtol=1e-2, atol=.08)
