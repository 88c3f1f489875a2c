"Canonical framing: processes, broken and odd files, colours and FITS bands, damaged surveys, and real galaxies."
import numpy as np,pandas as pd,pytest
from pathlib import Path
from zipfile import ZipFile
from astropy.io import fits
from PIL import Image
from astrovader.data.canonical import canonical,columns
from astrovader.cli import astrovader_pack
from astrovader.core import BadInput,BadSurvey
from astrovader.data.cutouts import Flag,Stretch,decode
from astrovader.data.framing import Recipe,frame
from astrovader.data.survey import Survey
from astrovader.data.pack import pack
from astrovader.data.synth import galaxies,render,stretch
from astrovader.data.unseen import unseen

data = Path(__file__).parents[2]/'shared/data'
needs_data = pytest.mark.skipif(not data.is_dir(), reason='needs the real images in ../shared/data')

def has(t, flag): return (t['flags'].to_numpy() & int(flag)) > 0

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "80 simulated galaxies as colour PNG, and files without a galaxy or without any pixels."
    d = tmp_path_factory.mktemp('sky')
    for i,x in enumerate(stretch(render(galaxies(80, 64, seed=2, artifacts=0), 64, 3))): Image.fromarray(x.transpose(1, 2, 0)).save(d/f'g{i:02d}.png')
    r = np.random.default_rng(0)
    noise = r.integers(0, 30, (64, 64, 3), np.uint8)
    star = noise.copy()
    star[50:58,50:58] = 255
    for k,x in dict(black=0*noise, noise=noise, star=star).items(): Image.fromarray(x).save(d/f'z_{k}.png')
    (d/'z_truncated.png').write_bytes((d/'g00.png').read_bytes()[:500])
    return d

def test_packing_writes_measurements_and_flags(folder, tmp_path):
    s = astrovader_pack(folder, tmp_path/'out', size=32, framing='canonical', bands='rgb', radii=4., n_workers=0)
    t = s.index().set_index('object_id')
    assert s.shape == (3, 32, 32) and s.packing['radii'] == 4 and s.packing['stretch'] == Stretch.galaxy().to_dict()
    assert list(s.rejected().object_id) == ['z_truncated'] and set(columns) <= set(t)
    lost = t.filter(like='z_', axis=0)
    assert len(lost) == 3 and has(lost, Flag.FALLBACK).all() and lost[columns].isna().all(axis=None)
    kept = t.drop(lost.index)
    assert has(kept, Flag.FALLBACK).mean() < .05 and kept.axis_ratio.dropna().between(.05, 1).all() and kept.orientation.dropna().between(0, 180).all()
    assert ((kept.axis_ratio > .9) == has(kept, Flag.ROUND)).all() and (kept.companion_x.notna() == (kept.companion_flux > 0)).all()

def test_workers_change_nothing_and_unlike_surveys_are_refused(folder, tmp_path):
    one,two = (pack(folder, tmp_path/str(n), 24, 'canonical', n_workers=n, shard_rows=40) for n in (0, 2))
    assert np.array_equal(one.images(slice(None)), two.images(slice(None)))
    pd.testing.assert_frame_equal(one.index(), two.index())
    other = pack(folder, tmp_path/'wide', 24, 'canonical', radii=8, n_workers=0)
    with pytest.raises(BadSurvey, match='radii 8.0 where the model needs 5.0'): other.require_like(one)
    with pytest.raises(BadInput, match='other framing'): pack(folder, tmp_path/'0', 24, shard_rows=40)
    for bad,text in (dict(framing='canonical', radii=-1.), 'not a width'), (dict(stretch='galaxy'), 'needs framing'), (dict(framing='canonical', stretch='log'), 'per_image'):
        with pytest.raises(BadInput, match=text): pack(folder, tmp_path/'bad', n_workers=0, **bad)
    assert not (tmp_path/'bad').exists()

def test_a_survey_packed_before_canonical_framing_existed(folder, tmp_path):
    "Records of four columns, and packings without radii, as earlier versions wrote them."
    from astrovader.core import read_json,write_json
    from astrovader.data import pack as packing
    from astrovader.data.sources import find_images
    from astrovader.data.survey import Packing
    job = Packing(tmp_path/'s')
    (job.folder/'.packing').mkdir(parents=True)
    sources = find_images(folder)
    recipe = packing._recipe(sources, 16, 'survey', 'grey', 'mean', 'survey', None, None)
    assert 'radii' not in recipe.packing()
    packing._write_shards(job, enumerate(packing._prepared(sources, 0, recipe, 0)), (1, 16, 16), 50)
    for path in job.folder.glob('.packing/part-*.json'):
        part = read_json(path)
        write_json(path, {**part, 'records': [record[:4] for record in part['records']]})
    packing._finish(job, sources.ids, sources.files, None, dict(packing=recipe.packing()))
    s = Survey(tmp_path/'s')
    assert len(s) == 83 and not set(columns) & set(s.index())
    assert np.array_equal(s.images(slice(None)), pack(folder, tmp_path/'t', 16, bands='grey', n_workers=0).images(slice(None)))

