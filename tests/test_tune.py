"A search on a tiny simulated survey: several processes, one that is killed, trials that diverge, and names that are strange."
import json,time
import pandas as pd,pytest
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer.verify import verify
from astrovader.train.phases import get_preset
from astrovader.train.tune import tune
from side_by_side import Command

fields = dict(preset='small', encoder_filters=[8], encoder_kernels=[3], decoder_filters=[8], decoder_kernels=[3], convolutions=1, output='sigmoid', n_components=2, n_latent=2,
    lr=.01, batch_size=16, epochs_alpha=2, epochs_anneal=1, epochs_static=1, n_periods=1, bf16=False)

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A survey, a preset, and the search of one process"
    d = tmp_path_factory.mktemp('tune')
    images,truth = sky(80, 16)
    pack_arrays(images, d/'survey', truth[['object_id', 'kind']])
    (d/'tiny.json').write_text(json.dumps(fields))
    return d

def search(place, out, n, space='lr,n_latent'): return tune(place/'survey', out, n, place/'tiny.json', space=space, device='cpu')

@pytest.fixture(scope='module')
def alone(place): return search(place, place/'alone', 5)

def test_two_processes_share_a_study(place, alone, tmp_path):
    command = ['astrovader-tune', 'survey', tmp_path/'out', '--trials', '5', '--preset', 'tiny.json', '--space', 'lr,n_latent']
    said = []
    for process in [Command(*command, cwd=place) for _ in range(2)]:
        out,err = process.communicate(timeout=400)
        assert process.returncode == 0 and not err, err
        said += [line.split(':')[0] for line in out.splitlines() if line.startswith('trial ')]
    assert sorted(said) == [f'trial {i}' for i in range(5)], said
    shared = pd.read_csv(tmp_path/'out/trials.csv')
    for name in 'lr', 'n_latent', 'score': assert shared[name].tolist() == pytest.approx(alone[name].tolist(), rel=1e-4), name
    assert verify(tmp_path/'out') == 1 and (tmp_path/'out/tune.png').exists() and not list((tmp_path/'out').glob('.*'))
    assert get_preset(tmp_path/'out/best.json').lr == pytest.approx(alone.lr[alone.score.idxmax()])

endless = '''
import sys,time
from pathlib import Path
from astrovader.train import tune as module
module._run = lambda *_: time.sleep(600)
module.tune('survey', sys.argv[1], 2, 'tiny.json', space='lr,n_latent', device='cpu')
'''

def test_the_trial_of_a_killed_process_is_repeated(place, alone, tmp_path, capsys):
    (tmp_path/'endless.py').write_text(endless)
    process = Command(tmp_path/'endless.py', tmp_path/'out', cwd=place)
    limit = time.time()+200
    while not list(tmp_path.glob('out/.0.lock')) and process.poll() is None and time.time() < limit: time.sleep(.1)
    assert search(place, tmp_path/'out', 1).state.tolist() == ['running'], 'another process works on it'
    process.kill()
    process.communicate()
    found = search(place, tmp_path/'out', 2)
    assert found.state.tolist() == ['killed', 'complete', 'complete'] and '2 of 2' in capsys.readouterr().out
    for name in 'lr', 'n_latent', 'score': assert found[name].tolist()[1:] == pytest.approx(alone[name].tolist()[:2], rel=1e-4), name

def test_trials_that_diverge_do_not_end_the_search(place, tmp_path):
    found = search(place, tmp_path/'100 % of galaxies #1?', 5, dict(lr=[.01, 1e4, 1e5]))
    bad = found.lr.map(json.loads) > 1
    assert 1 <= bad.sum() <= 4 and (found.state == bad.map({True: 'failed', False: 'complete'})).all()
    assert found.remark[bad].str.contains('training diverged in epoch 1').all() and (found.score[~bad] == found.score[0]).all()
