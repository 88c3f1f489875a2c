"Catalogues and packing on a real Dask cluster of processes: killed workers, interruptions, and refused requests."
import os,signal,threading,time,zipfile
from concurrent.futures import CancelledError
import numpy as np,pandas as pd,pytest,torch
from distributed import Client,KilledWorker,LocalCluster
from astropy.io import fits
from PIL import Image
from astrovader import Survey,catalogue,pack,pack_arrays,tasks
from astrovader.core import AstrovaderError,BadInput,BadSurvey,read_json
from astrovader.data import pack as packing,pieces
from astrovader.data.synth import sky
from astrovader.infer.cluster import catalogue_on_dask
from astrovader.model import inference
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.tables import read_table

n_galaxies,part_rows = 1500,50

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A survey of noise, the run of an untrained model, and its catalogue in one file"
    folder = tmp_path_factory.mktemp('dask')
    ids = pd.DataFrame(dict(object_id=[f'星 {i}' for i in range(n_galaxies)]))
    noise = np.random.default_rng(0).integers(0, 256, (n_galaxies, 16, 16), dtype=np.uint8)
    survey = pack_arrays(noise, folder/'survey', ids, shard_rows=400)
    torch.manual_seed(0)
    widths = dict(encoder_filters=(8,8), encoder_kernels=(3,3), decoder_filters=(8,8), decoder_kernels=(3,3))
    VaDE(Architecture(16, n_latent=4, n_components=3, **widths), survey.packing).save(folder/'run/model')
    catalogue(folder/'run', survey, folder/'whole.parquet')
    return folder

@pytest.fixture(scope='module')
def client():
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as workers, Client(workers) as c: yield c

def is_whole(place, out):
    "Every object once, in the survey's order, with the numbers of the catalogue in one file"
    want,got = read_table(place/'whole.parquet'),read_table(out)
    assert got.object_id.tolist() == want.object_id.tolist()
    pd.testing.assert_frame_equal(got, want, rtol=1e-4, atol=1e-5)
    return True

def times(out): return {part.name: part.stat().st_mtime_ns for part in out.glob('part-*')}

def kill_one(client, made, after):
    "Wait until `made()` holds some parts, then kill a busy worker; the process that was killed"
    processes = client.run(os.getpid)
    end = time.time() + 60
    while time.time() < end:
        busy = [worker for worker,tasks in client.processing().items() if tasks and worker in processes]
        if len(made()) >= after and busy:
            os.kill(processes[busy[0]], signal.SIGKILL)
            return processes[busy[0]]
        time.sleep(.002)

def test_a_worker_killed_half_way_loses_nothing(place, client, tmp_path):
    out,killed = tmp_path/'killed.parquet',[]
    watch = threading.Thread(target=lambda: killed.append(kill_one(client, lambda: times(out), 5)))
    watch.start()
    assert catalogue_on_dask(place/'run', Survey(place/'survey'), out, client, part_rows=part_rows, batch=1) == out
    n_parts = len(times(out))
    watch.join()
    assert killed[0] and killed[0] not in client.run(os.getpid).values()
    assert n_parts == n_galaxies//part_rows and is_whole(place, out)

def test_missing_and_damaged_parts_are_made_again(place, client, tmp_path, capsys):
    out = tmp_path/'resumed.parquet'
    catalogue_on_dask(place/'run', place/'survey', out, client, part_rows=300)
    before = times(out)
    (out/'part-00001.parquet').unlink()
    damaged = out/'part-00003.parquet'
    damaged.write_bytes(damaged.read_bytes()[:-50])
    with pytest.raises(BadInput, match='not a readable table'): read_table(out)
    catalogue_on_dask(place/'run', place/'survey', out, client)
    printed = capsys.readouterr().out
    assert '3 of 5 parts' in printed and 'part-00003.parquet is damaged' in printed
    after = times(out)
    assert {name for name in before if after[name] != before[name]} == {'part-00001.parquet', 'part-00003.parquet'} and is_whole(place, out)

def test_model_in_memory_and_extremes_of_the_whole_survey(place, client, tmp_path):
    model = VaDE.load(place/'run/model')
    out = catalogue_on_dask(model, Survey(place/'survey'), tmp_path/'minmax.parquet', client, scaling='minmax', part_rows=200)
    pd.testing.assert_frame_equal(read_table(out), catalogue(model, Survey(place/'survey'), scaling='minmax'), rtol=1e-3, atol=1e-5)
    assert not list(out.glob('.run*'))

