"Every benchmark says what it does, and those that need a GPU or minutes for their figures run from end to end at toy sizes."
import io,json,runpy,sys
from pathlib import Path
from zipfile import ZipFile
import numpy as np,pytest
from PIL import Image
from astrovader.data.synth import sky,votes
from astrovader.hardware import has_bf16

folder = Path(__file__).parents[1]/'benchmarks'
scripts = sorted(o.name for o in folder.glob('*.py') if o.name not in ('common.py', 'keras_baseline.py'))

@pytest.fixture
def run(monkeypatch, capsys):
    "Run a benchmark as a script, in this process, and return what it printed."
    monkeypatch.syspath_prepend(str(folder))
    def run(name, *args):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        runpy.run_path(str(folder/name), run_name='__main__')
        return capsys.readouterr().out
    return run

@pytest.mark.parametrize('name', scripts)
def test_help(name, run, capsys):
    with pytest.raises(SystemExit) as e: run(name, '--help')
    out = capsys.readouterr().out
    assert e.value.code == 0 and 'usage:' in out and '--json' in out

def result(path, name):
    "What a benchmark wrote, with what every one of them says of its machine."
    out = json.loads(path.read_text(encoding='utf-8'))
    assert out['benchmark'] == name and {'settings', 'rows', 'device', 'cores', 'threads', 'commit', 'versions'} <= set(out)
    return out

def test_loading_from_end_to_end(run, tmp_path):
    text = run('loading.py', '--device', 'cpu', '--n', 300, '--n-files', 60, '--sizes', 16, '--presets', 'small', '--bs', 20, '--rounds', 2, '--steps', 1,
        '--workers', 0, '--json', tmp_path/'o.json')
    rows = {o['way']: o for o in result(tmp_path/'o.json', 'loading')['rows']}
    assert len(rows) == 5 and all(k in text for k in rows)
    assert all(0 < o['slowest'] <= o['images_per_s'] <= o['fastest'] for o in rows.values())
    assert all(o['percent_of_step'] == pytest.approx(100*o['step_images_per_s']/o['images_per_s']) for o in rows.values())

@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='this system does not tell the memory of a process')
def test_sources_from_end_to_end(run, tmp_path):
    text = run('sources.py', '--n', 20, '--size', 24, '--rows', 300, '--repeats', 1, '--json', tmp_path/'o.json')
    out = json.loads((tmp_path/'o.json').read_text(encoding='utf-8'))
    assert len(out['sources']) == 9 and all(name in text and found['images_per_s'] > 0 for name,found in out['sources'].items())
    assert out['sources']['JPEG files']['times_jpeg_files'] == 1 and out['parquet']['rows'] == 300

def test_drawing_from_end_to_end(run, tmp_path):
    text = run('drawing.py', '--n', 20, 40, '--ways', 'packed survey', 'in memory', '--json', tmp_path/'o.json')
    rows = result(tmp_path/'o.json', 'drawing')['rows']
    assert [(o['way'], o['n']) for o in rows] == [(way, n) for n in (20, 40) for way in ('packed survey', 'in memory')]
    assert all(o['peak_mb'] > 50 and o['per_s'] == pytest.approx(o['n']/o['seconds']) for o in rows) and 'MB from 20 to 40 galaxies' in text

def test_framing_from_end_to_end(run, tmp_path):
    text = run('framing.py', '--n', 12, '--image', 48, '--size', 24, '--rounds', 2, '--json', tmp_path/'o.json')
    out = json.loads((tmp_path/'o.json').read_text(encoding='utf-8'))
    rows = {o['what']: o for o in out['rows']}
    assert out['benchmark'] == 'framing' and out['images'] == 12 and len(rows) == 7 and all(k in text for k in rows) and 'fallback' in out['flags']
    assert all(0 < o['slowest'] <= o['images_per_s'] <= o['fastest'] for o in rows.values()) and rows['survey, grey']['times_survey_framing'] == pytest.approx(1)

def test_throughput_from_end_to_end(run, tmp_path):
    text = run('throughput.py', '--presets', 'small', '--batch', 1, '--train-batch', 1, '--rounds', 2, '--ceiling-scale', .1, '--python', '', '--json', tmp_path/'o.json')
    rows = result(tmp_path/'o.json', 'throughput')['rows']
    who = ('torch float32', 'torch autocast', 'astrovader') if has_bf16('cpu') else ('torch float32',)
    assert [(o['what'], o['who']) for o in rows] == [(what, name) for what in ('encode', 'generate', 'train') for name in who]
    assert has_bf16('cpu') or 'only float32 is measured' in text
    assert all(0 < o['slowest'] <= o['per_s'] <= o['fastest'] for o in rows) and 'no baseline' in text

