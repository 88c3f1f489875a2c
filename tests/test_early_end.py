"Phases that end when they have converged: the same in a resumed training, in two processes and in several seeds; and none with a patience of 0."
import io
from contextlib import redirect_stdout
from shutil import copytree
import pandas as pd,pytest
from fastai.callback.core import Callback
from safetensors.torch import load_file
from astrovader.core import BadInput,BadModel,read_json,write_json
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer.verify import verify
from astrovader.train.checkpoint import last_checkpoint
from astrovader.train.learner import begin,train,vade_learner
from astrovader.train.phases import n_epochs,presets,with_changes
from astrovader.train.seeds import train_seeds
from side_by_side import in_two

changes = dict(n_components=3, n_latent=3, batch_size=31, lr=1e-2, valid=.1, epochs_alpha=30, epochs_anneal=2, epochs_static=4, n_periods=1, patience=1)

def quietly(function, *args, **kwargs):
    with redirect_stdout(io.StringIO()) as printed: function(*args, **kwargs)
    return printed.getvalue()

def saved(run): return pd.read_csv(run/'history.csv').drop(columns='seconds'), load_file(run/'model/weights.safetensors')

def assert_equal(one, two):
    (history,weights), (others,other_weights) = saved(one), saved(two)
    pd.testing.assert_frame_equal(history, others)
    for name,tensor in weights.items(): assert tensor.equal(other_weights[name]), name

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A survey of 203 galaxies, and a run on it whose alpha phase ends early"
    path = tmp_path_factory.mktemp('early')
    pack_arrays(sky(203, 16)[0], path/'survey')
    quietly(train, path/'survey', path/'whole', 'small', seed=5, device='cpu', **changes)
    return path

def alpha_epochs(run): return int((saved(run)[0].phase == 'alpha').sum())

class PressCtrlC(Callback):
    def __init__(self, epoch, iter): self.when = epoch, iter
    def before_batch(self):
        if (self.epoch, self.iter) == self.when: raise KeyboardInterrupt

def test_the_history_keeps_the_epochs_of_the_schedule(folder):
    history, _ = saved(folder/'whole')
    n = alpha_epochs(folder/'whole')
    assert 2 <= n < 30
    assert history.epoch.tolist()[:n+2] == [*range(1, n+1), 31, 32]
    assert history.groupby('phase').epoch.first().to_dict() == dict(alpha=1, anneal=31, static=33)
    assert (history.phase == 'anneal').sum() == 2

def test_a_resumed_training_jumps_as_an_uninterrupted_one(folder):
    n = alpha_epochs(folder/'whole')
    for epoch,iter in (n-1, 2), (30, 0), (32, 3):
        run = folder/f'interrupted-{epoch}'
        learn = vade_learner(folder/'survey', 'small', run, seed=5, device='cpu', **changes)
        learn.add_cb(PressCtrlC(epoch, iter))
        with pytest.raises(KeyboardInterrupt): quietly(learn.fit_phases)
        assert begin(folder/'survey', run, resume=True, device='cpu').first_epoch == epoch
        said = quietly(train, folder/'survey', run, resume=True, device='cpu')
        assert f'continuing after epoch {n if epoch == 30 else epoch} of 36' in said
        assert_equal(folder/'whole', run)
        assert quietly(verify, run).count('undamaged') == 1

def test_a_finished_training_is_not_continued(folder):
    learn = begin(folder/'survey', folder/'whole', resume=True, device='cpu')
    assert learn.first_epoch == n_epochs(learn.preset) == 36 > len(learn.rows)
    before = saved(folder/'whole')[0]
    assert '/36' not in quietly(learn.fit_phases)
    pd.testing.assert_frame_equal(saved(folder/'whole')[0], before)

def test_a_history_with_a_missing_epoch_is_damaged(folder, tmp_path):
    copytree(folder/'whole', tmp_path/'run')
    state = last_checkpoint(tmp_path/'run')/'state.json'
    contents = read_json(state)
    del contents['history'][1]
    write_json(state, contents)
    with pytest.raises(BadModel, match='one row for each epoch'): begin(folder/'survey', tmp_path/'run', resume=True, device='cpu')

def test_two_processes_end_a_phase_at_the_same_epoch(folder, tmp_path):
    options = [str(word) for name,value in changes.items() for word in (f'--{name.replace("_", "-")}', value)]
    done = in_two('astrovader-train', folder/'survey', folder/'two', '--preset', 'small', '--seed', 5, *options)
    assert done.returncode == 0, done.stderr
    n = alpha_epochs(folder/'two')
    assert n < 30 and done.stdout.count(f'alpha phase has converged after {n} of at most 30 epochs') == 1
    assert saved(folder/'two')[0].epoch.tolist()[:n+2] == [*range(1, n+1), 31, 32]
    assert begin(folder/'survey', folder/'two', resume=True, device='cpu').first_epoch == 36

def test_seeds_that_ended_early_are_finished(folder):
    runs = train_seeds(folder/'survey', folder/'seeds', 2, 'small', device='cpu', **changes)
    assert max(alpha_epochs(run) for run in runs) < 30
    said = quietly(train_seeds, folder/'survey', folder/'seeds', 2, resume=True, device='cpu')
    assert '2 of 2 seeds are trained already' in said

def test_presets_end_no_phase_early_unless_asked():
    assert {'paper', 'morphology'} <= set(presets) and all(preset.patience == 0 for preset in presets.values())

@pytest.mark.parametrize('bad', [-1, 1.5, '2', True, float('nan')])
def test_a_wrong_patience_is_refused(bad):
    with pytest.raises(BadInput, match='patience is .*whole number of at least 0'): with_changes('small', patience=bad)
