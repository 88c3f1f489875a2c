"Surveys that are damaged, changed or packed twice at once, and wrong calls of those who read and write them."
import contextlib,copy,importlib,io,json,shutil,subprocess,sys,time
import numpy as np,pandas as pd,pytest
from PIL import Image
from astrovader.core import AstrovaderError,BadInput,BadSurvey,read_json
from astrovader.data import survey as module
from astrovader.data.loaders import survey_loaders
from astrovader.data.pack import pack,pack_arrays
from astrovader.data.survey import Survey
from astrovader.data.synth import sky

@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "Twenty galaxies and two files that are no images, in three shards"
    d = tmp_path_factory.mktemp('damaged')
    images,truth = sky(20, 16, seed=0)
    (d/'sky').mkdir()
    for name,image in zip(truth.object_id, images): Image.fromarray(image[0]).save(d/f'sky/{name}.png')
    for name in 'a.png','b.png': (d/'sky'/name).write_bytes(b'GIF89a'*(name == 'b.png'))
    with contextlib.redirect_stdout(io.StringIO()): pack(d/'sky', d/'survey', size=16, shard_rows=8, n_workers=0, table=truth)
    return d

def read_all(path):
    "Everything that a survey holds"
    s = Survey(path)
    return s.images(slice(None)).tobytes(), s.index().to_csv(), s.rejected().to_csv()

@pytest.mark.parametrize('name', ['shard-00000.npy', 'shard-00002.npy', 'index.parquet', 'rejected.parquet', 'survey.json'])
def test_a_flipped_bit_is_seen(whole, tmp_path, name):
    shutil.copytree(whole/'survey', tmp_path/'s')
    sound,refused = (tmp_path/'s'/name).read_bytes(),0
    known = read_all(tmp_path/'s')
    for i in np.linspace(0, len(sound)-1, 40).astype(int):
        (tmp_path/'s'/name).write_bytes(sound[:i] + bytes([sound[i] ^ 4]) + sound[i+1:])
        try: assert read_all(tmp_path/'s') == known and name == 'survey.json' # white space
        except BadSurvey: refused += 1
    assert refused == 40 or name == 'survey.json' and refused > 30

def damaged(meta):
    "Each `survey.json` that lacks an entry, or has one of another type"
    def visit(node, path):
        for key,value in (node.items() if isinstance(node, dict) else enumerate(node)):
            yield path+[key]
            if isinstance(value, (dict, list)) and key != 'provenance': yield from visit(value, path+[key])
    for path in visit(meta, []):
        for new in 'missing', None, -1, 'x', [], {}, 1e99:
            changed = copy.deepcopy(meta)
            *way,last = path
            node = changed
            for key in way: node = node[key]
            if new == 'missing': del node[last]
            else: node[last] = new
            yield f'{path} {new}', changed

def test_metadata_that_is_damaged_is_a_sentence(whole, tmp_path):
    shutil.copytree(whole/'survey', tmp_path/'s')
    meta = read_json(tmp_path/'s/survey.json')
    n = 0
    for what,changed in damaged(meta):
        (tmp_path/'s/survey.json').write_text(json.dumps(changed))
        try: read_all(tmp_path/'s'), repr(Survey(tmp_path/'s'))
        except BadSurvey as e: assert '\n' not in str(e), what
        except Exception as e: pytest.fail(f'{what}: {type(e).__name__} {e}')
        n += 1
    assert n > 150
    (tmp_path/'s/survey.json').write_text('{"a":'*100_000)
    with pytest.raises(BadSurvey, match='nested too deep'): Survey(tmp_path/'s')

def test_a_shard_is_read_for_its_checksum_once(whole, monkeypatch):
    read = []
    monkeypatch.setattr(module, 'sha256_of', lambda path, sha256_of=module.sha256_of: read.append(path.name) or sha256_of(path))
    monkeypatch.setattr(module, '_compared', set())
    for _ in range(2): Survey(whole/'survey').images([0, 9])
    assert read == ['index.parquet', 'shard-00000.npy', 'shard-00001.npy']

@pytest.mark.parametrize('killed', [False, True])
def test_two_at_once(whole, tmp_path, killed):
    "The second is refused while the first packs; the survey is whole, also where the first is killed and the second repeated"
    slow = 'import time; from astrovader.data import framing; read = framing.read_cutout; framing.read_cutout = lambda *a: time.sleep(.05) or read(*a)'
    args = f'{str(whole/"sky")!r}, {str(tmp_path/"s")!r}, size=16, shard_rows=8, n_workers=0'
    first = subprocess.Popen([sys.executable, '-c', f'{slow}; from astrovader.data.pack import pack; pack({args})'])
    end = time.time() + 60
    while not (tmp_path/'s/.lock').exists() and time.time() < end and first.poll() is None: time.sleep(.01)
    with pytest.raises(AstrovaderError, match='is being written by another process'): pack(whole/'sky', tmp_path/'s', size=16, shard_rows=8, n_workers=0)
    if killed: first.kill()
    assert first.wait(60) == (-9 if killed else 0)
    if killed: pack(whole/'sky', tmp_path/'s', size=16, shard_rows=8, n_workers=0)
    assert (Survey(tmp_path/'s').images(slice(None)) == Survey(whole/'survey').images(slice(None))).all()
    assert not [p.name for p in (tmp_path/'s').iterdir() if p.name[0] == '.']

def test_a_plan_is_made_alone(whole, tmp_path, monkeypatch):
    "A plan that replaced another would be continued with the shards of the other."
    packing = importlib.import_module('astrovader.data.pack')
    refused = []
    def second_starts(*args, make=packing._recipe, **kwargs):
        with pytest.raises(AstrovaderError, match='is being written by another process'): pack(whole/'sky', tmp_path/'s', size=8, n_workers=0)
        refused.append(True)
        return make(*args, **kwargs)
    monkeypatch.setattr(packing, '_recipe', second_starts)
    assert pack(whole/'sky', tmp_path/'s', size=16, n_workers=0).shape == (1, 16, 16) and refused

