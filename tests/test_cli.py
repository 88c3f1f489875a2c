"The commands on a tiny simulated survey: end to end, with bad input, and interrupted."
import os,re,runpy,shutil,signal,subprocess,sys
from pathlib import Path
import h5py,numpy as np,pandas as pd,pytest
from astrovader.tables import read_table
from astrovader.share.keras import layout
from astrovader.model.networks import Architecture
from astrovader.data.survey import Survey
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky,write_sky
import side_by_side
from side_by_side import Command

epochs = '--epochs-alpha 2 --epochs-anneal 1 --epochs-static 1 --n-periods 1'.split()
small = [*'--preset small --n-components 3 --n-latent 4 --batch-size 32'.split(), *epochs]

def argv(name, *args): return [Path(sys.executable).with_name(f'astrovader-{name}'), *map(str, args)]
def run(name, *args, cwd=None): return subprocess.run(argv(name, *args), cwd=cwd, capture_output=True, text=True, timeout=300)

def with_libraries(name, *args, cwd): return side_by_side.run(*argv(name, *args), cwd=cwd, timeout=300)

def good(name, *args, cwd=None, run=run):
    r = run(name, *args, cwd=cwd)
    assert r.returncode == 0, r.stderr
    return r.stdout

@pytest.fixture
def here(place, monkeypatch, capfd):
    "Run a command's script in this process, which has torch loaded already: its exit status, and what it said"
    monkeypatch.chdir(place)
    def f(name, *args):
        script = argv(name, *args)
        monkeypatch.setattr(sys, 'argv', list(map(str, script)))
        with pytest.raises(SystemExit) as e: runpy.run_path(str(script[0]), run_name='__main__')
        out,err = capfd.readouterr()
        code = e.value.code
        return (1, out, f'{err}{code}\n') if isinstance(code, str) else (code or 0, out, err)
    return f

def write_weights(path):
    "Random weights in a file as Keras writes them"
    r = np.random.default_rng(0)
    with h5py.File(path, 'w') as h:
        for k,s in layout(Architecture(16, n_latent=4, n_components=3)).items(): h[k] = np.abs(r.normal(0, .1, s)) + .1 if 'GMM' in k else r.normal(0, .1, s)

