"Catalogues on a real Dask cluster of processes: killed workers, interruptions, and what cannot be done."
import os,signal,threading,time
from concurrent.futures import CancelledError
import numpy as np,pandas as pd,pytest,torch
from distributed import Client,KilledWorker,LocalCluster
from astrovader.infer import catalogue as cat
from astrovader.core import AstrovaderError,BadInput,BadSurvey
from astrovader.model.networks import Architecture
from astrovader.data.survey import Survey
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.tables import read_table
from astrovader.model.vade import VaDE

n,rows = 1500,50

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A survey of noise, the run of a model that was not trained, and its catalogue"
    d = tmp_path_factory.mktemp('dask')
    ids = pd.DataFrame(dict(object_id=[f'星 {i}' for i in range(n)]))
    survey = pack_arrays(np.random.default_rng(0).integers(0, 256, (n, 16, 16), dtype=np.uint8), d/'survey', ids, shard_rows=400)
    torch.manual_seed(0)
    VaDE(Architecture(16, encoder_filters=(8,8), encoder_kernels=(3,3), decoder_filters=(8,8), decoder_kernels=(3,3), n_latent=4, n_components=3),
        survey.packing).save(d/'run/model')
    cat.catalogue(d/'run', survey, d/'whole.parquet')
    return d

@pytest.fixture(scope='module')
def client():
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, Client(cluster) as c: yield c

def is_whole(place, out):
    "Every object once, in the survey's order, with the numbers of the catalogue made at once"
    want,got = read_table(place/'whole.parquet'),read_table(out)
    assert got.object_id.tolist() == want.object_id.tolist()
    pd.testing.assert_frame_equal(got, want, rtol=1e-4, atol=1e-5)
    return True

def times(out): return {o.name: o.stat().st_mtime_ns for o in out.glob('part-*')}

def kill_one(client, out, after):
    "Wait for some parts, then kill a worker that is at work; the process that was killed"
    pids = client.run(os.getpid)
    end = time.time() + 60
    while time.time() < end:
        busy = [o for o,tasks in client.processing().items() if tasks and o in pids]
        if len(times(out)) >= after and busy:
            os.kill(pids[busy[0]], signal.SIGKILL)
            return pids[busy[0]]
        time.sleep(.002)

def test_a_worker_killed_half_way_loses_nothing(place, client, tmp_path):
    out,killed = tmp_path/'killed.parquet',[]
    watch = threading.Thread(target=lambda: killed.append(kill_one(client, out, 5)))
    watch.start()
    assert cat.dask(Survey(place/'survey'), place/'run', client, out, part_rows=rows, batch=1) == out
    there = len(times(out))
    watch.join()
    assert killed[0] and killed[0] not in client.run(os.getpid).values()
    assert there == n//rows and is_whole(place, out)

def test_goes_on_at_what_is_missing(place, client, tmp_path, capsys):
    out = tmp_path/'goes-on.parquet'
    cat.dask(place/'survey', place/'run', client, out, part_rows=300)
    before = times(out)
    (out/'part-00001.parquet').unlink()
    f = out/'part-00003.parquet'
    f.write_bytes(f.read_bytes()[:-50])
    with pytest.raises(BadInput, match='not a readable table'): read_table(out)
    cat.dask(place/'survey', place/'run', client, out)
    said = capsys.readouterr().out
    assert '3 of 5 parts exist already' in said and 'part-00003.parquet is damaged, and is made again' in said
    after = times(out)
    assert {o for o in before if after[o] != before[o]} == {'part-00001.parquet', 'part-00003.parquet'} and is_whole(place, out)

def test_model_in_memory_and_extremes_of_the_whole_survey(place, client, tmp_path):
    model = VaDE.load(place/'run/model')
    out = cat.dask(Survey(place/'survey'), model, client, tmp_path/'minmax.parquet', scaling='minmax', part_rows=200)
    want = cat.catalogue(model, Survey(place/'survey'), scaling='minmax')
    pd.testing.assert_frame_equal(read_table(out), want, rtol=1e-3, atol=1e-5)
    assert not (out/'.run').exists()

def test_what_cannot_be_done_is_said_in_one_sentence(place, client, tmp_path):
    large = pack_arrays(sky(5, 32)[0], tmp_path/'large')
    with pytest.raises(BadSurvey, match='--like'): cat.dask(large, place/'run', client, tmp_path/'out.parquet')
    with pytest.raises(BadInput, match='end in .parquet'): cat.dask(place/'survey', place/'run', client, tmp_path/'out.csv')
    with pytest.raises(BadInput, match='at least 1'): cat.dask(place/'survey', place/'run', client, tmp_path/'out.parquet', part_rows=-1)
    (tmp_path/'mine.parquet').mkdir()
    (tmp_path/'mine.parquet/thesis.tex').touch()
    with pytest.raises(BadInput, match='something else'): cat.dask(place/'survey', place/'run', client, tmp_path/'mine.parquet')
    assert not (tmp_path/'out.parquet').exists() and [o.name for o in (tmp_path/'mine.parquet').iterdir()] == ['thesis.tex']

def test_what_a_worker_finds_is_told_here(place, client, tmp_path, monkeypatch):
    monkeypatch.setattr(cat, 'model_digest', lambda _: 'another')
    with pytest.raises(BadInput, match='a worker finds another model'): cat.dask(place/'survey', place/'run', client, tmp_path/'out.parquet', retries=0)
    assert not times(tmp_path/'out.parquet')

@pytest.mark.parametrize('error,why', [(KilledWorker('a', None, 3), 'again and again'), (CancelledError(), 'cluster is gone')])
def test_the_end_of_a_cluster_is_one_sentence(error, why):
    class Future:
        def result(self): raise error
    with pytest.raises(AstrovaderError, match=why): cat._result(Future())
