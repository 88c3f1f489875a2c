"Galaxies that are asked for: the same in every file, process and batch, in constant memory, and found again where and as they were put."
import json,re,subprocess,sys
import numpy as np,pandas as pd,pytest
from astropy.io import fits
from astropy.wcs import WCS
from astrovader.core import BadInput
from astrovader.data.pack import pack,pack_arrays
from astrovader.data.synth import sky,write_sky
from astrovader.infer import fields
from astrovader.infer.fields import write_field,write_stamps
from astrovader.infer.stamps import mock
from astrovader.infer.verify import verify
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.tables import read_table
from astrovader.train.learner import train
from astrovader.train.phases import get_preset,with_changes

few = dict(n_components=3, n_latent=6, epochs_alpha=4, epochs_anneal=1, epochs_static=1, n_periods=1, lr=4e-3, batch_size=16)

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder with a simulated survey in canonical framing, and a run"
    d = tmp_path_factory.mktemp('mock')
    write_sky(d/'sky', 300, 64)
    pack(d/'sky', d/'survey', 32, 'canonical', n_workers=1)
    train(d/'survey', d/'run', with_changes(get_preset('small'), **few))
    r = np.random.default_rng(0)
    pd.DataFrame(dict(half_light_radius=r.uniform(4, 9, 60), axis_ratio=r.uniform(.4, .9, 60), flux=1e4)).to_csv(d/'asked.csv', index=False)
    return d

def wished(place, **more): return mock(place/'run', catalogue=place/'asked.csv', survey=place/'survey', pixel_scale=.5, **more)
def test_the_run_keeps_its_conditions(place):
    wished(place)
    assert json.loads((place/'run/conditions.json').read_text())['n'] == 300
    mock(place/'run', 3).galaxies(0, 3)
    assert verify(place/'run') == 1

def test_stamps_cube_and_field_hold_the_same_galaxies(place, tmp_path):
    made = wished(place)
    write_stamps(made, tmp_path/'s', part_rows=7)
    write_stamps(made, tmp_path/'c', 'cube', 48, 25)
    write_field(made, tmp_path/'f', 300)
    tables = [read_table(tmp_path/f'{o}/truth.fits') for o in 'scf']
    for table in tables: pd.testing.assert_frame_equal(table[list(tables[0])], tables[0], check_exact=True)
    cube = np.concatenate([fits.getdata(file) for file in sorted((tmp_path/'c').glob('cube-*.fits'))])
    assert cube.shape == (60, 1, 48, 48) and np.allclose(cube.sum((1, 2, 3)), 1e4, rtol=.01)
    for i in 0,31,59:
        single = fits.getdata(tmp_path/f's/stamps-{i//7:05d}/{i:07d}.fits')
        n = (48-single.shape[-1])//2
        assert np.array_equal(cube[i] if n < 0 else cube[i,:,n:48-n,n:48-n], single[:,-n:n,-n:n] if n < 0 else single)
    field,truth = fits.getdata(tmp_path/'f/field.fits'),tables[2]
    assert abs(field.sum()/truth.flux.sum()-1) < .1 and truth.x.between(-.5, 299.5).all()
    assert np.allclose(WCS(fits.getheader(tmp_path/'f/field.fits'), naxis=2).all_pix2world(truth.x, truth.y, 0), [truth.ra, truth.dec])
    assert verify(tmp_path) == 3

