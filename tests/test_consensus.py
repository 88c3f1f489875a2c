"Several runs on a simulated survey in which some classes are real and the others are a continuum that each run cuts elsewhere; and several seeds, stopped and continued."
import os,signal,time
import numpy as np,pandas as pd,pytest
from astrovader.analysis.consensus import consensus,write_consensus
from astrovader.analysis.shares import shares
from astrovader.cli import astrovader_train
from astrovader.core import BadInput,BadModel
from astrovader.data.pack import pack_arrays
from astrovader.data.survey import Survey
from astrovader.infer.catalogue import catalogue
from astrovader.infer.verify import verify
from astrovader.model.inference import to_model
from astrovader.tables import numbered,read_table
from astrovader.train.learner import vade_learner
from side_by_side import Command

def image(kind, angle, r):
    "A small galaxy, a ring, or a bar at an angle, with noise."
    y,x = np.mgrid[:16,:16]-7.5
    along,across = x*np.cos(angle)+y*np.sin(angle),y*np.cos(angle)-x*np.sin(angle)
    radius = np.hypot(x, y)
    flux = [np.exp(-radius**2/4.5), np.exp(-(radius-5)**2/2), np.exp(-across**2/3-along**2/50)][kind]
    return np.clip(200*flux + r.normal(10, 5, flux.shape), 0, 255)

def set_components(mixture, z, group):
    "Let the components be the moments of groups of galaxies."
    groups = [z[group == c] for c in np.random.default_rng(int(group[0])).permutation(np.unique(group))]
    mixture.set_([len(own) for own in groups], [own.mean(0) for own in groups], [own.var(0)+1e-3 for own in groups])

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A survey of two classes and a continuum, and five runs that divide the continuum into three sectors of the latent space, which begin anywhere."
    d = tmp_path_factory.mktemp('consensus')
    r = np.random.default_rng(0)
    kind,angle = r.choice(3, 600, p=[.2, .2, .6]),r.uniform(0, np.pi, 600)
    images = np.stack([image(*galaxy, r) for galaxy in zip(kind, angle)]).astype(np.uint8)
    survey = pack_arrays(images, d/'survey', pd.DataFrame(dict(object_id=np.arange(600).astype(str), kind=np.array(['small', 'ring', 'bar'])[kind])))
    epochs = dict(epochs_alpha=60, epochs_anneal=1, epochs_static=1, n_periods=1)
    model = vade_learner(survey, 'small', device='cpu', n_components=5, n_latent=4, batch_size=64, flips=False, **epochs).fit_phases().model
    model.requires_grad_(False)
    z = model.encode(to_model(survey.images(slice(None)), model))[0].numpy()
    bars = z[kind == 2] - z[kind == 2].mean(0)
    plane = (z - z[kind == 2].mean(0)) @ np.linalg.svd(bars, full_matrices=False)[2][:2].T / np.linalg.svd(bars, compute_uv=False)[:2]
    sector = np.arctan2(*plane.T)/(2*np.pi)*3
    for i,start in enumerate((0, .33, .66, .16, .5)):
        set_components(model.mixture, z, np.where(kind < 2, kind, 2 + ((sector + start) % 3).astype(int)))
        model.save(d/f'runs/seed-{i}/model')
    return d

def test_real_classes_are_stable_and_a_continuum_is_not(place):
    found = consensus(place/'runs', place/'survey')
    kind = read_table(place/'survey/index.parquet').kind
    of_component = kind.groupby(found.catalogue.component).agg(lambda values: values.mode()[0])
    components = found.components.set_index('component').assign(kind=of_component)
    real = components.kind != 'bar'
    assert real.sum() == 2 and set(components.verdict[real]) == {'stable'} and 'stable' not in set(components.verdict[~real])
    assert components.stability[real].min() > components.stability[~real].max() + .1
    agreement = found.catalogue.agreement.groupby(kind).mean()
    assert agreement[['small', 'ring']].min() > .97 and agreement['bar'] < .9
    overlap = components.stability - components.by_chance
    assert (overlap > 0).all() and (overlap > .1)[components.found_in > 2].all(), 'sectors of a ring overlap more than shuffled labels'