def test_the_former_name_and_argument_order_work(place, client, tmp_path):
    from astrovader.catalogue import dask
    assert is_whole(place, dask(Survey(place/'survey'), place/'run', client, tmp_path/'former.parquet', part_rows=500))

def test_bad_requests_are_refused_before_any_work(place, client, tmp_path):
    large = pack_arrays(sky(5, 32)[0], tmp_path/'large')
    with pytest.raises(BadSurvey, match='--like'): catalogue_on_dask(place/'run', large, tmp_path/'out.parquet', client)
    with pytest.raises(BadInput, match='end in .parquet'): catalogue_on_dask(place/'run', place/'survey', tmp_path/'out.csv', client)
    with pytest.raises(BadInput, match='at least 1'): catalogue_on_dask(place/'run', place/'survey', tmp_path/'out.parquet', client, part_rows=-1)
    mine = tmp_path/'mine.parquet'
    mine.mkdir()
    (mine/'thesis.tex').touch()
    with pytest.raises(BadInput, match='something else'): catalogue_on_dask(place/'run', place/'survey', mine, client)
    assert not (tmp_path/'out.parquet').exists() and [file.name for file in mine.iterdir()] == ['thesis.tex']

def test_a_worker_that_finds_another_model_is_reported(place, client, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, 'model_digest', lambda _: 'another')
    with pytest.raises(BadInput, match='a worker finds another model'):
        catalogue_on_dask(place/'run', place/'survey', tmp_path/'out.parquet', client, retries=0)
    assert not times(tmp_path/'out.parquet')

@pytest.mark.parametrize('error,why', [(KilledWorker('part', None, 3), 'killed its workers'), (CancelledError(), 'cluster is gone')])
def test_the_end_of_a_cluster_is_one_sentence(error, why):
    class Future:
        def result(self): raise error
    with pytest.raises(AstrovaderError, match=why): tasks.result(Future())

def test_a_closed_client_is_one_sentence(place, tmp_path):
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as workers, Client(workers) as closed: pass
    with pytest.raises(BadInput, match='closed; connect a new'): catalogue_on_dask(place/'run', place/'survey', tmp_path/'out.parquet', closed)

# Packing

@pytest.fixture(scope='module')
def sky_folder(tmp_path_factory):
    "Galaxies as files, of which every eleventh is none, and a table of them"
    folder = tmp_path_factory.mktemp('packing')
    (folder/'sky').mkdir()
    galaxies,truth = sky(400, 64, seed=5)
    for i,(image,name) in enumerate(zip(galaxies, truth.object_id)):
        if i % 11 == 3: (folder/f'sky/{name}.png').write_text('<html>404 Not Found</html>')
        else: Image.fromarray(image[0]).save(folder/f'sky/{name}.png')
    return folder/'sky',truth

def options_of(sky_folder): return dict(src=sky_folder[0], table=sky_folder[1], size=32, framing='canonical', shard_rows=70)

@pytest.fixture(scope='module')
def serial(sky_folder, tmp_path_factory): return pack(out=tmp_path_factory.mktemp('serial')/'survey', n_workers=0, **options_of(sky_folder))

@pytest.fixture
def small_pieces(monkeypatch): monkeypatch.setattr(pieces, 'most_files', 12)

def require_same(survey, want):
    "The same bytes in every file, but for the provenance; and nothing left over"
    survey.verify()
    metas = [read_json(one.path/'survey.json') for one in (survey, want)]
    assert len({str({name: value for name,value in meta.items() if name not in ('provenance', 'checksum')}) for meta in metas}) == 1
    assert [file.name for file in sorted(survey.path.iterdir())] == [file.name for file in sorted(want.path.iterdir())]
    assert len(want) == 363 and len(want.meta['shards']) == 6

def test_packing_on_a_cluster_is_the_same_with_a_killed_worker(sky_folder, serial, client, small_pieces, tmp_path, capsys):
    out,killed = tmp_path/'survey',[]
    def made(): return list(out.glob('.packing/pieces-*/piece-*.npz'))
    watch = threading.Thread(target=lambda: killed.append(kill_one(client, made, 3)))
    watch.start()
    survey = pack(out=out, client=client, **options_of(sky_folder))
    watch.join()
    assert killed[0] and killed[0] not in client.run(os.getpid).values()
    require_same(survey, serial)
    assert 'packing: 400/400' in capsys.readouterr().out

