"Packing: processes, interruption, and files that are broken."
import json,os,signal,subprocess,sys,time
import numpy as np,pandas as pd,pytest
from pathlib import Path
from zipfile import ZipFile
from astropy.io import fits
from PIL import Image
from astrovader.core import AstrovaderError,BadInput,BadSurvey,sha256_of
from astrovader.data.cutouts import Flag
from astrovader.data.survey import Survey
from astrovader.data.pack import pack,pack_arrays
from astrovader.data.synth import sky
from side_by_side import Command

data = Path(__file__).parents[2]/'shared/data'
needs_data = pytest.mark.skipif(not data.is_dir(), reason='needs the real images in ../shared/data')

def shards(out): return {o.name: o.read_bytes() for o in sorted(Path(out).glob('shard-*.npy'))}

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "150 simulated galaxies as PNG, and four files that are none."
    d = tmp_path_factory.mktemp('sky')
    for i,x in enumerate(sky(150, 32)[0]): Image.fromarray(x[0]).save(d/f'g{i}.png')
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(d/'whole.jpg', quality=95)
    (d/'g20_truncated.jpg').write_bytes((d/'whole.jpg').read_bytes()[:400])
    (d/'whole.jpg').unlink()
    (d/'g30_text.png').write_text('not a galaxy')
    (d/'g40_nothing.jpg').touch()
    np.save(d/'g50_flux.npy', np.ones((32, 32)))
    return d

def test_bad_files_are_listed_with_reasons(folder, tmp_path):
    s = pack(folder, tmp_path/'out', size=32, n_workers=0)
    why = s.rejected().set_index('object_id').reason
    assert len(s) == s.meta['n'] == 150 and len(why) == s.meta['n_rejected'] == 4
    for o,text in dict(g20_truncated='truncated', g30_text='not an image', g40_nothing='empty', g50_flux='float32 pixels').items(): assert text in why[o].lower()
    assert list(s.ids()) == [f'g{i}' for i in range(150)]
    assert np.array_equal(s.images([7, 149]), sky(150, 32)[0][[7, 149]])

def test_workers_and_shards_change_nothing(folder, tmp_path):
    one,two = (pack(folder, tmp_path/str(n), size=24, n_workers=n, shard_rows=32) for n in (1, 2))
    assert len(shards(one.path)) == 5 and shards(one.path) == shards(two.path)
    pd.testing.assert_frame_equal(one.index(), two.index())
    assert np.array_equal(one.images(slice(None)), pack(folder, tmp_path/'big', size=24, n_workers=0).images(slice(None)))
    two.verify()

def test_zip_list_and_table_give_the_same(folder, tmp_path):
    names = [f'g{i}.png' for i in range(20)]
    with ZipFile(tmp_path/'a.zip', 'w') as z:
        for o in names: z.write(folder/o, o)
    (tmp_path/'a.txt').write_text('\n'.join(str(folder/o) for o in names))
    pd.DataFrame(dict(path=[str(folder/o) for o in names], z=np.arange(20)/10)).to_parquet(tmp_path/'a.parquet')
    zipped,listed,table = (pack(tmp_path/f'a.{o}', tmp_path/o, size=16, n_workers=0) for o in ('zip', 'txt', 'parquet'))
    assert shards(zipped.path) == shards(listed.path) == shards(table.path)
    assert list(zipped.ids()) == list(listed.ids()) == list(table.ids()) and list(table.index().z) == list(np.arange(20)/10)

script = '''
import sys
from astrovader.data import pack as packing
from astrovader.core import progress
from astrovader.data.pack import pack
def slow(items, what, total):
    import time
    for o in progress(items, what, total):
        time.sleep(.01)
        yield o
packing.progress = slow
pack(sys.argv[1], sys.argv[2], size=24, n_workers=int(sys.argv[3]), shard_rows=32)
'''

def start(folder, out, n_workers, script=script):
    "Pack slowly in another process, which Ctrl-C reaches with its workers."
    (out.parent/'script.py').write_text(script)
    return Command(out.parent/'script.py', folder, out, n_workers, start_new_session=True)

def interrupted(folder, out, n_workers, sig=signal.SIGINT, again=(), script=script):
    "Pack slowly, and interrupt that when two shards are there."
    p = start(folder, out, n_workers, script)
    end = time.time() + 60
    while not (out/'.packing/part-00001.json').exists() and time.time() < end and p.poll() is None: time.sleep(.01)
    os.killpg(p.pid, sig)
    for o in again:
        time.sleep(o)
        if p.poll() is None: p.send_signal(sig)
    try: said,err = p.communicate(timeout=60)
    finally: p.kill()
    assert p.returncode != 0 and not (out/'survey.json').exists(), err
    return said,err

