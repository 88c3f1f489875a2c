"A few labelled bars guide which components a training finds among bars at every angle."
import contextlib,io,json,shutil
import numpy as np,pandas as pd,pytest,torch
from fastai.callback.core import Callback
from astrovader.analysis.metrics import agreement
from astrovader.cli import astrovader_catalogue,astrovader_train
from astrovader.core import AstrovaderError,BadInput,BadModel
from astrovader.data.classes import read_labels
from astrovader.data.pack import pack_arrays
from astrovader.infer.catalogue import catalogue
from astrovader.model.losses import class_entropy
from astrovader.model.vade import VaDE
from astrovader.tables import read_table
from astrovader.train.distributed import take_shares
from astrovader.train.guide import labelled_batches
from astrovader.train.learner import begin,train,vade_learner
from astrovader.train.phases import get_preset,with_changes
from astrovader.train.seeds import train_seeds

n, n_labelled = 240, 40
small = with_changes(get_preset('small'), encoder_filters=(8, 8), encoder_kernels=(3, 3), decoder_filters=(8, 8), decoder_kernels=(3, 3), n_latent=2, n_components=3,
    batch_size=31, lr=5e-3, lr_end=5e-4, flips=False, epochs_alpha=2, epochs_anneal=1, epochs_static=1, n_periods=1, bf16=False)

def bars(angle, seed=0):
    y, x = np.mgrid[:16,:16] - 7.5
    c, s = (f(np.radians(angle))[:,None,None] for f in (np.cos, np.sin))
    images = 200*np.exp(-(y*c-x*s)**2/4 - (x*c+y*s)**2/40) + np.random.default_rng(seed).normal(10, 5, (len(angle), 16, 16))
    return np.clip(images, 0, 255).astype(np.uint8)

def quietly(f, *args, **kwargs):
    with contextlib.redirect_stdout(io.StringIO()): return f(*args, **kwargs)

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A survey of bars, the first of which are called level or upright."
    d = tmp_path_factory.mktemp('labels')
    angle = np.random.default_rng(1).uniform(0, 180, n)
    kind = np.where(abs(angle-90) < 45, 'upright', 'level')
    table = pd.DataFrame(dict(object_id=[f'bar-{i}' for i in range(n)], seen=np.where(np.arange(n) < n_labelled, kind, ''), kind=kind, colour=np.linspace(0, 1, n)))
    pack_arrays(bars(angle), d/'survey', table)
    table[['object_id', 'seen']].to_csv(d/'seen.csv', index=False)
    return d

@pytest.fixture(scope='module')
def run(place): return quietly(train, place/'survey', place/'run', small, 0, device='cpu', labels='seen') and place/'run'

def test_the_gradient_is_that_of_the_log_of_a_sum():
    r = np.random.default_rng(0)
    log_p, shares, classes = r.normal(size=(7, 5)), r.dirichlet(np.ones(3), 5), r.integers(0, 3, 7)
    def value(log_p):
        gamma = np.exp(log_p)/np.exp(log_p).sum(1, keepdims=True)
        return -sum(np.log(sum(gamma[i,c]*shares[c,y] for c in range(5))) for i,y in enumerate(classes))
    at = torch.tensor(log_p, requires_grad=True)
    total = class_entropy(at.log_softmax(1), torch.tensor(shares), torch.tensor(classes)).sum()
    gradient, = torch.autograd.grad(total, at)
    by_steps = np.array([[(value(log_p+step) - value(log_p-step))/2e-5 for step in 1e-5*np.eye(35).reshape(7, 5, 7, 5)[i]] for i in range(7)])
    assert np.isclose(total.item(), value(log_p)) and np.allclose(gradient, by_steps, atol=1e-7)

def test_unlabelled_galaxies_have_no_influence_on_the_term(place):
    survey = quietly(begin, place/'survey', place/'none', small, labels='seen', device='cpu').dls.train.dataset.survey
    images = survey.images(slice(None))[:,0]
    images[n_labelled:] = 255 - images[n_labelled:]
    changed = pack_arrays(images, place/'changed', survey.index(['object_id', 'seen']))
    def terms(survey):
        learn = quietly(vade_learner, survey, small, device='cpu', labels='seen')
        torch.manual_seed(3)
        learn.model.load_state_dict({name: torch.randn_like(value) for name,value in learn.model.state_dict().items()})
        learn.model.class_counts.abs_()
        found = []
        for x,classes in labelled_batches(learn).of_epoch(2):
            learn.loss_func.labelled = learn.model.encode(x)[0], classes, 1/len(x)
            found.append(learn.loss_func.labels(None, x, None).item())
        return found
    assert terms(survey) == terms(changed) and len(set(terms(survey))) > 1