def test_a_pack_that_was_killed_before_its_plan_is_continued(whole, tmp_path):
    (tmp_path/'s/.packing').mkdir(parents=True)
    (tmp_path/'s/.lock').touch()
    assert len(pack(whole/'sky', tmp_path/'s', size=16, n_workers=0)) == 20
    assert not [p.name for p in (tmp_path/'s').iterdir() if p.name[0] == '.']

def test_the_commonest_reason_is_named(whole, tmp_path):
    (tmp_path/'sky').mkdir()
    (tmp_path/'sky/a.png').touch()
    for i in range(3): shutil.copy(next((whole/'sky').glob('sim*.png')), tmp_path/f'sky/g{i}.png')
    with pytest.raises(BadInput, match=r'none of the 4 images can be used; 3 of them, such as g0.png: .*crop'): pack(tmp_path/'sky', tmp_path/'s', size=16, crop=99, n_workers=0)
    assert not (tmp_path/'s').exists()

def test_columns_whose_names_are_taken(whole, tmp_path):
    table = pd.DataFrame(dict(object_id=['a', 'b'], flags=[1, 2], flags_table=[3, 4]))
    index = pack_arrays(np.zeros((2, 8, 8), np.uint8), tmp_path/'s', table).index()
    assert index.flags_table.tolist() == [3, 4] and index.flags_table_table.tolist() == [1, 2]

x = np.zeros((3, 8, 8), np.uint8)
wrong_calls = """
pack_arrays(None, out) | images are None
pack_arrays('sky', out) | images are 'sky'
pack_arrays(5, out) | images are 5
pack_arrays([], out) | uint8
pack_arrays(x[:0], out) | at least one
pack_arrays(x/2, out) | float64
pack_arrays(x[0], out) | (n, bands, size, size)
pack_arrays(x[:,:4], out) | (n, bands, size, size)
pack_arrays([x, 'a'], out) | uint8
pack_arrays(x, '') | the folder of the survey is an empty name
pack_arrays(x, 5) | the folder of the survey is 5
pack_arrays(x, None) | the folder of the survey is None
pack_arrays(x, out, shard_rows=0) | shard_rows is 0; give a whole number of at least 1
pack_arrays(x, out, shard_rows=2.5) | shard_rows is 2.5
pack_arrays(x, out, bands='rgb') | images of 1 bands are not rgb
pack_arrays(x, out, bands='red') | bands
pack_arrays(x, out, size=64) | the images have size 8, and size=64 is given
pack_arrays(x, out, n_bands=3) | the images have n_bands 1
pack_arrays(x, out, framing='other') | framing
pack_arrays(x, out, stretch='other') | stretch
pack_arrays(x, out, table='nowhere.csv') | does not exist
pack_arrays(x, out, table=5) | a table is
pack_arrays(x, out, table=pd.DataFrame(dict(object_id=['a', None, 'b']))) | no object_id in row 1
pack_arrays(x, out, table=pd.DataFrame(dict(object_id=['a', 'b', ' ']))) | no object_id in row 2
pack_arrays(x, out, table=pd.DataFrame(dict(object_id=['a', 'b', 'b']))) | more than once
pack_arrays(x, out, table=pd.DataFrame(dict(object_id=['a']))) | 1 rows for 3 images
pack(sky_folder, out, shard_rows=-1) | shard_rows is -1
pack(sky_folder, out, shard_rows='8') | shard_rows is '8'
pack(sky_folder, '') | the folder of the survey is an empty name
pack(sky_folder, None) | the folder of the survey is None
pack(sky_folder, out, framing='other') | framing
pack(sky_folder, out, bands='other') | bands
pack(sky_folder, out, like='nowhere') | does not exist
pack(sky_folder, out, table='nowhere.csv') | does not exist
pack('nowhere', out) | does not exist
pack(survey.path, out) | is packed already
Survey('') | the survey is an empty name
Survey(None) | the survey is None
Survey(5) | the survey is 5
Survey('nowhere') | does not exist
Survey(sky_folder) | is not a packed survey
survey.images([99]) | rows up to 99
survey.images([-99]) | rows
survey.images(['a']) | whole numbers
survey.images([.5]) | whole numbers
survey.images(None) | whole numbers
survey.index(['nothing']) | no column nothing
survey.block(0, 3, ['nothing']) | no column nothing
survey_loaders(5) | the survey is 5
survey_loaders('nowhere') | does not exist
"""

@pytest.mark.parametrize('line', wrong_calls.strip().splitlines())
def test_a_wrong_call_is_a_sentence(whole, tmp_path, line):
    call,words = line.rsplit(' | ', 1)
    known = dict(np=np, pd=pd, x=x, pack=pack, pack_arrays=pack_arrays, survey_loaders=survey_loaders, Survey=Survey)
    known |= dict(out=tmp_path/'out', sky_folder=whole/'sky', survey=Survey(whole/'survey'))
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(AstrovaderError) as e: eval(call, known)
    assert words in str(e.value) and '\n' not in str(e.value), e.value
    assert not (tmp_path/'out').exists()

def test_numbers_of_numpy_are_numbers(whole, tmp_path):
    one = pack(whole/'sky', tmp_path/'a', size=np.int64(16), crop=np.float32(.5), shard_rows=np.int32(8), n_workers=np.int8(0))
    assert one.shape == (1, 16, 16) and len(pack_arrays(x, tmp_path/'b', shard_rows=np.int64(2)).meta['shards']) == 2