@pytest.mark.parametrize('n_workers', [0, 2])
def test_interrupted_packing_goes_on(folder, tmp_path, n_workers):
    whole,out = pack(folder, tmp_path/'whole', size=24, n_workers=0, shard_rows=32),tmp_path/'out'
    said,_ = interrupted(folder, out, n_workers)
    assert 'shards finished; the same command continues' in said
    with pytest.raises(BadSurvey, match='not finished packing'): Survey(out)
    with pytest.raises(BadInput, match='another size'): pack(folder, out, size=16, n_workers=0, shard_rows=32)
    kept = {o.name: o.stat().st_mtime_ns for o in out.glob('shard-*.npy')}
    assert 2 <= len(kept) < 5
    s = pack(folder, out, size=24, n_workers=0, shard_rows=32)
    assert shards(out) == shards(whole.path) and all((out/k).stat().st_mtime_ns == o for k,o in kept.items())
    pd.testing.assert_frame_equal(s.index(), whole.index())
    pd.testing.assert_frame_equal(s.rejected(), whole.rejected())
    assert {o.name for o in out.iterdir()} == {o.name for o in whole.path.iterdir()}

@pytest.mark.parametrize('wait', [.001, .005])
def test_an_impatient_user_is_not_kept_waiting(tmp_path, wait):
    "Ctrl-C again and again, while the workers still have much to do."
    (tmp_path/'src').mkdir()
    for i in range(40): Image.fromarray(np.zeros((1000, 1000), np.uint8)).save(tmp_path/f'src/{i}.png')
    pd.DataFrame(dict(object_id=range(2000), path=[f'src/{i % 40}.png' for i in range(2000)])).to_csv(tmp_path/'a.csv', index=False)
    interrupted(tmp_path/'a.csv', tmp_path/'out', 2, again=[wait, wait], script=script.replace('time.sleep(.01)', 'pass'))

