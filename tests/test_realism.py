"The comparison of drawn with real galaxies: what it finds, what it refuses, and the command."
import json,re
import numpy as np,pandas as pd,pytest,torch
from scipy.ndimage import gaussian_filter
from astrovader import cli
from astrovader.analysis.image_statistics import image_statistics
from astrovader.analysis.realism import memorisation,realism
from astrovader.analysis.two_samples import coverages,distances,mean_distance,separability_by_pixels,separability_by_statistics
from astrovader.core import BadInput,BadModel,BadSurvey
from astrovader.data.pack import pack_arrays
from astrovader.data.survey import Survey
from astrovader.data.synth import galaxies,render,sky,stretch
from astrovader.infer.example import example
from astrovader.infer.verify import verify

@pytest.fixture(scope='module')
def images(): return sky(360, 32, seed=5, companions=0, stars=0)[0]

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder with a small survey and a run"
    d = tmp_path_factory.mktemp('realism')
    example(folder=d/'example', n=260, size=24, epochs=(2, 1, 1))
    return d/'example'

def test_halves_of_a_survey_are_alike_and_blurring_is_seen(images):
    halves = [image_statistics(images[i::2]) for i in (0, 1)]
    alike, found = distances(*halves)
    measured = alike[alike.distance.notna()]
    assert len(measured) == 15 and alike.distance.isna()[alike.statistic == 'colour'].all()
    assert (measured.distance < 3*measured.floor_high).all() and mean_distance(found)['value'] < 1.5*mean_distance(found)['floor']
    blurred = image_statistics(gaussian_filter(images[1::2].astype(float), (0, 0, 1, 1)).astype(np.uint8))
    table, far = distances(halves[0], blurred)
    assert mean_distance(far)['low'] > 2*mean_distance(far)['floor_high']
    assert (table.low > table.floor_high)[table.statistic.isin(['power_4', 'power_5'])].all()
    assert .35 < separability_by_statistics(*halves)['value'] < .65 and separability_by_statistics(halves[0], blurred)['low'] > .9

def test_the_network_tells_noise_from_none_and_halves_from_nothing(images):
    smooth = gaussian_filter(images[180:].astype(float), (0, 0, 1, 1)).astype(np.uint8)
    state = torch.random.get_rng_state()
    alike, blurred = separability_by_pixels(images[:180], images[180:], steps=120), separability_by_pixels(images[:180], smooth, steps=120)
    assert .3 < alike['value'] < .7 and blurred['low'] > .9
    assert torch.equal(state, torch.random.get_rng_state()), 'the random numbers of the user go on as if nothing had been drawn'
    assert blurred == separability_by_pixels(images[:180], smooth, steps=120)

def test_copies_of_training_images_are_found(images):
    train, held_out, new = images[:160], images[160:260], images[260:]
    assert memorisation(train, held_out, train[:90]).share['low'] > .95
    share = memorisation(train, held_out, new).share
    assert share['value'] < .12 and share['low'] < .06
    half = np.concatenate([train[:50], new[:50]])
    assert .4 < memorisation(train, held_out, half).share['value'] < .62

def test_images_without_noise_and_without_galaxies_are_counted():
    truth = galaxies(40, 48, seed=1, companions=0, stars=0, artifacts=0)
    clean = image_statistics(stretch(render(truth, 48, noise=False)))
    assert clean.drop(columns='colour').notna().all(axis=None)
    empty = image_statistics(np.concatenate([stretch(render(truth, 48)), np.zeros((5, 1, 48, 48), np.uint8)]))
    table, _ = distances(clean, empty)
    assert table.set_index('statistic').unmeasured['gini'] == 5 and table.set_index('statistic').unmeasured_real['gini'] == 0

def test_all_of_one_kind_lowers_recall_and_nothing_else():
    r = np.random.default_rng(0)
    real = np.concatenate([r.normal(-4, 1, (300, 2)), r.normal(4, 1, (300, 2))])
    found = coverages(real, r.normal(4, 1, (600, 2)))
    assert abs(found.value['precision']-found.floor['precision']) < .1 and .35 < found.value['recall'] < .6 and .3 < found.value['coverage'] < .6

def test_the_same_seed_gives_the_same(place):
    one, two = (realism(place/'run', place/'survey', 80, 7, network=False) for _ in range(2))
    pd.testing.assert_frame_equal(one.tests, two.tests)
    pd.testing.assert_frame_equal(one.distances, two.distances)
    assert one.verdict == two.verdict and (one.drawn.images == two.drawn.images).all() and 'memorised share' in set(one.tests.test)

def test_only_the_survey_of_the_training_shows_what_is_memorised(place, tmp_path):
    other = pack_arrays(Survey(place/'survey').images(slice(0, 60)), tmp_path/'other')
    other.packing.update(Survey(place/'survey').packing)
    found = realism(place/'run', other, network=False)
    assert found.memorised is None and any('another survey' in sentence for sentence in found.left_out) and found.settings['n'] == 60

def test_the_command_writes_a_page(place, tmp_path, capsys):
    page = cli.astrovader_realism(place/'run', place/'survey', tmp_path/'out', n=100, seed=3)
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    record = json.loads((tmp_path/'out/realism.json').read_text(encoding='utf-8'))
    assert record['n'] == 100 and record['seed'] == 3 and record['network'] and 'torch' in record['versions'] and record['verdict'].endswith('.')
    table, tests = (pd.read_csv(tmp_path/f'out/{name}.csv') for name in ('realism', 'tables/tests'))
    assert {'component', 'statistic', 'distance', 'floor'} <= set(table) and (table.component == 'all').sum() == 16
    assert {'AUC, trees', 'AUC, network', 'precision', 'recall', 'density', 'coverage', 'memorised share', 'mean distance'} <= set(tests.test)
    html = page.read_text(encoding='utf-8')
    figures = {file.stem for file in (tmp_path/'out/figures').iterdir()}
    assert {'blind', 'answers', 'distances', 'statistics', 'power-spectra', 'side-by-side'} <= figures and html.count('<img') == len(figures)
    assert 'http' not in html and '<script' not in html and html.index('>Which are drawn?') < html.index('>The answers')
    assert verify(tmp_path/'out') == 1
    (tmp_path/'out/realism.csv').write_text('changed')
    with pytest.raises(BadInput, match='realism.csv has changed'): verify(tmp_path/'out')

def test_what_is_refused(place, tmp_path):
    few, other = pack_arrays(sky(30, 24)[0], tmp_path/'few'), pack_arrays(sky(50, 16)[0], tmp_path/'other')
    few.packing.update(Survey(place/'survey').packing)
    for survey,error,why in ((few, BadInput, 'too few to be compared'), (other, BadSurvey, '--like'), (tmp_path/'none', BadSurvey, 'does not exist')):
        with pytest.raises(error, match=re.escape(why)): realism(place/'run', survey)
    with pytest.raises(BadModel, match='no trained model'): cli.astrovader_realism(tmp_path/'none', place/'survey', tmp_path/'out')
    with pytest.raises(BadInput, match='ask for 40 or more'): cli.astrovader_realism(place/'run', place/'survey', tmp_path/'out', n=3)
    assert not (tmp_path/'out').exists()
