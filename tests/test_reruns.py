"Reruns of generate and HATS: killed at any change of a file, damaged, in mounted and linked folders, and side by side."
import os,shutil
from pathlib import Path
import numpy as np,pandas as pd,pytest,torch
from astrovader.core import AstrovaderError,BadInput,BadModel,write_json
from astrovader.data.pack import pack,pack_arrays
from astrovader.data.survey import Survey
from astrovader.infer import generate as generating
from astrovader.infer.catalogue import catalogue,write_catalogue
from astrovader.infer.generate import generate,write_generated
from astrovader.infer.hats import write_hats
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.tables import read_table

@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return VaDE(Architecture(8, encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,), n_latent=2, n_components=3))

class Killed(BaseException): pass
def _killed(*_): raise Killed

def killed_at(monkeypatch, k):
    "Stop the process at the k-th rename, link or removal, as a signal would: nothing is cleaned up afterwards"
    calls = [0]
    def counted(function):
        def inner(*args, **kwargs):
            calls[0] += 1
            if calls[0] >= k: raise Killed
            return function(*args, **kwargs)
        return inner
    for name in 'replace','rename','link','unlink','mkdir','rmdir': monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(shutil, 'rmtree', counted(shutil.rmtree))
    return calls

def images_of(folder): return Survey(folder).images(slice(None))

def test_generate_over_an_older_survey_killed_anywhere(model, tmp_path, monkeypatch, capsys):
    "The old survey or the new one is always there, whole, and the same call completes the new one"
    make = lambda n: write_generated(model, tmp_path/'g', n, shard_rows=4)
    new = images_of(write_generated(model, tmp_path/'want', 10, shard_rows=4).path)
    old = images_of(make(5).path)
    stops = 0
    for k in range(1, 200, 6): # all 72 of them with a step of 1
        with monkeypatch.context() as patched:
            killed_at(patched, k)
            try:
                make(10)
                break
            except Killed: stops += 1
        there = images_of(tmp_path/'g')
        assert len(there) in (5, 10) and np.array_equal(there, old if len(there) == 5 else new)
        Survey(tmp_path/'g').verify()
        if k % 5: # else the work goes on from where it was
            assert np.array_equal(images_of(make(10).path), new)
            assert [file.name for file in tmp_path.iterdir() if file.name.startswith('.')] == []
            assert np.array_equal(images_of(make(5).path), old)
    assert stops > 8
    print(stops, 'stops')
    assert np.array_equal(images_of(make(10).path), new) and not [file for file in tmp_path.iterdir() if file.name.startswith('.')]

def test_what_another_request_left_is_swept(model, tmp_path):
    write_generated(model, tmp_path/'g', 5)
    generating.SyntheticSurvey.begin(tmp_path/'.g.new', dict(n=77))
    assert len(write_generated(model, tmp_path/'g', 6)) == 6 and not (tmp_path/'.g.new').exists()
    shutil.copytree(tmp_path/'g', tmp_path/'.g.new')
    assert len(write_generated(model, tmp_path/'g', 6)) == 6 and not (tmp_path/'.g.new').exists()

def test_work_of_another_process_is_not_removed(model, tmp_path):
    write_generated(model, tmp_path/'g', 5)
    job = generating.SyntheticSurvey.begin(tmp_path/'.g.new', dict(n=77))
    with generating._at_work(job):
        with pytest.raises(AstrovaderError, match='another request by another process'): write_generated(model, tmp_path/'g', 6)
        assert len(write_generated(model, tmp_path/'g', 5)) == 5 and job.is_begun
    assert len(write_generated(model, tmp_path/'g', 6)) == 6

def test_a_damaged_shard_is_made_again(model, tmp_path, capsys):
    want = images_of(write_generated(model, tmp_path/'g', 10, shard_rows=4).path)
    shard = tmp_path/'g/shard-00001.npy'
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    assert np.array_equal(images_of(write_generated(model, tmp_path/'g', 10, shard_rows=4).path), want)
    assert 'It is made again' in capsys.readouterr().out

def test_a_linked_folder_stays_a_link(model, tmp_path):
    (tmp_path/'disk').mkdir()
    (tmp_path/'g').symlink_to(tmp_path/'disk')
    for n in 5,6: assert len(write_generated(model, tmp_path/'g', n)) == n
    assert (tmp_path/'g').is_symlink() and len(Survey(tmp_path/'disk')) == 6
    assert sorted(file.name for file in tmp_path.iterdir()) == ['disk', 'g']

def test_a_mounted_folder_is_filled_from_the_inside(model, tmp_path, monkeypatch):
    out = tmp_path/'volume'
    out.mkdir()
    is_mount = os.path.ismount
    monkeypatch.setattr(os.path, 'ismount', lambda path: Path(path) == out or is_mount(path))
    inode = out.stat().st_ino
    for n in 5,6: assert len(write_generated(model, out, n).verify()) == n
    assert out.stat().st_ino == inode and not [file for file in out.iterdir() if file.name.startswith('.')]

def test_a_model_of_nan_is_refused(model, tmp_path):
    broken = VaDE(model.arch)
    broken.load_state_dict(model.state_dict())
    next(broken.decoder.parameters()).data[0] = torch.nan
    for make in (lambda: generate(broken, 5), lambda: write_generated(broken, tmp_path/'g', 5)):
        with pytest.raises(BadModel, match='NaN.*diverged'): make()
    assert not (tmp_path/'g').exists()