def test_a_field_is_packed_again_as_it_was_asked(place, tmp_path):
    "Positions, radii, axis ratios, angles and fluxes of separate galaxies, found by the framing in the field's own world coordinates"
    at = 40 + 80*np.arange(5)
    x,y = (o.ravel()+.3 for o in np.meshgrid(at, at))
    r = np.random.default_rng(1)
    wish = pd.DataFrame(dict(x=x, y=y, half_light_radius=r.uniform(5, 9, 25), axis_ratio=r.uniform(.4, .8, 25), position_angle=r.uniform(0, 180, 25)))
    wish['flux'] = 10**r.uniform(4, 5, 25)
    write_field(mock(place/'run', catalogue=wish, survey=place/'survey', pixel_scale=.5), tmp_path/'f', 400, 150, 2)
    with fits.open(tmp_path/'f/field.fits') as hdus: # the framing needs some noise of the sky
        pixels = hdus[0].data + np.float32(.05)*r.standard_normal(hdus[0].data.shape, np.float32)
        fits.writeto(tmp_path/'noisy.fits', pixels, hdus[0].header)
    truth = read_table(tmp_path/'f/truth.fits')
    truth[['object_id', 'ra', 'dec']].to_csv(tmp_path/'places.csv', index=False)
    found = pack(tmp_path/'noisy.fits', tmp_path/'packed', 32, 'canonical', positions=tmp_path/'places.csv', width='40 arcsec', n_workers=1).index()
    assert found.object_id.tolist() == truth.object_id.tolist()
    assert np.allclose(found.half_light_radius, wish.half_light_radius, rtol=.03) and np.allclose(found.flux, wish.flux, rtol=.02)
    assert np.allclose(found.axis_ratio, wish.axis_ratio, rtol=.04)
    assert (abs((found.orientation-truth.orientation+90) % 180 - 90) < 1.5).all()
    assert (abs((truth.orientation - wish.position_angle - 90 + 90) % 180 - 90) < 1e-3).all()

def test_processes_and_an_interruption_change_nothing(place, tmp_path, monkeypatch):
    want = write_stamps(wished(place), tmp_path/'want', 'cube', 40, 60)
    monkeypatch.setattr(fields, '_rows_at_once', 7)
    monkeypatch.setenv('WORLD_SIZE', '2')
    made = []
    for rank in '01':
        monkeypatch.setenv('RANK', rank)
        made.append(write_stamps(wished(place), tmp_path/'both', 'cube', 40, 25))
    assert made == [None, tmp_path/'both']
    monkeypatch.delenv('WORLD_SIZE')
    monkeypatch.delenv('RANK')
    cubes = [fits.getdata(file) for file in sorted((tmp_path/'both').glob('cube-*.fits'))]
    assert np.array_equal(fits.getdata(want/'cube-00000.fits'), np.concatenate(cubes))
    pd.testing.assert_frame_equal(read_table(want/'truth.fits'), read_table(tmp_path/'both/truth.fits'), check_exact=True)
    write = fields._write_part
    def once(galaxies, job, i, cards):
        if i == 2: raise KeyboardInterrupt
        write(galaxies, job, i, cards)
    monkeypatch.setattr(fields, '_write_part', once)
    with pytest.raises(KeyboardInterrupt): write_stamps(wished(place), tmp_path/'s', part_rows=20)
    assert not (tmp_path/'s/mock.json').exists() and len(list((tmp_path/'s').glob('stamps-*'))) == 2
    with pytest.raises(BadInput, match='not finished'): verify(tmp_path/'s')
    monkeypatch.setattr(fields, '_write_part', write)
    kept = (tmp_path/'s/stamps-00000').stat().st_mtime_ns
    write_stamps(wished(place), tmp_path/'s', part_rows=20)
    assert (tmp_path/'s/stamps-00000').stat().st_mtime_ns == kept and len(read_table(tmp_path/'s/truth.fits')) == 60
    with pytest.raises(BadInput, match='begun with another seed'): write_stamps(wished(place, seed=1), tmp_path/'s', part_rows=20)

killed = '''
import os,sys
from astrovader.infer import fields
from astrovader.infer.stamps import mock
run,asked,out,n,galaxies = *sys.argv[1:4],int(sys.argv[4]),int(sys.argv[5])
made,inside,calls = mock(run, catalogue=asked, pixel_scale=.5),fields.light_inside,[]
def dies(*args):
    calls.append(1)
    if len(calls) == n: os.kill(os.getpid(), 9)
    return inside(*args)
fields.light_inside = dies
fields.write_field(made, out, 100, part_rows=galaxies)
'''

def content(path):
    "The bytes of a FITS file without its checksums, beside which their time stands"
    return re.sub(rb'(CHECKSUM|DATASUM )= .{70}', b'', path.read_bytes())