def test_a_terminal_sees_a_bar(folder, tmp_path):
    ours,theirs = os.openpty()
    p = subprocess.Popen([sys.executable, '-c', script, str(folder), str(tmp_path/'out'), '0'], stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b''
    try:
        while part := os.read(ours, 4096): seen += part
    except OSError: pass # how Linux says that the other end is closed
    assert p.wait(60) == 0 and b'100.00% [154/154' in seen and b'packing' in seen and b'150 images packed' in seen, seen

def test_packing_begun_by_version_0_1_continues(folder, tmp_path):
    "Its plan and records, as it wrote them; `angle` is the former name of `orientation`."
    whole = pack(folder, tmp_path/'whole', size=24, n_workers=0, shard_rows=32, framing='canonical')
    interrupted(folder, tmp_path/'out', 0, script=script.replace('size=24', "size=24, framing='canonical'"))
    plan = json.loads((tmp_path/'out/.packing/plan.json').read_text())
    for name in 'contents', 'checksum': del plan[name]
    del plan['asked']['bits']
    (tmp_path/'out/.packing/plan.json').write_text(json.dumps(plan))
    assert list(plan) == ['asked', 'packing'] and plan['asked'] | dict(bits=None) == whole.meta['asked'] and plan['packing'] == whole.packing
    assert list(plan['asked']) == ['size', 'framing', 'bands', 'grey', 'crop', 'radii', 'shard_rows', 'stretch', 'like', 'files', 'ids', 'table']
    for path in (tmp_path/'out/.packing').glob('part-*.json'):
        part = json.loads(path.read_text())
        del part['checksum']
        assert list(part) == ['rows', 'sha256', 'records']
        path.write_text(json.dumps(part).replace('"orientation"', '"angle"'))
    s = pack(folder, tmp_path/'out', size=24, n_workers=0, shard_rows=32, framing='canonical')
    assert shards(s.path) == shards(whole.path)
    pd.testing.assert_frame_equal(s.index(), whole.index())

def test_former_module_has_what_moved():
    import importlib
    former = importlib.import_module('astrovader.survey')
    assert former.pack is pack and former.pack_arrays is pack_arrays and former.Survey is Survey
    from astrovader import pack as from_top
    assert from_top is pack
    with pytest.raises(AttributeError): former.nothing

def test_killed_packing_goes_on(folder, tmp_path):
    interrupted(folder, tmp_path/'out', 2, signal.SIGKILL)
    pack(folder, tmp_path/'out', size=24, n_workers=0, shard_rows=32)
    assert shards(tmp_path/'out') == shards(pack(folder, tmp_path/'whole', size=24, n_workers=0, shard_rows=32).path)

def test_workers_end_with_their_parent(folder, tmp_path):
    p = start(folder, tmp_path/'out', 2)
    end = time.time() + 60
    while not (tmp_path/'out/.packing/part-00000.json').exists() and time.time() < end: time.sleep(.01)
    p.kill()
    p.communicate()
    def alive():
        try: return os.killpg(p.pid, 0) is None
        except ProcessLookupError: return False
    while alive() and time.time() < end: time.sleep(.05)
    assert not alive()

def test_a_script_without_a_main_guard_can_pack(folder, tmp_path):
    (tmp_path/'s.py').write_text(f'print("begins")\nfrom astrovader.data.pack import pack\npack({str(folder)!r}, {str(tmp_path/"out")!r}, size=16, n_workers=2)\n')
    p = subprocess.run([sys.executable, str(tmp_path/'s.py')], capture_output=True, text=True, timeout=120)
    assert p.returncode == 0 and p.stdout.count('begins') == 1, p.stderr
    assert len(Survey(tmp_path/'out')) == 150

def die(srcs, recipe): os._exit(1)

def test_a_dying_worker_is_told_in_one_sentence(folder, tmp_path, monkeypatch):
    from astrovader.data import pack as packing
    monkeypatch.setattr(packing, 'prepare', die)
    (tmp_path/'.packing').mkdir()
    with pytest.raises(AstrovaderError, match='a worker process died'):
        packing._pack_files(packing.Packing(tmp_path), packing.find_images(folder), packing.Recipe(16), 32, 2)

def test_fits_fluxes(tmp_path):
    r = np.random.default_rng(0)
    (tmp_path/'src').mkdir()
    flux = r.normal(10, 1, (20, 40, 40)).astype('f4')
    flux[:,15:25,15:25] += 50*r.random((20, 1, 1))
    flux[3,:2] = np.nan
    flux[4] = np.nan
    for i,x in enumerate(flux): fits.writeto(tmp_path/f'src/{i}.fits', x)
    (tmp_path/'src/5.fits').write_bytes((tmp_path/'src/5.fits').read_bytes()[:4000])
    s = pack(tmp_path/'src', tmp_path/'out', size=20, n_workers=0)
    why = s.rejected().set_index('object_id').reason
    assert set(why.index) == {'4', '5'} and 'no finite pixel' in why['4'] and 'cannot be read' in why['5']
    assert s.index().set_index('object_id').n_nan['3'] == 80 and s.meta['n_filled'] == 1
    assert s.packing['stretch']['kind'] == 'asinh' and s.images(slice(None)).std() > 10
    other = pack(tmp_path/'src', tmp_path/'like', size=99, like=s, n_workers=0)
    assert other.packing == s.packing and shards(other.path) == shards(s.path)
    other.require_like(s)
    own = pack(tmp_path/'src', tmp_path/'own', size=20, stretch='per_image', n_workers=0)
    with pytest.raises(BadSurvey, match='stretch .* pack it again with --like'): own.require_like(s.packing)
    with pytest.raises(BadInput, match='none of the 20 images .* stretch of the survey is for uint8'):
        pack(tmp_path/'src', tmp_path/'bytes', like=pack_arrays(np.zeros((1, 1, 20, 20), np.uint8), tmp_path/'toy'), n_workers=0)
    assert not (tmp_path/'bytes').exists()

def test_bands(tmp_path):
    (tmp_path/'src').mkdir()
    r = np.random.default_rng(0)
    for i in range(6): Image.fromarray(r.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path/f'src/{i}.png')
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path/'src/one.png')
    a,b = (pack(tmp_path/'src', tmp_path/o, size=8, bands=o, n_workers=0) for o in ('rgb', 'all'))
    assert a.shape == b.shape == (3, 8, 8) and list(b.rejected().reason) == ['has 1 band where 3 are needed']
    assert len(a) == 7 and list(a.ids()[(a.index()['flags'].to_numpy() & int(Flag.GREY)) > 0]) == ['one']
    assert pack(tmp_path/'src', tmp_path/'default', size=8, n_workers=0).packing == a.packing
    assert np.array_equal(a.images([2])[0], np.asarray(Image.open(tmp_path/'src/2.png')).transpose(2, 0, 1))
    luma = pack(tmp_path/'src', tmp_path/'luma', size=8, grey='luma', n_workers=0)
    assert abs(luma.images([2])[0,0].astype(int) - np.asarray(Image.open(tmp_path/'src/2.png').convert('L'))).max() <= 1