def test_five_bands_of_fits_with_gaps(tmp_path):
    (tmp_path/'src').mkdir()
    t = galaxies(24, 64, seed=9, companions=0, stars=0, artifacts=0)
    flux = render(t)*np.array([.3, .8, 1, 1.2, 1.3], np.float32)[:,None,None] + np.arange(5, dtype=np.float32)[:,None,None]
    flux[3,:,:,40:43] = np.nan
    flux[4] = np.nan
    for i,x in enumerate(flux): fits.writeto(tmp_path/f'src/{i:02d}.fits', x)
    s = pack(tmp_path/'src', tmp_path/'out', 48, 'canonical', 'all', n_workers=0)
    assert s.shape == (5, 48, 48) and s.packing['stretch']['pixels'] == 'float32' and list(s.rejected().object_id) == ['04']
    got = s.index().set_index('object_id')
    assert got.n_nan['03'] == 5*3*64 and has(got.loc[['03']], Flag.FILLED).all()
    truth = t.set_axis([f'{i:02d}' for i in range(24)]).drop('04')
    off = ((got.orientation-truth.orientation+90)%180 - 90).abs()
    assert (off[(truth.axis_ratio < .8) & (truth.kind != 'spiral')] < 3).all()
    assert s.images(slice(None)).std() > 15 and not s.images(slice(None)).max() == 0

def test_no_input_breaks_it():
    r = np.random.default_rng(1)
    for i in range(120):
        shape = int(r.integers(1, 4)),*r.integers(1, 90, 2)
        kind = i % 6
        x = r.normal(size=shape)*10.**r.integers(-20, 20) if kind == 0 else r.integers(0, 2, shape)*255. if kind == 1 else r.lognormal(0, 3, shape)
        if kind == 3: x = np.where(r.random(shape) < .3, np.nan, x)
        if kind == 4: x = x*np.exp(-np.hypot(*np.ogrid[-1:1:shape[1]*1j,-1:1:shape[2]*1j])*r.uniform(1, 30))
        if kind == 5: x = np.broadcast_to(np.arange(shape[2])*1., shape)
        x = x.astype(np.float32)
        if not np.isfinite(x).any(axis=(1, 2)).all(): continue
        c = canonical(x, int(r.integers(1, 50)), float(r.uniform(1, 12)), stretched=bool(i % 2))
        assert np.isfinite(c.image).all() and np.isfinite(c.brightness) and c.brightness > 0 and len(c.image) == shape[0], (i, kind, shape)

@needs_data
@pytest.mark.parametrize('name', ['gz2_votes', 'kaggle'])
def test_real_galaxies_are_found(name):
    with ZipFile(data/name/'images.zip') as z: xs = [decode(z.read(o)) for o in sorted(o for o in z.namelist() if o.endswith('.jpg'))[::60]]
    got = [canonical(x, 64, stretched=True) for x in xs]
    lost = np.mean([bool(c.flags & Flag.FALLBACK) for c in got])
    assert lost < .03
    turned = [canonical(np.rot90(x, 1, (1, 2)), 64, stretched=True) for x in xs[:40]]
    off = [abs((b.shape.orientation-a.shape.orientation)%180 - 90) for a,b in zip(got, turned) if a.shape.axis_ratio < .8]
    assert np.median(off) < .5 and np.quantile(off, .9) < 3

def disc(n=64, seed=0, flux=1000.):
    "A tilted disc with two arms on noise of 1."
    r = np.random.default_rng(seed)
    q,pa,re = r.uniform(.4, .9),np.radians(r.uniform(0, 180)),r.uniform(.08, .12)*n
    v,u = np.mgrid[:n,:n].astype(float)-(n-1)/2
    a,b = np.cos(pa)*u+np.sin(pa)*v,(np.cos(pa)*v-np.sin(pa)*u)/q
    s = np.hypot(a, b)/re
    f = np.exp(-1.68*s)*(1+.6*np.cos(2*(np.arctan2(b, a)-2*np.log(s+.3)))*np.exp(-.5*((s-1.5)/.8)**2))
    return (f/f.sum()*flux*re**2/10 + r.normal(0, 1, (n, n))).astype(np.float32)[None]

