"Surveys of 16 bits: packing, interruption, damage, training, and models that take either."
import os,shutil
import numpy as np,pytest
from astropy.io import fits
from astrovader.core import BadInput,BadSurvey,read_json,write_json
from astrovader.data.cutouts import Stretch
from astrovader.data.pack import pack,pack_arrays
from astrovader.data.survey import Survey
from astrovader.infer.catalogue import write_catalogue
from astrovader.infer.generate import write_generated
from astrovader.infer.verify import verify
from astrovader.model.inference import Inference,latents
from astrovader.train.learner import train
from astrovader.tables import read_table

@pytest.fixture(scope='module')
def fluxes(tmp_path_factory):
    "120 galaxies as FITS, with a disc of 0.1% of their peaks."
    folder,r = tmp_path_factory.mktemp('fluxes'),np.random.default_rng(0)
    v,u = np.mgrid[:32,:32] - 15.5
    for i in range(120):
        q,width = r.uniform(.3, 1),r.uniform(1.5, 4)
        x = np.exp(-np.hypot(u, v/q)/width) + .001*(np.hypot(u, v) < 13) + r.normal(0, 1e-4, u.shape)
        fits.writeto(folder/f'{i:03}.fits', x.astype(np.float32))
    return folder

@pytest.fixture(scope='module')
def surveys(fluxes, tmp_path_factory):
    out = tmp_path_factory.mktemp('surveys')
    linear = Stretch(black=0, white=1.1, pixels='float32')
    return [pack(fluxes, out/str(bits), 32, stretch=linear, bits=bits, shard_rows=50, n_workers=0) for bits in (8, 16)]

@pytest.fixture(scope='module')
def run(surveys, tmp_path_factory):
    run = tmp_path_factory.mktemp('run')/'run'
    short = dict(epochs_alpha=2, epochs_anneal=1, epochs_static=1, n_periods=1)
    train(surveys[1], run, 'small', n_components=3, n_latent=4, batch_size=32, device='cpu', **short)
    return run

def test_the_images_are_the_same_up_to_rounding(surveys):
    coarse,fine = (s.images(slice(None)) for s in surveys)
    assert (coarse.dtype, fine.dtype) == (np.uint8, np.uint16) and (np.rint(fine/257) == coarse).all()
    assert len(np.unique(fine)) > 20*len(np.unique(coarse))
    assert 'bits' not in surveys[0].packing and surveys[1].packing == surveys[0].packing | dict(bits=16)

def test_a_model_takes_either(surveys, run, tmp_path):
    z = []
    for s in surveys:
        one = Inference.open(run, s, draw_seed=None, show_progress=False)
        z.append(np.concatenate([x for part in one.map(latents, [(0, len(s))]) for x in part]))
        write_catalogue(run, s, file := tmp_path/f'{s.dtype}.parquet')
        assert len(read_table(file)) == 120
    assert abs(z[0]-z[1]).max() < .05*z[1].std()
    made = write_generated(run, tmp_path/'made', 10)
    for s in surveys: made.require_like(s)
    assert verify(run) and verify(made.path) and made.images(slice(None)).dtype == np.uint8

def test_interrupted_packing_goes_on(fluxes, surveys, tmp_path, monkeypatch):
    from astrovader.data import pack as module
    options = dict(size=32, stretch=Stretch(black=0, white=1.1, pixels='float32'), bits=16, shard_rows=50, n_workers=0)
    with monkeypatch.context() as m:
        m.setattr(module, '_finish', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt): pack(fluxes, tmp_path/'s', **options)
    (tmp_path/'s/.packing/part-00002.json').unlink()
    with pytest.raises(BadInput, match='another bits'): pack(fluxes, tmp_path/'s', **options | dict(bits=8))
    s = pack(fluxes, tmp_path/'s', **options).verify()
    assert s.meta['shards'] == surveys[1].meta['shards']

def test_damage_is_found(surveys, tmp_path):
    shutil.copytree(surveys[1].path, tmp_path/'cut')
    os.truncate(tmp_path/'cut/shard-00001.npy', 50*32*32+128)
    with pytest.raises(BadSurvey, match='102400|102528'): Survey(tmp_path/'cut')
    shutil.copytree(surveys[1].path, tmp_path/'told')
    meta = read_json(tmp_path/'told/survey.json')
    del meta['packing']['bits']
    write_json(tmp_path/'told/survey.json', meta)
    with pytest.raises(BadSurvey, match='shard-00000.npy has'): Survey(tmp_path/'told')

def test_surveys_packed_before_keep_their_request(fluxes, surveys, tmp_path):
    "The plan of an earlier version has no bits."
    shutil.copytree(surveys[0].path, tmp_path/'old')
    meta = read_json(tmp_path/'old/survey.json')
    del meta['asked']['bits']
    write_json(tmp_path/'old/survey.json', meta)
    assert len(pack(fluxes, tmp_path/'old', 32, stretch=Stretch(black=0, white=1.1, pixels='float32'), shard_rows=50, n_workers=0)) == 120

def test_arrays_of_another_type_are_refused(surveys, tmp_path):
    with pytest.raises(BadInput, match='one shape and type'): pack_arrays((s.images(slice(2)) for s in surveys), tmp_path/'mixed')
    with pytest.raises(BadInput, match='images have bits 16'): pack_arrays(surveys[1].images(slice(2)), tmp_path/'told', bits=8)