def test_consensus_averages_the_catalogues_of_its_runs(place):
    found = consensus(place/'runs', place/'survey')
    cats = [catalogue(place/f'runs/seed-{i}', place/'survey') for i in range(5)]
    numbers = found.matching.numbers
    for kind in 'p', 'q':
        mean = np.zeros((600, found.matching.n_components))
        for cat,number in zip(cats, numbers):
            for own,component in enumerate(number): mean[:,component] += numbered(cat, kind)[:,own]/5*(component >= 0)
        assert np.allclose(numbered(found.catalogue, kind), mean, atol=1e-4)
    own = np.stack([number[cat.component] for cat,number in zip(cats, numbers)])
    assert (numbered(found.catalogue, 'component').T == own).all()
    assert np.allclose(found.catalogue.agreement, (own == found.catalogue.component.to_numpy()).mean(0))
    assert found.components.share.sum() == pytest.approx(1) and shares(found.catalogue).objects.tolist() == found.components.objects.tolist()

def test_the_order_of_the_runs_changes_only_numbers(place):
    runs = [place/f'runs/seed-{i}' for i in range(5)]
    one,two = consensus(runs, place/'survey'),consensus(runs[::-1], place/'survey')
    assert np.allclose(sorted(one.components.stability), sorted(two.components.stability), atol=.05)
    both = pd.crosstab(one.catalogue.component, two.catalogue.component).to_numpy()
    assert both.max(1).sum() > .9*both.sum()

script = '''
import sys
from astrovader import cli
if __name__ == '__main__': sys.exit(getattr(cli, sys.argv.pop(1))())
'''

def start(tmp_path, command, *args):
    (tmp_path/'command.py').write_text(script)
    return Command(tmp_path/'command.py', command, *args)

def test_the_command(place, tmp_path):
    process = start(tmp_path, 'astrovader_consensus', place/'runs/seed-0', place/'runs/seed-1', place/'runs/seed-2', place/'survey', tmp_path/'out')
    said,err = process.communicate(timeout=200)
    assert process.returncode == 0 and 'stable' in said.splitlines()[-1], err
    assert {'catalogue.parquet', 'components.csv', 'matches.csv', 'stability.png', 'consensus.json'} <= {file.name for file in (tmp_path/'out').iterdir()}
    assert verify(tmp_path/'out') == 1 and list(read_table(tmp_path/'out/catalogue.parquet').attrs['runs']) == ['seed-0', 'seed-1', 'seed-2']

def test_a_file_that_was_written_for_another_survey_is_refused(place, tmp_path):
    write_consensus(place/'runs', place/'survey', tmp_path/'out')
    half = pack_arrays(Survey(place/'survey').images(slice(0, 300)), tmp_path/'half')
    with pytest.raises(BadInput, match='begun with another survey'): write_consensus(place/'runs', half, tmp_path/'out')

def last_epoch(tmp_path, seed): return max(int(folder.name[-5:]) for folder in tmp_path.glob(f'runs/seed-{seed}/checkpoint/epoch-*') if os.path.exists(folder/'state.json'))

long = '--preset small --n-components 3 --n-latent 4 --epochs-alpha 200 --epochs-anneal 1 --epochs-static 1 --n-periods 1'.split()

def test_seeds_side_by_side_stop_together_and_continue(place, tmp_path):
    process = start(tmp_path, 'astrovader_train', place/'survey', tmp_path/'runs', '--seeds', 2, '--at-once', 2, *long)
    limit = time.time()+150
    while not all(list(tmp_path.glob(f'runs/seed-{i}/checkpoint/epoch-*/state.json')) for i in (0, 1)) and time.time() < limit: time.sleep(.3)
    process.send_signal(signal.SIGTERM)
    _,err = process.communicate(timeout=60)
    assert process.returncode == 143 and 'resume with the same command and --resume' in err, err
    epochs = [last_epoch(tmp_path, i) for i in (0, 1)]
    time.sleep(3)
    assert [last_epoch(tmp_path, i) for i in (0, 1)] == epochs, 'the processes of the seeds go on'
    with pytest.raises(BadModel, match='continue them with --resume'): astrovader_train(place/'survey', tmp_path/'runs', seeds=2, at_once=2, preset='small', epochs_alpha=200)
    process = start(tmp_path, 'astrovader_train', place/'survey', tmp_path/'runs', '--seeds', 1, '--resume')
    limit = time.time()+100
    while last_epoch(tmp_path, 0) <= epochs[0] and time.time() < limit: time.sleep(.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert last_epoch(tmp_path, 0) > epochs[0]
