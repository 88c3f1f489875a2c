"The detail phase as part of a training: it leaves all else alone, resumes exactly, is shared by processes, and makes draws more real."
import json,shutil
import matplotlib.pyplot as plt,numpy as np,pandas as pd,pytest,torch
from fastai.callback.core import Callback
from astrovader.analysis.image_statistics import image_statistics
from astrovader.analysis.two_samples import distances,mean_distance
from astrovader.core import BadInput,BadModel
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.analysis.summary import history_cautions,read_history
from astrovader.infer.generate import generate,write_generated
from astrovader.model.vade import VaDE
from astrovader.show.statistics_plots import plot_diagnostics,plot_history
from astrovader.train.checkpoint import Run
from astrovader.train.learner import begin,learning_rate,train,vade_learner
from astrovader.train.phases import plan,with_changes
from side_by_side import in_two
from trainings import KeepStates,StopAfter,same

small = dict(encoder_filters=(8, 16), encoder_kernels=(3, 3), decoder_filters=(8, 8), decoder_kernels=(3, 3), n_latent=4, n_components=3,
    reconstruction='pyramid', n_scales=3, epochs_alpha=6, epochs_anneal=1, epochs_static=1, n_periods=1, epochs_detail=4, detail_filters=(16, 32),
    batch_size=31, batch_detail=31, lr=3e-3, lr_detail=3e-3, valid=.1, alpha=.1, mixture_weight=1., bf16=False)

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(403, 32)[0], tmp_path_factory.mktemp('detail')/'survey')

class KeepSteps(Callback):
    "The weights of one layer of the detail model after each step, and the learning rate of it"
    order = 99
    def __init__(self): self.steps,self.rates = [],[]
    def after_step(self):
        if self.model.task == 'detail':
            self.steps.append(self.model.detail.network.end[2].weight.detach().clone())
            self.rates.append(self.opt.hypers[-1]['lr'])

@pytest.fixture(scope='module')
def learn(survey):
    "A training that all tests look at"
    return begin(survey, survey.path.parent/'run', 'small', device='cpu', **small).add_cbs([KeepStates, KeepSteps]).fit_phases()

@pytest.fixture(scope='module')
def run(learn): return learn.folder

def test_the_phase_is_the_last_and_has_its_own_term(run):
    h = pd.read_csv(run/'history.csv').set_index('phase')
    assert h.index.unique().tolist() == ['alpha', 'anneal', 'static', 'detail'] and (h.loc['detail'].epoch == [9, 10, 11, 12]).all()
    assert h.loc['detail'].train_rec.isna().all() and h.drop('detail').train_flow.isna().all()
    flow = h.loc['detail'].train_flow # of 363 galaxies; the 40 of the validation have random times and noise, too
    assert flow.iloc[-1] < .97*flow.iloc[0]

def test_nothing_else_changes_in_it(survey, learn, run):
    states = learn.keep_states.states
    changed = {name for name,value in states[-1].items() if not torch.equal(states[7][name], value)}
    assert changed and all(name.startswith('detail.') for name in changed)
    plain = train(survey, survey.path.parent/'plain', 'small', device='cpu', **small | dict(epochs_detail=0, detail_filters=()))
    weights, names = VaDE.load(run/'model').state_dict(), plain.model.state_dict()
    assert not any(name.startswith('detail') for name in names)
    assert all((weights[name] - value).abs().max() < 1e-3*max(1, value.abs().max()) for name,value in names.items())

@pytest.mark.parametrize('n', [8, 10])
def test_it_resumes_exactly(survey, run, tmp_path, n):
    learn = begin(survey, tmp_path/'run', 'small', device='cpu', **small).add_cb(StopAfter(n))
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    assert learn.model.task == 'images'
    assert same(train(survey, tmp_path/'run', resume=True, device='cpu').model, VaDE.load(run/'model'))

def average_of(states):
    average = states[0]
    for step,weights in enumerate(states[1:], 2): average = average + 8/(step + 7)*(weights - average)
    return average

def test_the_model_has_the_averaged_weights(learn):
    model,states = learn.model,learn.keep_steps.steps
    average = average_of(states)
    assert (average - model.detail.network.end[2].weight).abs().max() < 1e-6 < (average - states[-1]).abs().max()