def test_a_field_goes_on_after_a_kill_with_the_same_bytes(place, tmp_path, monkeypatch):
    "Killed in the middle of a part, and while the parts are added; then shared by two processes: not a bit is different but for the time"
    monkeypatch.setattr(fields, 'provenance', lambda **more: dict(created='2026-01-01T00:00:00', versions=dict(astrovader='0')) | more)
    write_field(wished(place), tmp_path/'whole', 100, part_rows=8)
    r = subprocess.run([sys.executable, '-c', killed, place/'run', place/'asked.csv', tmp_path/'f', '30', '8'], capture_output=True, text=True, timeout=300)
    assert r.returncode == -9, r.stderr
    assert [o.name for o in (tmp_path/'f').iterdir()] == ['.parts'] and len(list((tmp_path/'f/.parts').glob('light-*'))) == 3
    with pytest.raises(BadInput, match='not finished'): verify(tmp_path/'f')
    with pytest.raises(BadInput, match='begun with another seed'): write_field(wished(place, seed=1), tmp_path/'f', 100, part_rows=8)
    with pytest.raises(BadInput, match='begun with another detail'): write_field(wished(place, detail='none'), tmp_path/'f', 100, part_rows=8)
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path/'f/.parts').glob('light-*')}
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '1')
    assert write_field(wished(place), tmp_path/'f', 100, part_rows=8) is None
    monkeypatch.setenv('RANK', '0')
    with monkeypatch.context() as m:
        m.setattr(fields, 'sha256_of', lambda *_: 1/0)
        with pytest.raises(ZeroDivisionError): write_field(wished(place), tmp_path/'f', 100, part_rows=8)
    assert [o.name for o in (tmp_path/'f').iterdir()] == ['.parts'] and kept.items() <= {o: o.stat().st_mtime_ns for o in (tmp_path/'f/.parts').iterdir()}.items()
    assert write_field(wished(place), tmp_path/'f', 100, part_rows=8) == tmp_path/'f'
    assert sorted(o.name for o in (tmp_path/'f').iterdir()) == ['field.fits', 'mock.json', 'truth.fits'] and verify(tmp_path/'f') == 1
    for name in 'field.fits','truth.fits': assert content(tmp_path/'f'/name) == content(tmp_path/'whole'/name)
    monkeypatch.setenv('RANK', '1')
    assert write_field(wished(place), tmp_path/'f', 100, part_rows=8) is None
    monkeypatch.delenv('WORLD_SIZE')
    monkeypatch.delenv('RANK')
    write_field(wished(place), tmp_path/'other', 100, part_rows=60)
    assert np.array_equal(fits.getdata(tmp_path/'f/field.fits'), fits.getdata(tmp_path/'other/field.fits'))
    one_by_one = np.zeros((1, 100, 100), np.float32)
    lights,shapes,wanted,_ = wished(place).galaxies(0, 60)
    truth = read_table(tmp_path/'f/truth.fits')
    for galaxy in zip(lights, shapes, wanted, truth.x, truth.y): fields.add_galaxy(one_by_one, *galaxy)
    assert np.array_equal(one_by_one, fits.getdata(tmp_path/'f/field.fits'))

def test_an_earlier_field_stays_until_the_new_one_is_complete(place, tmp_path, monkeypatch):
    write_field(wished(place), tmp_path/'f', 100)
    before = fits.getdata(tmp_path/'f/field.fits')
    inside,calls = fields.light_inside,[]
    def stops(*args):
        calls.append(1)
        if len(calls) == 30: raise KeyboardInterrupt
        return inside(*args)
    monkeypatch.setattr(fields, 'light_inside', stops)
    with pytest.raises(KeyboardInterrupt): write_field(wished(place, seed=1), tmp_path/'f', 100)
    assert np.array_equal(fits.getdata(tmp_path/'f/field.fits'), before) and verify(tmp_path/'f') == 1
    write_field(wished(place, seed=1), tmp_path/'f', 100)
    assert not np.array_equal(fits.getdata(tmp_path/'f/field.fits'), before) and verify(tmp_path/'f') == 1
    assert sorted(o.name for o in (tmp_path/'f').iterdir()) == ['field.fits', 'mock.json', 'truth.fits']
    written = (tmp_path/'f/field.fits').stat().st_mtime_ns
    write_field(wished(place, seed=1), tmp_path/'f', 100)
    assert (tmp_path/'f/field.fits').stat().st_mtime_ns == written