def test_labels_do_not_change_the_alpha_phase(place, run):
    plain = quietly(train, place/'survey', place/'plain', small, 0, device='cpu').history
    guided = pd.read_csv(run/'history.csv')
    alpha = guided.phase == 'alpha'
    assert np.allclose(guided.train_rec[alpha], plain.train_rec[alpha], rtol=1e-6)
    assert not np.isclose(guided.train_rec[~alpha], plain.train_rec[~alpha], rtol=1e-6).any()
    assert guided.train_labels[alpha].isna().all() and guided.train_labels[~alpha].notna().all() and guided.labels_weight.tolist() == [0, 0, 10, 10]
    assert 'train_labels' not in plain and not VaDE.load(place/'plain/model').classes

class Interrupt(Callback):
    order = 9
    def __init__(self, epoch): self.at = epoch
    def before_batch(self):
        if (self.epoch, self.iter) == (self.at, 2): raise KeyboardInterrupt

@pytest.mark.parametrize('epoch', (1, 2, 3))
def test_a_resumed_run_is_that_without_interruption(place, run, epoch):
    begun = quietly(begin, place/'survey', place/f'stopped-{epoch}', small, labels=place/'seen.csv', device='cpu')
    begun.add_cb(Interrupt(epoch))
    with pytest.raises(KeyboardInterrupt): quietly(begun.fit_phases)
    torch.rand(5)
    resumed = quietly(train, place/'survey', place/f'stopped-{epoch}', resume=True, device='cpu')
    whole = VaDE.load(run/'model')
    assert whole.classes == resumed.model.classes == ('level', 'upright')
    for name,value in whole.state_dict().items(): assert torch.equal(value, resumed.model.state_dict()[name]), name

def test_the_settings_name_the_classes_and_refuse_other_labels(place, run):
    saved = json.loads((run/'run.json').read_text())['labels']
    assert sum(saved['classes'].values()) == n_labelled and saved['sha256'] == read_labels(place/'survey', 'seen').sha256
    assert quietly(begin, place/'survey', run, resume=True, labels=place/'seen.csv', device='cpu').first_epoch == 4
    with pytest.raises(BadModel, match='labels'): quietly(begin, place/'survey', run, resume=True, labels='kind', device='cpu')
    shutil.copytree(run, place/'lost')
    (place/'lost/labels.csv').unlink()
    with pytest.raises(BadModel, match='give the labels again'): quietly(begin, place/'survey', place/'lost', resume=True, device='cpu')
    assert quietly(train, place/'survey', place/'lost', resume=True, labels='seen', device='cpu') and (place/'lost/labels.csv').is_file()

def test_shares_of_processes_add_up(place, run):
    "The gradients of three shares of a mini-batch sum to that of the whole, with labels."
    class FirstGradient(Callback):
        order = 60
        def before_step(self):
            if self.epoch < 2: return
            self.learn.gradient = torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None])
            raise KeyboardInterrupt
    def gradient(rank, world):
        learn = quietly(vade_learner, place/'survey', with_changes(small, label_weight=100., clip=0.), device='cpu', labels='seen')
        learn.add_cb(FirstGradient())
        class Share(Callback):
            order = 1
            def before_epoch(self):
                if self.epoch == 2: take_shares(self.learn, rank, world)
        learn.to_distributed()
        learn.add_cb(Share())
        with pytest.raises(KeyboardInterrupt): quietly(learn.fit_phases)
        return learn.gradient
    whole, parts = gradient(0, 1), [gradient(rank, 3) for rank in range(3)]
    assert (sum(parts) - whole).abs().max() < 1e-4*whole.abs().max() and (3*parts[0] - whole).abs().max() > 1e-3*whole.abs().max()