def test_two_processes_train_as_one(survey, run, tmp_path):
    (tmp_path/'script.py').write_text('import json,sys\nfrom astrovader.train.distributed import train\n'
        'train(sys.argv[1], sys.argv[2], "small", device="cpu", **json.loads(sys.argv[3]))\n')
    done = in_two(tmp_path/'script.py', survey.path, tmp_path/'two', json.dumps(small))
    assert done.returncode == 0, done.stderr
    one, two = (pd.read_csv(folder/'history.csv').set_index('phase').loc['detail'][['train_flow', 'valid_flow']] for folder in (run, tmp_path/'two'))
    differences = (one - two).abs()
    assert differences.iloc[0].max() < 5e-3 and differences.max(axis=None) < .05, differences

def test_draws_are_more_real_than_decoded_means(survey, tmp_path):
    run = train(survey, tmp_path/'run', 'small', device='cpu', **small | dict(epochs_detail=12, batch_detail=16)).folder
    real = image_statistics(survey.images(slice(None)))
    def distance(detail): return mean_distance(distances(real, image_statistics(generate(run, 403, detail=detail, device='cpu')[0]), repeats=5)[1])
    drawn, decoded = distance('model')['value'], distance('none')['value']
    assert drawn < .75*decoded, (drawn, decoded)

def test_a_galaxy_looks_the_same_in_any_batch_and_process(run, tmp_path, monkeypatch):
    images, table = generate(run, 20, seed=3, device='cpu')
    assert np.abs(generate(run, 20, seed=3, batch=7, device='cpu')[0].astype(int) - images).max() <= 1
    for rank in '10':
        monkeypatch.setenv('RANK', rank), monkeypatch.setenv('WORLD_SIZE', '2')
        made = write_generated(run, tmp_path/'made', 20, seed=3, shard_rows=6, device='cpu')
    assert np.abs(made.images(slice(None)).astype(int) - images).max() <= 1 and made.index().component.equals(table.component)

def test_the_request_has_the_appearance(run, tmp_path, monkeypatch):
    made = {look: write_generated(run, tmp_path/str(look), 8, noise=look, device='cpu') for look in ('survey', 'none', .1)}
    assert [survey.meta['asked'].get('noise', 'usual') for survey in made.values()] == ['usual', 'none', .1]
    corner = [survey.images(slice(None))[:,0,:4,:4].std((1, 2)).mean() for survey in made.values()]
    assert corner[1] < .5*corner[0] and corner[2] > corner[1] + 10
    again = write_generated(run, tmp_path/'none', 8, detail='none', device='cpu')
    assert again.meta['asked']['detail'] == 'none' and not np.array_equal(again.images(slice(None)), made['none'].images(slice(None)))

def test_a_model_of_an_earlier_version_draws_what_it_drew(survey, tmp_path):
    model = vade_learner(survey, 'small', device='cpu', **small | dict(epochs_detail=0, detail_filters=())).model.eval()
    images, _ = generate(model, 10, device='cpu')
    assert np.array_equal(images, generate(model, 10, detail='none', noise='none', device='cpu')[0])

def test_presets():
    with_detail = with_changes('small', epochs_detail=3)
    assert with_detail.arch.detail_filters == (32, 64, 128) and with_changes(with_detail, epochs_detail=0).arch.detail_filters == ()
    assert plan(with_detail)[-1].name == 'detail' and plan(with_changes(with_detail, schedule='published'))[-1].epochs == 3
    wrong_filters = [dict(epochs_detail=2, detail_filters=filters) for filters in ((), (12,), (8,)*7)]
    for wrong in dict(detail_filters=(8, 16)), *wrong_filters:
        with pytest.raises(BadInput, match='detail'): with_changes('small', **wrong)
    rate = learning_rate(with_detail)
    last = with_detail.epochs_detail/sum(phase.epochs for phase in plan(with_detail))
    assert rate(1-last+.05*last) == pytest.approx(with_detail.lr_detail) and rate(1-last-1e-5) == pytest.approx(with_detail.lr_end, rel=1e-2)

def test_a_finished_run_gains_detail_later(survey, run, tmp_path):
    plain = small | dict(epochs_detail=0, detail_filters=())
    before = train(survey, tmp_path/'run', 'small', device='cpu', **plain).model.state_dict()
    for wrong in dict(epochs_detail=2, n_latent=5), dict(n_latent=5), dict(epochs_detail=2, seed=3):
        with pytest.raises(BadModel, match='keeps its settings'): train(survey, tmp_path/'run', resume=True, device='cpu', **wrong)
    learn = train(survey, tmp_path/'run', resume=True, device='cpu', epochs_detail=4, detail_filters=(16, 32))
    after = learn.model.state_dict()
    assert set(after) == set(VaDE.load(run/'model').state_dict()) and all(torch.equal(value, after[name]) for name,value in before.items())
    assert learn.history.phase.tolist()[-5:] == ['static', *4*['detail']] and learn.history.train_flow.iloc[-1] < learn.history.train_flow.iloc[-4]
    again = train(survey, tmp_path/'run', resume=True, device='cpu')
    assert same(again.model, learn.model)