def picture(x): return np.uint8(np.clip(22+np.arcsinh(x/4)*45, 0, 255))
def radius(x): return canonical(x, 64, stretched=x.dtype.kind == 'u').shape.half_light_radius

def test_a_sloping_sky_does_not_change_the_radius():
    v,u = np.mgrid[:64,:64]
    for seed in range(3, 7):
        x = disc(seed=seed)
        whole = radius(x)
        for sky in (.01*u, .03*v, .05*(64-u), .1*u-.05*v, .2*u, .4*v): assert abs(radius(np.float32(x+sky))/whole-1) < .1, (seed, sky[0,-1])
        for sky in (10*(u/64)**2, 10*np.exp(-v/20)): assert not abs(radius(np.float32(x+sky))/whole-1) > .15, seed # NaN is the fallback

def test_a_sky_without_an_answer_falls_back():
    v,u = np.mgrid[:64,:64]
    got = [canonical(np.float32(disc(seed=seed)+300*np.exp(-np.hypot(u+9, v-9)/9)), 64) for seed in range(6)]
    whole = [radius(disc(seed=seed)) for seed in range(6)]
    for c,r in zip(got, whole): assert c.flags & Flag.FALLBACK or abs(c.shape.half_light_radius/r-1) < .5, c.shape.half_light_radius/r

def test_a_strip_that_was_not_seen_is_neither_sky_nor_galaxy():
    for seed in range(4):
        x = picture(disc(96, seed))
        for width in 6,12,20,28,36:
            y = x.copy()
            y[...,:width] = 0
            c = canonical(y, 64, stretched=True)
            assert abs(c.shape.half_light_radius/radius(x)-1) < .1 and c.n_nan >= 96*width and c.flags & Flag.FILLED, (seed, width)
        y = disc(64, seed)
        for no in -9999,-9.223372e18:
            z = y.copy()
            z[...,:8] = no
            assert abs(radius(z)/radius(y)-1) < .1 and canonical(z).n_nan == 512

def test_a_missing_core_is_filled_from_its_surroundings(tmp_path):
    v,u = np.mgrid[:64,:64]-31.5
    hole,ring = np.hypot(u, v) < 2.6,(np.hypot(u, v) >= 2.6) & (np.hypot(u, v) < 3.8)
    for seed in range(8):
        x = disc(seed=seed, flux=8000)
        y = np.where(hole, np.nan, x).astype(np.float32)
        for what in (y, np.where(hole, -9999, x).astype(np.float32)):
            filled,n,flags = frame(what, 64)
            assert filled[0][hole].min() > .5*x[0][ring].mean() and n == 24 and flags & Flag.FILLED
        a,b = (canonical(o, 64).shape for o in (x, y))
        assert np.hypot(a.x-b.x, a.y-b.y) < 1 and abs(b.half_light_radius/a.half_light_radius-1) < .1 and not b.companion_flux

def test_unseen_pixels_can_be_given():
    x = disc(flux=8000)
    lost = np.zeros(x.shape, bool)
    lost[0,:,50:] = True
    assert canonical(x, 64, unseen=lost).n_nan == lost.sum() == frame(x, 64, unseen=lost)[1] and canonical(x, 64).n_nan == 0
    assert abs(canonical(np.where(lost, 500, x).astype(np.float32), 64, unseen=lost).shape.half_light_radius/radius(x)-1) < .1
    three = Recipe(64, stretch=Stretch('per_image', pixels='float32'))
    colours = np.repeat(x, 3, 0)
    colours[1,:,:20] = -9999
    assert three(colours)[1] == 64*20

@needs_data
def test_nothing_is_unseen_in_real_pictures():
    with ZipFile(data/'gz2_votes/images.zip') as z: xs = [decode(z.read(o)) for o in sorted(o for o in z.namelist() if o.endswith('.jpg'))[::20]]
    assert not any(unseen(x).any() for x in xs)

def blob(x, y, width, flux):
    v,u = np.mgrid[:128,:128]-63.5
    return flux/(2*np.pi*width**2)*np.exp(-.5*((u-x)**2+(v-y)**2)/width**2)

def framed(x, seed=0): return canonical((x+np.random.default_rng(seed).normal(0, 1, x.shape)).astype(np.float32)[None], 64)