@pytest.fixture(scope='module')
def kinds(sky_folder, tmp_path_factory):
    "The same galaxies in a zip, an array, a list of paths and a FITS file"
    folder,names = tmp_path_factory.mktemp('kinds'),sorted(sky_folder[0].iterdir())[:30]
    with zipfile.ZipFile(folder/'sky.zip', 'w') as archive:
        for name in names: archive.write(name, name.name)
    galaxies = sky(30, 64, seed=5)[0]
    np.save(folder/'sky.npy', galaxies)
    (folder/'sky.txt').write_text('\n'.join([*map(str, names), 'nowhere.png']))
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(image[0].astype('f4')) for image in galaxies)]).writeto(folder/'sky.fits')
    return folder

@pytest.mark.parametrize('name,bits', [('sky.zip', 8), ('sky.npy', 16), ('sky.txt', 8), ('sky.fits', 16)])
def test_every_kind_of_source_is_packed_on_a_cluster(kinds, client, small_pieces, tmp_path, name, bits):
    one,two = (pack(kinds/name, tmp_path/f'{i}', size=24, shard_rows=11, bits=bits, **workers) for i,workers in enumerate((dict(n_workers=0), dict(client=client))))
    assert 27 <= len(one) == len(two) <= 30
    assert all(one.meta[key] == two.meta[key] for key in ('shards', 'index_sha256', 'rejected_sha256', 'packing'))

class Stopping:
    "Interrupts when the shard with this number is to be filled"
    def __init__(self, n): self.n,self.fill = n,packing._fill_shard
    def __call__(self, *args):
        self.n -= 1
        if self.n < 0: raise KeyboardInterrupt
        return self.fill(*args)

@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('then', [True, False])
def test_interrupted_packing_goes_on_with_and_without_a_cluster(sky_folder, serial, client, small_pieces, tmp_path, monkeypatch, capsys, first, then):
    def workers(on_cluster): return dict(client=client) if on_cluster else dict(n_workers=0)
    out,framed = tmp_path/'survey',[]
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(packing, '_fill_shard', Stopping(3))
        pack(out=out, **workers(first), **options_of(sky_folder))
    assert 'stopped with 3 shards finished' in capsys.readouterr().out and not (out/'survey.json').exists()
    start = read_json(out/'.packing/part-00002.json')['records'][-1][0] + 1
    stored = {file.name for file in out.glob('.packing/pieces-*/piece-*.npz')}
    assert bool(stored) == first and (not first or min(stored) == f'piece-{start//12:09d}.npz')
    prepare = packing.prepare
    monkeypatch.setattr(packing, 'prepare', lambda images, recipe: framed.extend(images) or prepare(images, recipe))
    require_same(pack(out=out, **workers(then), **options_of(sky_folder)), serial)
    assert f'continuing after {start} of 400' in capsys.readouterr().out
    if then: assert not framed
    else: assert len(framed) <= 400-start - 12*max(0, first*(len(stored)-1)-2) # but for pieces after a gap

def test_a_cluster_that_ends_while_packing_is_one_sentence(sky_folder, serial, small_pieces, tmp_path):
    out = tmp_path/'survey'
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as workers, Client(workers) as short:
        def end():
            while not list(out.glob('.packing/pieces-*/piece-*.npz')): time.sleep(.01)
            workers.close()
        watch = threading.Thread(target=end)
        watch.start()
        with pytest.raises(AstrovaderError, match='the Dask cluster is gone; the same call resumes'): pack(out=out, client=short, **options_of(sky_folder))
        watch.join()
    require_same(pack(out=out, n_workers=0, **options_of(sky_folder)), serial)

def test_impossible_packing_on_a_cluster_is_refused_before_any_work(sky_folder, client, tmp_path, monkeypatch):
    options = options_of(sky_folder) | dict(out=tmp_path/'survey')
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as workers, Client(workers) as closed: pass
    monkeypatch.chdir(sky_folder[0].parent)
    for wrong,why in ((dict(client=closed), 'closed; connect a new'), (dict(client='tcp://here'), 'give a distributed.Client'),
        (dict(client=client, n_workers=2), 'leave one of them out'), (dict(client=client, src='sky'), 'give absolute paths')):
        with pytest.raises(BadInput, match=why): pack(**options | wrong)
    assert not (tmp_path/'survey').exists()
