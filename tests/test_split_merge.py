"Split and merge while a model trains: recorded in the history, repeated by a resumed run, and shared by two processes"
import numpy as np,pandas as pd,pytest,torch
from safetensors.torch import load_file
from astrovader.train import learner
from astrovader.model.diagnostics import bhattacharyya,duplicates,diagnostic_names
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from side_by_side import in_two

changes = dict(n_components=4, n_latent=3, encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,), batch_size=32,
    epochs_alpha=12, epochs_anneal=2, epochs_static=1, n_periods=2, bf16=False, l2=1e-5, lr=1e-2, alpha=1e-6)

script = '''
import sys
from astrovader.train import distributed
from test_split_merge import DamageMixture,changes,with_callbacks
with_callbacks(DamageMixture)
distributed.train(*sys.argv[1:3], 'small', device='cpu', **changes)
'''

class DamageMixture(learner.Callback):
    "Makes the latents informative before the first period; before the second it copies component 0 to 1 and moves component 3 away from all galaxies"
    order = 13
    @torch.no_grad()
    def before_epoch(self):
        if self.epoch == 12: self.model.encoder.z_log_var.bias -= 5
        if self.epoch != 15: return
        mixture = self.model.mixture
        mixture.means[1] = mixture.means[0]
        mixture.raw_log_vars[1] = mixture.raw_log_vars[0]
        mixture.means[3] = 1e3

class StopAfterAlpha(learner.Callback):
    "Ctrl-C when the checkpoint before the second period has been written"
    order = 81
    def after_epoch(self):
        if self.epoch == 14: raise KeyboardInterrupt

def with_callbacks(*callbacks, setattr=setattr):
    "Let every learner train with more callbacks"
    of_phases = learner.phase_callbacks
    setattr(learner, 'phase_callbacks', lambda learn: of_phases(learn) + list(callbacks))

@pytest.fixture(autouse=True)
def without_gpus(monkeypatch): monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(150, 16)[0], tmp_path_factory.mktemp('split_merge')/'survey')

@pytest.fixture(scope='module')
def damaged(survey, tmp_path_factory):
    "The run of a mixture that is damaged and repaired, and its learner"
    run = tmp_path_factory.mktemp('damaged')/'run'
    return run, train(survey, run, DamageMixture)

def train(survey, run, *callbacks, **kwargs):
    with pytest.MonkeyPatch.context() as patch:
        with_callbacks(*callbacks, setattr=patch.setattr)
        return learner.train(survey, run, **dict(preset='small', device='cpu') | kwargs, **{} if kwargs.get('resume') else changes)

def weights_of(run): return load_file(run/'model/weights.safetensors')
def history_of(run): return pd.read_csv(run/'history.csv').drop(columns='seconds')

def test_a_damaged_mixture_is_repaired_and_the_history_records_it(damaged):
    run,learn = damaged
    history = history_of(run)
    assert history.loc[:11, list(diagnostic_names)].isna().all(axis=None) and history.loc[12:, list(diagnostic_names)].notna().all(axis=None)
    assert not duplicates(bhattacharyya(learn.model.mixture)) and (history.empties[15:] == 0).all() and history.duplicates.iloc[-1] == 0

def test_without_split_and_merge_the_damage_remains(survey, tmp_path, capsys):
    left = train(survey, tmp_path/'left', DamageMixture, split_merge=0.)
    assert 'split and merge' not in capsys.readouterr().out
    assert left.history.empties.iloc[-1] >= 1 and left.history.duplicates.iloc[15] > 0

def test_a_resumed_run_repairs_in_the_same_way(survey, damaged, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt): train(survey, tmp_path/'run', DamageMixture, StopAfterAlpha)
    train(survey, tmp_path/'run', DamageMixture, preset=None, resume=True)
    printed = capsys.readouterr().out
    assert 'split and merge: component 1 merged into 0' in printed and 'component 3 was empty' in printed
    run,_ = damaged
    pd.testing.assert_frame_equal(history_of(run), history_of(tmp_path/'run'))
    resumed = weights_of(tmp_path/'run')
    assert all(torch.equal(tensor, resumed[name]) for name,tensor in weights_of(run).items())

def test_two_processes_repair_what_one_repairs(survey, damaged, tmp_path):
    (tmp_path/'two.py').write_text(script)
    done = in_two(tmp_path/'two.py', survey.path, tmp_path/'two')
    assert done.returncode == 0 and done.stdout.count('split and merge: component 1 merged into 0') == 1, done.stderr
    run,_ = damaged
    two = weights_of(tmp_path/'two')
    assert max((tensor - two[name]).abs().max().item() for name,tensor in weights_of(run).items()) < 1e-3
    columns = ['valid_loss', *diagnostic_names]
    np.testing.assert_allclose(history_of(run)[columns], history_of(tmp_path/'two')[columns], rtol=1e-2, atol=.08)