def test_what_cannot_fit_is_refused_before_the_work(model, tmp_path):
    with pytest.raises(BadInput, match='1,000,000,000,000 images need about .* TB, and the disk'): write_generated(model, tmp_path/'g', 10**12)
    with pytest.raises(BadInput, match='GB of memory.*write_generated'): generate(model, 10**12)
    assert not list(tmp_path.iterdir())

def test_numbers_of_numpy_are_numbers(model, tmp_path):
    "They were found only after the work was done"
    numbers = dict(component=np.int32(1), temperature=np.float32(.5), seed=np.uint8(3), shard_rows=np.int64(2), batch=np.int64(2))
    made = write_generated(model, tmp_path/'g', np.int64(5), **numbers)
    assert len(write_generated(model, tmp_path/'g', 5, 1, .5, 3, 2)) == 5 and made.meta['asked']['seed'] == 3
    assert write_catalogue(model, made, tmp_path/'c.parquet', part_rows=np.int64(2), batch=np.int64(3), draw_seed=np.int64(1))
    assert write_catalogue(model, made, tmp_path/'c.parquet', part_rows=2, draw_seed=1)

@pytest.fixture(scope='module')
def sky(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp('sky')
    r = np.random.default_rng(0)
    table = pd.DataFrame(dict(object_id=[f'galaxy {i}' for i in range(60)], ra=r.uniform(0, 360, 60), dec=r.uniform(-90, 90, 60)))
    survey = pack_arrays(r.integers(0, 256, (60, 8, 8), dtype=np.uint8), folder/'survey', table)
    write_catalogue(model, survey, folder/'parts.parquet', part_rows=20)
    write_catalogue(model, survey, folder/'one.parquet')
    return folder

@pytest.mark.parametrize('cat', ['one.parquet', 'parts.parquet'])
def test_hats_again_is_quiet(model, sky, tmp_path, cat):
    hats = tmp_path/'hats'
    make = lambda **pixels: write_hats(sky/cat, sky/'survey', hats, **pixels)
    assert make() == make() == 60
    changed = (hats/'astrovader.json').stat().st_mtime_ns
    write_catalogue(model, sky/'survey', sky/'one.parquet') # made anew, as the command does
    assert make() == 60 and (hats/'astrovader.json').stat().st_mtime_ns == changed
    with pytest.raises(BadInput, match='other pixels'): make(rows=10)
    with pytest.raises(BadInput, match='another catalogue'):
        catalogue(model, sky/'survey', tmp_path/'other.parquet', scaling='tempered')
        write_hats(tmp_path/'other.parquet', sky/'survey', hats)
    (hats/'astrovader.json').unlink()
    with pytest.raises(BadInput, match='exists already'): make()

def test_hats_killed_begins_again(sky, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr('astrovader.infer.hats.write_json', _killed)
        with pytest.raises(Killed): write_hats(sky/'one.parquet', sky/'survey', tmp_path/'hats')
    assert not (tmp_path/'hats').exists()
    assert write_hats(sky/'one.parquet', sky/'survey', tmp_path/'hats') == 60
    assert [file.name for file in tmp_path.iterdir()] == ['hats']

def test_hats_of_a_damaged_part_is_refused(sky, tmp_path):
    shutil.copytree(sky/'parts.parquet', tmp_path/'parts.parquet')
    part = tmp_path/'parts.parquet/part-00001.parquet'
    whole = part.read_bytes()
    for i in np.linspace(4, len(whole)-5, 30).astype(int):
        data = bytearray(whole)
        data[i] ^= 4
        part.write_bytes(data)
        with pytest.raises(BadInput, match='part-00001.parquet'): write_hats(tmp_path/'parts.parquet', sky/'survey', tmp_path/'hats')
    assert not (tmp_path/'hats').exists()

def test_a_damaged_part_is_made_again(model, sky, tmp_path, capsys):
    out = tmp_path/'parts.parquet'
    shutil.copytree(sky/'parts.parquet', out)
    want = read_table(out)
    whole = (out/'part-00001.parquet').read_bytes()
    for i in np.linspace(4, len(whole)-5, 12).astype(int):
        data = bytearray(whole)
        data[i] ^= 4
        (out/'part-00001.parquet').write_bytes(data)
        assert write_catalogue(model, sky/'survey', out, part_rows=20)
        assert 'part-00001.parquet is damaged, and is made again' in capsys.readouterr().out
        pd.testing.assert_frame_equal(read_table(out), want, check_exact=True)

@pytest.mark.parametrize('name,plan,why', [('rows', dict(asked=dict(part_rows='x')), 'lost the length of its parts'), ('asked', dict(asked=3), 'is not a plan'),
    ('list', [1], 'is not a plan'), ('empty', dict(), 'lost the length of its parts')])
def test_a_damaged_plan_is_one_sentence(model, sky, tmp_path, name, plan, why):
    out = tmp_path/'parts.parquet'
    shutil.copytree(sky/'parts.parquet', out)
    write_json(out/'_plan.json', plan)
    with pytest.raises(BadInput, match=why): write_catalogue(model, sky/'survey', out)

def test_a_packing_that_fails_leaves_no_folder(tmp_path):
    (tmp_path/'src').mkdir()
    (tmp_path/'src/a.png').write_text('no picture')
    for options,text in (({}, 'none of the 1 images'), (dict(n_workers='two'), 'n_workers is .two.; give a whole number')):
        with pytest.raises(BadInput, match=text): pack(tmp_path/'src', tmp_path/'deep/er/out', **options)
        assert sorted(path.name for path in tmp_path.iterdir()) == ['src']