memory = '''
import resource,sys
from astrovader.infer.fields import write_field,write_stamps
from astrovader.infer.stamps import mock
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
run,out = sys.argv[1:]
def drawn(n): return mock(run, n, half_light_radius=5., pixel_scale=.5, detail='none')
for n in 64,400:
    write_field(drawn(n), f'{out}/field-{n}', 64, part_rows=100)
    write_stamps(drawn(n), f'{out}/cube-{n}', 'cube', 128, part_rows=100)
    print('peak', peak())
made = drawn(10**6)
made.galaxies(10**6-9, 10**6)
print('peak', peak())
'''

def test_memory_does_not_grow_with_the_galaxies(place, tmp_path):
    "336 stamps more are 22 MB, and what is requested of a million galaxies would be 65 MB, and several times that on its way"
    wished(place)
    r = subprocess.run([sys.executable, '-c', memory, place/'run', tmp_path], capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr
    few,many,million = (float(line.split()[1]) for line in r.stdout.splitlines() if line.startswith('peak'))
    assert many-few < 15 and million-many < 50, (few, many, million)

def test_damage_is_found(place, tmp_path):
    write_stamps(wished(place), tmp_path/'s')
    file = tmp_path/'s/stamps-00000/0000007.fits'
    whole = file.read_bytes()
    file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    with pytest.raises(BadInput, match='has changed'): verify(tmp_path/'s')
    file.unlink()
    with pytest.raises(BadInput, match='59 stamps where 60'): verify(tmp_path/'s')

def test_what_cannot_be_asked(place, tmp_path):
    images,_ = sky(20, 32)
    plain = pack_arrays(images, tmp_path/'plain')
    widths = dict(encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,))
    model = VaDE(Architecture(32, n_latent=3, n_components=2, **widths), plain.packing)
    with pytest.raises(BadInput, match="the framing is 'canonical'.*--framing canonical"): mock(model, 3, survey=plain)
    with pytest.raises(BadInput, match="here it is 'survey'"): mock(VaDE.load(place/'run/model'), 3, survey=plain)
    with pytest.raises(BadInput, match='--survey SURVEY'): mock(VaDE.load(place/'run/model'), 3)
    made = wished(place)
    with pytest.raises(BadInput, match='needs a pixel scale'): write_field(mock(place/'run', 3), tmp_path/'f', 64)
    with pytest.raises(BadInput, match='only ra'): write_field(made, tmp_path/'f', 64, ra=3.)
    with pytest.raises(BadInput, match='stamps, cube'): write_stamps(made, tmp_path/'f', 'movie')
    with pytest.raises(BadInput, match='at least 1'): write_stamps(made, tmp_path/'f', part_rows=0)
    with pytest.raises(BadInput, match='give the size'): write_stamps(mock(place/'run', 3), tmp_path/'f', 'cube')
    with pytest.raises(BadInput, match='smaller half-light radius'): write_stamps(mock(place/'run', 3, half_light_radius=1e6), tmp_path/'f')
    lost = mock(place/'run', catalogue=pd.DataFrame(dict(ra=[np.nan], dec=[1.])), pixel_scale=1.)
    with pytest.raises(BadInput, match='no position'): write_field(lost, tmp_path/'f', 64)
    (tmp_path/'taken').mkdir()
    (tmp_path/'taken/notes.txt').write_text('mine')
    for write in write_field,write_stamps:
        with pytest.raises(BadInput, match='holds something else'): write(made, tmp_path/'taken')
    assert (tmp_path/'taken/notes.txt').read_text() == 'mine'