def test_what_cannot_be_packed(folder, tmp_path):
    (tmp_path/'empty').mkdir()
    (tmp_path/'foreign').mkdir()
    (tmp_path/'foreign/thesis.txt').write_text('two years of work')
    for src,out,text in (('empty', 'o', 'has no images'), ('gone', 'o', 'does not exist'), (folder, 'foreign', 'exists already')):
        with pytest.raises(BadInput, match=text): pack(tmp_path/src, tmp_path/out, n_workers=0)
    assert (tmp_path/'foreign/thesis.txt').read_text() == 'two years of work' and not (tmp_path/'o').exists()
    for bad,text in (dict(framing='paper'), "use 'survey'"), (dict(radii=4.), "is for framing='canonical'"), (dict(stretch='galaxy'), "needs framing='canonical'"), (dict(bands='blue'), "'rgb'"), (dict(size=0), 'number of pixels'), \
            (dict(stretch='log'), 'per_image'), (dict(crop=999), 'none of the'), (dict(table=pd.DataFrame(dict(object_id=['x']))), 'no object id'):
        with pytest.raises(BadInput, match=text): pack(folder, tmp_path/'o', n_workers=0, **bad)
    pack(folder, tmp_path/'ok', size=8, n_workers=0)
    with pytest.raises(BadInput, match='packed already'): pack(tmp_path/'ok', tmp_path/'o')
    (tmp_path/'file').touch()
    with pytest.raises(BadInput, match='cannot be written|exists already'): pack(folder, tmp_path/'file/out', n_workers=0)

def test_same_names_in_two_folders(tmp_path):
    for o in 'ab':
        (tmp_path/'src'/o).mkdir(parents=True)
        for i in range(2): Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path/f'src/{o}/{i}.png')
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path/'src/b/7.png')
    assert list(pack(tmp_path/'src', tmp_path/'out', size=4, n_workers=0).ids()) == ['a/0', 'a/1', 'b/0', 'b/1', '7']

def test_out_inside_src(folder, tmp_path):
    (tmp_path/'a.npy').write_bytes(b'')
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path/'b.png')
    assert len(pack(tmp_path, tmp_path/'out', size=9, n_workers=0)) == len(pack(tmp_path, tmp_path/'out', size=9, n_workers=0)) == 1

def test_opening_does_not_read(tmp_path):
    n,rows = 200_000,8192
    s = pack_arrays(np.zeros((2, 1, 8, 8), np.uint8), tmp_path/'s')
    meta = json.loads((s.path/'survey.json').read_text())
    from astrovader.data.survey import npy_header
    sizes = [min(rows, n-i) for i in range(0, n, rows)]
    for i,o in enumerate(sizes):
        with open(s.path/f'shard-{i:05d}.npy', 'wb') as f:
            f.write(npy_header((o, 1, 8, 8)))
            f.truncate(128 + o*64)
    pd.DataFrame(dict(object_id=np.arange(n).astype(str))).to_parquet(s.path/'index.parquet', row_group_size=rows)
    digests = ['not read']*(len(sizes)-1) + [sha256_of(s.path/f'shard-{len(sizes)-1:05d}.npy')]
    meta.update(n=n, shards=[dict(file=f'shard-{i:05d}.npy', rows=o, sha256=digests[i]) for i,o in enumerate(sizes)], index_sha256=sha256_of(s.path/'index.parquet'))
    del meta['checksum']
    (s.path/'survey.json').write_text(json.dumps(meta))
    s = Survey(s.path)
    assert len(s) == n and s._ids is None and not s._maps
    assert list(s.ids([n-1, 5])) == [str(n-1), '5'] and len(s._maps) == 0
    s.images([n-1, n-2])
    assert len(s._maps) == 1
    with pytest.raises(BadSurvey, match='has changed since'): s.verify()

@needs_data
def test_real_formats(tmp_path):
    s = pack(data/'fits', tmp_path/'fits', size=48, n_workers=0)
    assert len(s) == 8 and len(s.rejected()) == 0 and s.packing['stretch']['kind'] == 'asinh'
    five = pack(data/'fits', tmp_path/'all', size=48, bands='all', n_workers=0)
    assert five.shape[0] in (1, 5) and len(five) + len(five.rejected()) == 8
    nested = pack(data/'gz2_rows', tmp_path/'rows', size=48, n_workers=0)
    assert len(nested) >= 20 and len(set(nested.ids())) == len(nested)

@needs_data
def test_real_votes_join(tmp_path):
    names = ZipFile(data/'gz2_votes/images.zip').namelist()[:60]
    with ZipFile(data/'gz2_votes/images.zip') as a, ZipFile(tmp_path/'some.zip', 'w') as b:
        for o in names: b.writestr(o, a.read(o))
    s = pack(tmp_path/'some.zip', tmp_path/'out', size=32, table=data/'gz2_votes/votes.csv.gz', n_workers=0)
    assert s.meta['joins'][0]['matched'] == 60 and s.index(['ra']).ra.notna().all()