def test_gpu_from_end_to_end_on_a_processor(run, tmp_path):
    text = run('gpu.py', '--device', 'cpu', '--preset', 'small', '--n', 200, '--size', 16, '--epochs', 2, '--rounds', 2, '--batch', 50, '--every', 2, '--ceiling-scale', .1,
        '--profile', tmp_path/'profile.txt', '--json', tmp_path/'o.json')
    out = result(tmp_path/'o.json', 'gpu')
    rows,schedule,found = {o['what']: o for o in out['rows']},out['schedule'],out['stretch']
    assert set(rows) == {'encode', 'generate', 'catalogue', 'generate, to bytes', 'train'}
    for o in rows.values(): assert o['percent_of_conv'] == pytest.approx(100*o['gflop']*o['images_per_s']/out['ceiling']['conv'])
    assert schedule['epochs'] == dict(alpha=24, anneal=16, static=8) and found['images'] == 180 and found['init_s'] > 0
    s = sum(schedule['epochs'][k]*v for k,v in schedule['epoch_seconds'].items())
    assert schedule['seconds'] == pytest.approx(159_600/180*s + found['init_s'])
    assert f'159,600/180 x (24 x' in text and f"= {schedule['seconds']:,.0f} s" in text
    assert out['memory_gb']['all'] > 0 and 'aten::' in (tmp_path/'profile.txt').read_text()

def test_work_of_an_image_is_the_papers(run, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    from astrovader.model.networks import Architecture
    work = runpy.run_path(str(folder/'gpu.py'))['flops'](Architecture())
    assert (round(work['encode'], 2), round(work['generate'], 2), round(work['train'], 1)) == (2.97, 1.97, 14.8)

def test_scaling_from_end_to_end(run, tmp_path):
    text = run('scaling.py', '--stages', 'silhouettes, full', 'agreement', '--ranks', '--scale', .05, '--rounds', 2, '--json', tmp_path/'o.json')
    out = result(tmp_path/'o.json', 'scaling')
    assert [(o['stage'], o['along']) for o in out['rows']] == [*(('silhouettes, full', o) for o in ('rows', 'components', 'latents')),
        *(('agreement', o) for o in ('rows', 'components'))]
    assert all(o['stage'] in text and o['than'] in text for o in out['rows'])
    for o in out['points'].values(): assert all(len(p['seconds']) == len(p['baseline_seconds']) == 2 and p['peak_mb'] > p['mb'] >= 0 for p in o)
    assert [p['n'] for p in out['points']['silhouettes, full, n']] == [250, 450, 800]

def test_the_exponent_of_a_law_is_found(monkeypatch):
    monkeypatch.syspath_prepend(folder)
    law = runpy.run_path(str(folder/'scaling.py'))['law']
    assert law([10, 100, 1000], [[3e-4*n**2]*2 for n in (10, 100, 1000)]) == pytest.approx((2, 2, 2))
    middle,least,most = law([1, 10], [[1., 1., 1.], [1., 10., 100.]])
    assert (middle, least, most) == pytest.approx((1, 0, 2))

@pytest.fixture
def voted(tmp_path):
    "Simulated galaxies in two zips, the votes of the first, and the same seen darker as another survey."
    images,truth = sky(150, 48, seed=3, bands=3)
    def jpegs(path, rows, bright=1.):
        with ZipFile(path, 'w') as z:
            for i in rows:
                Image.fromarray((images[i].transpose(1, 2, 0)*bright).astype('uint8')).save(f := io.BytesIO(), 'JPEG', quality=90)
                z.writestr(f'{i:05}.jpg', f.getvalue())
        return path
    votes(truth).drop(columns='object_id').assign(image=[f'{i:05}.jpg' for i in range(150)])[:110].to_csv(tmp_path/'votes.csv', index=False)
    return dict(votes=jpegs(tmp_path/'a.zip', range(110)), unlabelled=jpegs(tmp_path/'b.zip', range(110, 150)), other=jpegs(tmp_path/'c.zip', range(30), .8),
        table=tmp_path/'votes.csv')

def test_morphology_from_end_to_end(run, voted, tmp_path):
    names = 'pca','autoencoder','morphology','morphology, re-cut','morphology, other survey','morphology, raw cutout','trees with votes','network with votes'
    more = [p for k,o in voted.items() for p in (f'--{k}', o)] + ['--out', tmp_path/'out', '--size', 32, '--epochs', .03, '--only', *names]
    text = run('morphology.py', *more, '--seeds', 1, '--json', tmp_path/'o.json')
    out = result(tmp_path/'o.json', 'morphology')
    rows = {o['name']: o for o in out['rows']}
    assert tuple(rows) == names and all(f'{o}, seed 0: ' in text for o in names) and out['images'] == 150 and sum(out['classes'].values()) <= 110
    for k,o in rows.items():
        assert o['ami'] is None if 'other' in k else o['ami']['least'] == o['ami']['mean'] == o['ami']['most'] and o['ami']['sd'] is None
    assert all(o in out['presets']['morphology'] for o in ('epochs_alpha', 'size')) and str(tmp_path) not in (tmp_path/'o.json').read_text()
    again = run('morphology.py', *more, '--seeds', 1, '--json', tmp_path/'again.json')
    assert 'seed 0: ' not in again and json.loads((tmp_path/'again.json').read_text())['each'] == out['each']

def test_views_from_end_to_end(run, voted, tmp_path):
    more = [p for k,o in voted.items() for p in (f'--{k}', o)] + ['--out', tmp_path/'out', '--size', 32, '--epochs', 1, '--seeds', 1, '--only', 'all views', 'no zoom']
    text = run('views.py', *more, '--json', tmp_path/'o.json')
    both = result(tmp_path/'o.json', 'views')['each']
    assert [o['name'] for o in both] == ['all views', 'no zoom'] and both[0]['probe'] != both[1]['probe'] and all(0 <= o['features'] <= 1 for o in both)
    assert 'all views, seed 0: ' in text and 'seed 0: ' not in run('views.py', *more)

def test_labels_from_end_to_end(run, voted, tmp_path):
    from astrovader.data.pack import pack
    from astrovader.model.networks import Architecture
    from astrovader.model.vade import VaDE
    survey = pack(voted['votes'], tmp_path/'survey', 32, bands='rgb', n_workers=1)
    widths = dict(encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,))
    VaDE(Architecture(32, bands=3, n_latent=3, n_components=4, **widths), survey.packing).save(tmp_path/'run/model')
    text = run('labels.py', '--table', voted['table'], '--survey', tmp_path/'survey', '--run', tmp_path/'run', '--labels', 10, 20,
        '--repeats', 1, '--asked', 1, '--sets', 1, '--networks', 1, '--seen', 40, '--json', tmp_path/'o.json')
    out = result(tmp_path/'o.json', 'labels')
    ways = {(o['way'], o['labels']) for o in out['rows']}
    assert {(way, n) for way in ('components', 'probe', 'network from scratch') for n in (10, 20)} | {('probe, asked for', 20)} <= ways and 'from scratch' in text
    assert all(0 <= o['balanced'] <= 1 for o in out['each']) and 0 <= out['coverage'][0]['purity'] <= 1