def test_sources_that_are_not_one_blob_stay_whole():
    for d in 6,10,16,24:
        for core in 0,200,600:
            for turn in range(4):
                c = framed(np.rot90(blob(-d, 3, 3, 4000)+blob(d, -3, 3, 3000)+blob(0, 0, 2, core), turn), d)
                if c.flags & Flag.FALLBACK: continue
                half = c.shape.half_light_radius*2.5
                assert np.hypot(c.shape.x, c.shape.y) < d/3 and half > d+5 and c.shape.companion_flux == 0, (d, core, c.shape)
    v,u = np.mgrid[:128,:128]-63.5
    for a,w,core in (15, 2, 500), (25, 3, 1000), (35, 3, 2000), (25, 3, 200), (25, 3, 0):
        c = framed(12*np.exp(-.5*((np.hypot(u, v/.7)-a)/w)**2)+blob(0, 0, 3, core))
        s = c.shape
        assert c.flags & Flag.FALLBACK or np.hypot(s.x, s.y) < 3 and .7*a < s.half_light_radius < 1.2*a, (a, core, s)
    for seed in range(6):
        r = np.random.default_rng(seed)
        at = zip(r.uniform(5, 40, 14), r.uniform(0, 6.28, 14))
        clumps = sum(blob(d*np.cos(t), .7*d*np.sin(t), r.uniform(1.5, 3.5), r.uniform(150, 800)) for d,t in at)
        s = framed(blob(0, 0, 18, 6000)+clumps, seed).shape
        assert s.companion_flux < .1*s.flux and 15 < s.half_light_radius < 35, (seed, s)

def test_a_companion_that_outshines_the_galaxy_is_flagged():
    for x,y,flux in (30, 10, 5000), (-20, 15, 3000), (0, -35, 9000), (30, 10, 1500):
        c = framed(blob(0, 0, 4, 2000)+blob(x, y, 4, flux))
        assert bool(c.flags & Flag.OUTSHONE) == (flux > 2000) and np.hypot(c.shape.x, c.shape.y) < 1 and abs(c.shape.companion_flux/flux-1) < .3

def test_a_frame_takes_few_calls():
    "Compiled loops rather than many small calls of NumPy; the number of calls does not depend on the machine."
    import cProfile,pstats
    xs = stretch(render(galaxies(20, 128, seed=3, artifacts=0), 128))
    for x in xs: canonical(x, 64, stretched=True)
    p = cProfile.Profile()
    p.runcall(lambda: [canonical(x, 64, stretched=True) for x in xs])
    assert pstats.Stats(p).total_calls/len(xs) < 1000

def test_compiled_loops_are_loaded_rather_than_compiled_by_other_processes(tmp_path):
    import os,subprocess,sys
    code = "import time,numpy as np; from astrovader.data import compiled as c; c.window_mean(np.ones((9, 9), np.float32), 0., 0., 2.); print(sum(c.window_mean.stats.cache_hits.values()))"
    def hits(): return int(subprocess.check_output([sys.executable, '-c', code], env={**os.environ, 'NUMBA_CACHE_DIR': str(tmp_path)}, text=True))
    assert (hits(), hits()) == (0, 1)

def test_what_different_processes_compile_has_different_names():
    "Numba tells functions apart by a number. Where two processes kept a sort and an argsort under one, a third used the first for both."
    import subprocess,sys
    code = """import os
from astrovader.data.compiled import FunctionIdentity
from numba import njit
child = os.fork()
f = njit(lambda x: x)
f(1)
os.write(1, f'{f.overloads[f.signatures[0]].fndesc.uid}\\n'.encode())
if child: os.waitpid(child, 0)
else: os._exit(0)"""
    names = [int(name) for _ in range(2) for name in subprocess.check_output([sys.executable, '-c', code], text=True).split()]
    assert len(names) == 4 and np.diff(sorted(names)).min() > 1000

def test_what_is_flagged_is_counted(tmp_path, capsys):
    "Galaxies cut by the border and crowded ones are told with their numbers, in the singular where it is one"
    y, x = np.mgrid[:64, :64]
    blob = lambda x0, y0, s, top: top*np.exp(-((x-x0)**2+(y-y0)**2)/(2*s*s))
    noise = np.random.default_rng(0).normal(20, 1.5, (6, 64, 64))
    images = noise + blob(32, 32, 5, 150)
    images[0] = noise[0] + blob(32, 32, 26, 150)
    for i in 1,2: images[i] += blob(48, 32, 3, 100)
    (tmp_path/'images').mkdir()
    for i,image in enumerate(images): Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(tmp_path/f'images/{i}.png')
    (tmp_path/'images/6.png').write_bytes(b'no image')
    flags = pack(tmp_path/'images', tmp_path/'survey', size=32, framing='canonical', n_workers=0).index(['flags'])['flags'].to_numpy()
    said = capsys.readouterr().out
    assert np.flatnonzero(flags & Flag.OVERFLOW).tolist() == [0] and np.flatnonzero(flags & Flag.CROWDED).tolist() == [1, 2]
    assert '1 galaxy cut off by the border of the image (flag 32' in said and '2 galaxies overlapped by other sources (flag 64' in said and '1 file left out' in said