def test_a_catalogue_has_the_probability_of_each_class(place, run, tmp_path):
    model = VaDE.load(run/'model')
    p = catalogue(run, place/'survey', device='cpu')
    expected = p[['p_0', 'p_1', 'p_2']].to_numpy() @ model.class_shares.numpy()
    assert np.allclose(p[['class_level', 'class_upright']], expected, atol=1e-6) and np.allclose(expected.sum(1), 1, atol=1e-5)
    for suffix in 'parquet', 'fits', 'csv':
        quietly(astrovader_catalogue, run, place/'survey', tmp_path/f'c.{suffix}', posterior=False)
        assert np.allclose(read_table(tmp_path/f'c.{suffix}').class_upright, p.class_upright, atol=1e-5)

def test_labels_raise_the_agreement_of_the_others(place):
    "Three components cut the circle of angles where the classes meet, and one class owns two of them."
    longer = with_changes(small, epochs_alpha=30, epochs_anneal=6, epochs_static=2, batch_size=32)
    kind = read_table(place/'survey/index.parquet').kind.to_numpy()[n_labelled:]
    def trained(**labels):
        learn = vade_learner(place/'survey', longer, device='cpu', **labels).fit_phases()
        return learn.model, catalogue(learn.model, place/'survey', device='cpu')[n_labelled:]
    (_, plain), (model, guided) = quietly(trained), quietly(trained, labels='seen')
    without, found = (agreement(c.component, kind, 'lift') for c in (plain, guided))
    owners = model.class_shares.argmax(1)
    assert sorted(np.bincount(owners)) == [1, 2] and guided.component.nunique() == 3, 'a class owns several components'
    assert found['ami'] > without['ami'] + .1 and ((guided.class_upright > .5) == (kind == 'upright')).mean() > .75

def test_every_seed_has_the_labels(place):
    folders = quietly(train_seeds, place/'survey', place/'seeds', 1, small, labels='seen', device='cpu')
    folders = quietly(train_seeds, place/'survey', place/'seeds', 2, resume=True, device='cpu')
    assert [VaDE.load(folder/'model').classes for folder in folders] == [('level', 'upright')]*2

@pytest.mark.parametrize('labels,words', (('hue', 'neither a column of the table of'), ('colour', 'decimal numbers'), ('object_id', '3 components cannot form 240 classes'), ('missing.csv', 'nor a file'),
    (5, 'give a column of the survey'), (pd.DataFrame(dict(object_id=['a', 'b'], label=['x', 'y'])), 'has a label in'), (pd.DataFrame(dict(object_id=['bar-1'], label=['x'])), 'one class'),
    (pd.DataFrame(dict(object_id=['bar-1', 'bar-2'], label=['', None])), 'no labels'), (pd.DataFrame(dict(object_id=['bar-1', 'bar-1'], label=['x', 'y'])), 'give each galaxy one')))
def test_wrong_labels_are_refused_before_anything_is_written(place, labels, words):
    with pytest.raises(BadInput, match=words) as caught: quietly(train, place/'survey', place/'refused', small, labels=labels, device='cpu')
    assert '\n' not in str(caught.value) and not (place/'refused').exists()

def test_labels_of_no_galaxy_are_counted_and_listed(place, capsys):
    more = pd.concat([pd.read_csv(place/'seen.csv'), pd.DataFrame(dict(object_id=['bar-900', 'bar-901'], seen='level'))])
    labels = read_labels(place/'survey', more)
    assert '2 of 42 labels are of no galaxy of the survey: bar-900, bar-901' in capsys.readouterr().out and len(labels.known) == n_labelled

def test_the_command_takes_a_column_and_a_file(place):
    options = dict(preset='small', n_components=3, n_latent=2, epochs_alpha=1, epochs_anneal=1, epochs_static=0, n_periods=1)
    for name,labels in ('column', 'seen'), ('file', str(place/'seen.csv')):
        learn = quietly(astrovader_train, place/'survey', place/name, labels=labels, **options)
        assert learn.labels.counts == read_labels(place/'survey', 'seen').counts
    with pytest.raises(AstrovaderError, match='label_weight'): quietly(astrovader_train, place/'survey', place/'bad', labels='seen', label_weight=-1., **options)