def test_realism_from_end_to_end(run, voted, tmp_path):
    (tmp_path/'tiny.json').write_text('{"preset": "small", "n_components": 3, "n_latent": 3, "epochs_alpha": 2, "epochs_anneal": 1, "epochs_static": 1, "n_periods": 1, "detail_filters": [8, 16], "epochs_detail": 1}')
    args = '--votes', voted['votes'], '--out', tmp_path/'out', '--size', 32, '--preset', tmp_path/'tiny.json', '--epochs-detail', 2, '--seeds', 1, '--n', 60
    text = run('realism.py', *args, '--figure', tmp_path/'o.png', '--json', tmp_path/'o.json')
    assert Image.open(tmp_path/'o.png').width == 720
    none, model = result(tmp_path/'o.json', 'realism')['rows']
    assert (none['detail'], model['detail']) == ('none', 'model') and none['statistics'] != model['statistics'] and model['drawn_per_s'] < model['decoded_per_s']
    assert 'mean distance' in text and 'galaxies a second and core' in text and model['epochs'] == 6
    def rows(text): return [line for line in text.splitlines() if 'detail' in line]
    assert rows(run('realism.py', *args)) == rows(text) and len(rows(text)) == 3

def test_components_of_one_family_are_joined(monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    bench = runpy.run_path(str(folder/'morphology.py'))
    means = np.array([[0., 0], [9, 9], [.5, 0], [9, 8], [-9, 0]])
    got = bench['families'](bench['Found'](None, None, None, means, np.ones((5, 2))))
    assert got[0] == got[2] != got[1] == got[3] and len(set(got)) == 3