def files(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*'))

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder where images were packed and a model trained, by the commands"
    d = tmp_path_factory.mktemp('cli')
    write_sky(d/'sky', 150, 16)
    good('pack', 'sky', 'survey', '--size', 16, '--table', 'sky/truth.csv', '--n-workers', 1, cwd=d, run=with_libraries)
    good('train', 'survey', 'run', *small, cwd=d, run=with_libraries)
    pack_arrays(sky(5, 32)[0], d/'large')
    write_weights(d/'weights.h5')
    (d/'cut.h5').write_bytes((d/'weights.h5').read_bytes()[:-1000])
    with h5py.File(d/'foreign.h5', 'w') as h: h['images'] = np.zeros((3, 4))
    return d

def test_run_is_complete(place):
    history = pd.read_csv(place/'run/history.csv')
    assert history.phase.tolist() == ['alpha', 'alpha', 'anneal', 'static']
    assert {'weights.safetensors', 'model.json'} <= {p.name for p in (place/'run/model').iterdir()} and any((place/'run/checkpoint').iterdir())

def test_catalogue_in_every_format(place, here, tmp_path):
    cats = []
    for suffix in 'parquet', 'fits', 'csv':
        code,said,err = here('catalogue', 'run', 'survey', tmp_path/f'c.{suffix}')
        assert code == 0 and '150 objects' in said and 'catalogue: ' in said, err
        cats.append(read_table(tmp_path/f'c.{suffix}'))
    want = ['object_id', 'component', 'p_max', 'p_0', 'p_1', 'p_2', 'z_0', 'z_1', 'z_2', 'z_3', 'recon_error',
        'z_var_0', 'z_var_1', 'z_var_2', 'z_var_3', 'q_0', 'q_1', 'q_2', 'p_entropy', 'q_entropy']
    for c in cats:
        assert list(c) == want and c.attrs['model']['seed'] == 0
        pd.testing.assert_frame_equal(c, cats[0], check_dtype=False, rtol=1e-5)
    assert cats[0].object_id.tolist() == Survey(place/'survey').ids().tolist()
    assert np.allclose(cats[0][['p_0', 'p_1', 'p_2']].sum(axis=1), 1, atol=1e-5)

def test_catalogue_and_generate_as_processes(place, tmp_path):
    good('catalogue', 'run', 'survey', tmp_path/'c.parquet', cwd=place)
    good('generate', 'run', tmp_path/'g', '--n', 20, cwd=place, run=with_libraries)
    assert len(Survey(tmp_path/'g')) == 20 and len(read_table(tmp_path/'c.parquet')) == 150

def test_synthetic_survey_is_a_survey(here, tmp_path):
    for o in 'a', 'b': assert here('generate', 'run', tmp_path/o, '--n', 40, '--seed', 3)[0] == 0
    a,b = (Survey(tmp_path/o) for o in 'ab')
    assert len(a) == 40 and (a.images(slice(None)) == b.images(slice(None))).all()
    assert here('catalogue', 'run', tmp_path/'a', tmp_path/'a.csv')[0] == 0
    assert read_table(tmp_path/'a.csv').object_id[0] == 'synthetic-0000000'

def test_the_five_commands_of_readme(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sky('images', 80, 32)
    section = (Path(__file__).parents[1]/'README.md').read_text(encoding='utf-8').split('## A model of your own')[1].split('##')[0]
    lines = re.findall(r'^astrovader-(\S+) (.*?) *#', section, re.M)
    assert [o for o,_ in lines] == ['pack', 'train', 'catalogue', 'generate', 'report']
    fewer = dict(train=['--n-components', 3, *epochs], generate=['--n', 100])
    for name,args in [*lines, ('catalogue', 'run synthetic synthetic.csv'), ('report', 'run synthetic synthetic-report')]:
        code,_,err = here(name, *args.split(), *fewer.get(name, []))
        assert code == 0, err
    a,b = Survey('survey'),Survey('synthetic')
    assert a.packing == b.packing and a.packing['framing'] == 'canonical' and len(read_table('synthetic.csv')) == len(b) == 100

def test_generate_one_component(here, tmp_path):
    assert here('generate', 'run', tmp_path/'c', '--n', 5, '--component', 2, '--temperature', .5)[0] == 0
    table = read_table(tmp_path/'c/synthetic.parquet')
    assert set(table.component) == {2} and set(table.temperature) == {.5}

def test_report_is_one_page_and_takes_the_place_of_another(place, here, tmp_path):
    def page():
        text = (tmp_path/'report/index.html').read_text(encoding='utf-8')
        assert text.startswith('<!doctype html>') and text.endswith('</html>')
        assert text.count('data:image/png;base64,') == len(list((tmp_path/'report/figures').glob('*.png')))
        return text
    good('report', 'run', 'survey', tmp_path/'report', cwd=place, run=with_libraries)
    assert 'http' not in page() and '<script' not in page() and 'that volunteers called smooth or featured' in page() and 'has no history.csv' not in page()
    assert {'occupancy.csv', 'kinds.csv', 'agreement.csv', 'catalogue.parquet', 'class-kind.csv'} <= {p.name for p in (tmp_path/'report/tables').iterdir()}
    shutil.copytree(place/'run/model', tmp_path/'run/model')
    code,_,err = here('report', tmp_path/'run', 'survey', tmp_path/'report')
    assert code == 0 and 'has no history.csv' in page(), err

def test_imported_weights_are_a_run(place, here, tmp_path):
    said = good('import-keras', 'weights.h5', tmp_path/'run', cwd=place, run=with_libraries)
    assert 'images of 16 x 16 pixels' in said and 'weights summed to' in said
    assert files(tmp_path/'run') == ['model', 'model/model.json', 'model/weights.safetensors']
    assert here('import-keras', 'weights.h5', tmp_path/'run')[:2] == (0, said)
    assert here('pack', 'sky', tmp_path/'survey', *re.search('--size.*', said)[0].split(), '--n-workers', 1)[0] == 0
    assert here('catalogue', tmp_path/'run', tmp_path/'survey', tmp_path/'c.csv')[0] == 0
    assert read_table(tmp_path/'c.csv').attrs['model']['keras']['file'] == 'weights.h5'
    assert here('generate', tmp_path/'run', tmp_path/'made', '--n', 5)[0] == 0
    code,_,err = here('report', tmp_path/'run', tmp_path/'survey', tmp_path/'report')
    assert code == 0, err
    page = (tmp_path/'report/index.html').read_text(encoding='utf-8')
    assert 'they come from <b>weights.h5</b>' in page and 'no history.csv' not in page
    for line,why in ((('catalogue', tmp_path/'run', 'survey', tmp_path/'d.csv'), 'packed with grey mean'), (('train', 'survey', tmp_path/'run'), 'something else'),
        (('train', 'survey', tmp_path/'run', '--resume'), 'something else'), (('import-keras', 'weights.h5', 'run'), 'something else')):
        code,_,err = here(*line)
        assert is_one_line(code, err, why), err

bad = [o.split(' -> ') for o in '''
pack nowhere out -> nowhere does not exist
pack sky out --bands violet -> violet
pack sky out --like nowhere -> nowhere
train nowhere out -> nowhere does not exist
train survey out --preset huge -> paper, full, small
train survey out --n-components 500 --epochs-alpha 1 -> 500 components
train survey run -> --resume
train large run --resume -> survey; repeat the request that began it
train survey out --preset sky/truth.csv -> a JSON file of its fields
train survey out --preset run/run.json -> begins with the preset a dict
tune nowhere out -> nowhere does not exist
tune survey sky -> something else
tune survey out --trials 0 -> at least 1
tune survey out --space rate -> no field 'rate'
tune survey out --labels colour -> no column 'colour'
tune survey out --score stability --labels kind -> for the score labels
catalogue nowhere survey out.csv -> nowhere has no trained model
catalogue run nowhere out.csv -> nowhere does not exist
catalogue run large out.csv -> --like
catalogue run survey out.txt -> .parquet, .fits, .csv
catalogue run survey out.csv --scaling soft -> exact, minmax, tempered
catalogue run survey out.csv --scaling tempered --temperature 0 -> give a positive number
catalogue run survey out.csv --batch-size 0 -> at least 1
catalogue run survey sky/sim-000000.png/out.csv -> sim-000000.png
consensus run survey out -> needs two runs or more
name nowhere survey sky/truth.csv out -> nowhere has no trained model
name run survey nowhere.csv out -> neither a column of the table of survey
name run survey kind sky -> something else
name run survey kind out --level 1 -> between 0 and 1
name run survey kind out --n-next 0 -> at least 1
name run survey kind out --catalogue sky/truth.csv -> component
name run large kind out -> kind is neither a column
generate nowhere out -> nowhere has no trained model
generate run out --component 3 -> 0 to 2
generate run out --n 0 -> at least one
generate run out --batch-size 0 -> at least 1
generate run out --temperature nan -> temperature is nan
generate run out --temperature -1 -> positive number
generate run out --seed -1 -> whole number
generate run sky -> something else
generate run out --flux 5 -> --flux is for galaxies in FITS files
generate run out --files movie -> use stamps, cube or field
generate run out --files stamps --bf16 -> for packed surveys
generate run out --files cube --ra 5 --dec 5 -> middle of a field
generate run out --files stamps --survey survey -> the framing is 'canonical'
generate run sky/sim-000000.png/out -> sim-000000.png/out cannot be written
realism nowhere survey out -> nowhere has no trained model
realism run survey out --n 10 -> ask for 40 or more
realism run survey out --seed -1 -> whole number
realism run large out -> --like
realism run survey sky -> something else
report nowhere survey out -> nowhere has no trained model
report run survey out --seed -1 -> whole number
report run large out -> --like
report run survey sky -> something else
explore nowhere survey out.html -> nowhere has no trained model
explore run nowhere out.html -> nowhere does not exist
explore run survey out -> end in .html
explore run large out.html -> --like
explore run survey out.html --seed -1 -> whole number
explore run survey out.html --n 5 -> at least 100
explore run survey out.html --labels a,a -> all of them different
explore run survey out.html --catalogue sky/truth.csv -> component
explore run survey out.html --map sky/truth.csv -> is not a map
explore run survey out.html --select nowhere.csv -> nowhere.csv does not exist
import-keras nowhere.h5 out -> nowhere.h5 does not exist
import-keras sky out -> sky is a folder
import-keras sky/sim-000000.png out -> sim-000000.png is not an HDF5 file
import-keras cut.h5 out -> cut.h5 is damaged
import-keras foreign.h5 out -> no layers Conv1
import-keras weights.h5 run -> something else
import-keras weights.h5 sky/sim-000000.png -> something else
import-keras weights.h5 sky/sim-000000.png/out -> cannot be written
export nowhere out -> nowhere has no trained model
export survey out -> survey has no trained model
export run sky -> something else
export run run -> something else
export run sky/sim-000000.png -> something else
export run sky/sim-000000.png/out -> cannot be written
pack sky out --like sdds -> name a model that comes with the package: sdss
catalogue sdds survey out.csv -> name a model that comes with the package: sdss
catalogue sdss survey out.csv -> pack it again with --like
share nowhere out -> nowhere has no trained model
share run sky -> something else
share run run -> the run itself
share run out --results gone.csv -> gone.csv does not exist
share run out --notes sky -> cannot be read as text
pull nowhere run -> something else
pull owner/na/me out -> no name of a repository'''.strip().splitlines()]

def is_one_line(code, err, why=''): return code == 1 and why in err and err.startswith('astrovader: ') and err.count('\n') == 1

@pytest.mark.parametrize('line,why', bad, ids=[o[0] for o in bad])
def test_bad_input_is_one_line_and_leaves_nothing(place, here, line, why):
    before = files(place)
    code,_,err = here(*line.split())
    assert is_one_line(code, err, why), err
    assert files(place) == before

@pytest.mark.parametrize('line,why', bad[::25])
def test_bad_input_to_a_process(place, line, why):
    r = run(*line.split(), cwd=place)
    assert is_one_line(r.returncode, r.stderr, why), r.stderr

light = """import sys
from astrovader import cli
try: getattr(cli, sys.argv.pop(1))()
except SystemExit as e: print(e.code, [name for name in ('torch', 'fastai', 'pandas', 'numba', 'astropy') if name in sys.modules])
"""

@pytest.mark.parametrize('name, args', [('train', ['nowhere', 'out']), ('generate', ['nowhere', 'out']), ('pack', ['nowhere', 'out'])])
def test_a_path_that_leads_nowhere_is_refused_at_once(tmp_path, name, args):
    (tmp_path/'light.py').write_text(light)
    r = subprocess.run([sys.executable, 'light.py', f'astrovader_{name}', *args], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert r.stdout.startswith('astrovader: nowhere ') and r.stdout.endswith(' []\n'), r.stdout+r.stderr

def test_damaged_model(place, here, tmp_path):
    (tmp_path/'run/model').mkdir(parents=True)
    for p in (place/'run/model').iterdir(): (tmp_path/'run/model'/p.name).write_bytes(p.read_bytes()[:200])
    code,_,err = here('generate', tmp_path/'run', tmp_path/'out')
    assert is_one_line(code, err) and not (tmp_path/'out').exists()

@pytest.mark.parametrize('file,text', [('history.csv', ''), ('model/model.json', '[]'), ('model/model.json', '{"format": 1}')])
def test_damaged_run_has_no_report(place, here, tmp_path, file, text):
    shutil.copytree(place/'run', tmp_path/'run')
    (tmp_path/'run'/file).write_text(text)
    code,_,err = here('report', tmp_path/'run', 'survey', tmp_path/'out')
    assert is_one_line(code, err, Path(file).name) and not (tmp_path/'out').exists(), err

def test_what_lies_on_the_disk_is_verified(place, here, tmp_path):
    for name in 'survey', 'run': shutil.copytree(place/name, tmp_path/name)
    code,said,_ = here('verify', tmp_path)
    assert code == 0 and said.splitlines()[-1] == f'{tmp_path}: 2 checked, none damaged'
    weights = tmp_path/'run/model/weights.safetensors'
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    code,_,err = here('verify', tmp_path)
    assert code == 1 and err.count('\n') == 1 and 'weights.safetensors has changed' in err

def test_a_terminal_that_is_not_utf8(place, tmp_path):
    shutil.copytree(place/'survey', tmp_path/'galaxias μ')
    r = subprocess.run(argv('verify', tmp_path/'galaxias μ'), env=os.environ | dict(PYTHONIOENCODING='ascii'), capture_output=True, text=True)
    assert r.returncode == 0 and r'galaxias \u03bc: ' in r.stdout, r.stderr

@pytest.mark.parametrize('name, args', [('train', ['survey', '']), ('pack', [' ', 'out']), ('catalogue', ['run', 'survey', ' '])])
def test_an_empty_argument_is_refused(place, here, name, args):
    before = files(place)
    code,_,err = here(name, *args)
    assert code == 1 and 'is empty; give it a value' in err and files(place) == before

def test_wrong_arguments_show_usage():
    r = run('train')
    assert r.returncode == 2 and 'required' in r.stderr and 'Traceback' not in r.stderr

def interrupt(name, *args, cwd, after, number=signal.SIGINT):
    "Start a command, send Ctrl-C when `after` appears in what it says, and wait"
    p = Command(*argv(name, *args), cwd=cwd)
    p.until(after)
    p.send_signal(number)
    _,err = p.communicate()
    return p.returncode,err

def test_interrupted_training_goes_on(place, here, tmp_path):
    args = 'survey', tmp_path/'run', *small[:-8], '--epochs-alpha', 20, *epochs[2:]
    code,err = interrupt('train', *args, cwd=place, after='epoch 3/')
    assert code == 130 and err.count('\n') == 1 and '--resume' in err, err
    assert not (tmp_path/'run/model').exists()
    code,said,err = here('train', 'survey', tmp_path/'run', '--resume')
    assert code == 0 and 'epoch 1/' not in said and 'epoch 22/22' in said, err
    assert pd.read_csv(tmp_path/'run/history.csv').epoch.tolist() == list(range(1, 23))

@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_catalogue_leaves_nothing(place, tmp_path, number, status):
    pack_arrays(np.random.default_rng(0).integers(0, 256, (5000, 16, 16), dtype=np.uint8), tmp_path/'many')
    code,err = interrupt('catalogue', 'run', tmp_path/'many', tmp_path/'out/c.csv', '--batch-size', 1, cwd=place, after='catalogue: ', number=number)
    assert code == status and err.count('\n') == 1, err
    assert files(tmp_path/'out') == []