@pytest.fixture(scope='module')
def short(survey):
    "A run with two epochs of detail"
    return begin(survey, survey.path.parent/'short', 'small', device='cpu', **small | dict(epochs_detail=2)).add_cb(KeepSteps).fit_phases()

def longer(survey, short, run, *cbs):
    "A copy of the run with four epochs of detail"
    shutil.copytree(short.folder, run)
    return begin(survey, run, resume=True, device='cpu', epochs_detail=4).add_cbs(cbs)

def test_a_detail_phase_becomes_longer(survey, learn, short, tmp_path):
    before, steps = VaDE.load(short.folder/'model').state_dict(), short.keep_steps.steps
    more = longer(survey, short, tmp_path/'run', KeepSteps).fit_phases()
    after = VaDE.load(tmp_path/'run/model').state_dict()
    changed = {name for name,value in before.items() if not torch.equal(value, after[name])}
    assert changed and all(name.startswith('detail.') for name in changed) and same(more.model, VaDE.load(tmp_path/'run/model'))
    h = pd.read_csv(tmp_path/'run/history.csv')
    assert h.epoch.tolist() == [*range(1, 13)] and h.phase.tolist()[-5:] == ['static', *4*['detail']]
    pd.testing.assert_frame_equal(h[:10], pd.read_csv(short.folder/'history.csv'))
    both = steps + more.keep_steps.steps # optimiser and average go on where they were
    assert len(both) == 2*len(steps) == len(learn.keep_steps.steps)
    assert (average_of(both) - after['detail.network.end.2.weight']).abs().max() < 1e-6
    assert more.keep_steps.rates == pytest.approx(learn.keep_steps.rates[len(steps):]) and more.keep_steps.rates[0] > 10*short.keep_steps.rates[-1]
    assert Run(tmp_path/'run').preset.epochs_detail == 4 and same(train(survey, tmp_path/'run', resume=True, device='cpu').model, more.model)
    whole = VaDE.load(learn.folder/'model').state_dict() # rounding of the learning rate alone tells it from four epochs from the start
    assert all((after[name] - value).abs().max() < 1e-3*max(1, value.abs().max()) for name,value in whole.items() if not name.startswith('detail.'))

def test_a_longer_detail_phase_resumes_exactly(survey, short, tmp_path):
    with pytest.raises(KeyboardInterrupt): longer(survey, short, tmp_path/'run', StopAfter(11)).fit_phases()
    resumed = train(survey, tmp_path/'run', resume=True, device='cpu')
    assert len(resumed.history) == 12 and same(resumed.model, longer(survey, short, tmp_path/'other').fit_phases().model)

def test_a_detail_phase_becomes_longer_before_its_end(survey, tmp_path):
    learn = begin(survey, tmp_path/'run', 'small', device='cpu', **small | dict(epochs_detail=2)).add_cb(StopAfter(9))
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    assert train(survey, tmp_path/'run', resume=True, device='cpu', epochs_detail=3).history.phase.tolist()[-4:] == ['static', *3*['detail']]

def test_a_detail_phase_becomes_no_shorter(survey, short):
    for epochs in 0,1:
        with pytest.raises(BadModel, match='has a detail phase of 2 epochs, which can become longer, not shorter'):
            train(survey, short.folder, resume=True, device='cpu', epochs_detail=epochs)
    for wrong in dict(n_latent=5), dict(lr_detail=1e-3), dict(detail_filters=(16, 16)), dict(seed=3):
        with pytest.raises(BadModel, match='keeps its settings'): train(survey, short.folder, resume=True, device='cpu', epochs_detail=4, **wrong)
    assert Run(short.folder).preset.epochs_detail == 2

def test_its_history_is_shown(run):
    history = read_history(run)
    assert 'flow of the detail' in [ax.get_title('left') for ax in plot_history(history).axes] and not plot_diagnostics(history) is None
    assert history_cautions(history) == history_cautions(history[history.train_rec.notna()].reset_index(drop=True))
    plt.close('all')
