"Cutouts of a catalogue from tiles of the sky: all found once, where they are, with what was not seen marked."
import numpy as np,pandas as pd,pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from astrovader.core import BadInput
from astrovader.data.cutouts import read_cutout
from astrovader.data.mosaics import placements,tiles_of
from astrovader.data.pack import pack
from astrovader.data.services import objects_of
from astrovader.data.sources import find_images
from astrovader.data.synth import render
from astrovader.data.truth import galaxies
from side_by_side import run

scale = .4 # arcsec per pixel
margin = 30 # half the side of a drawn galaxy in pixels
apart = 76 # pixels between galaxies

def header(ra, dec, n, turn=0., **cards):
    "A tile of `n` pixels a side around a position, turned by `turn` degrees."
    c,s = np.cos(np.radians(turn))*scale/3600,np.sin(np.radians(turn))*scale/3600
    known = dict(CTYPE1='RA---TAN', CTYPE2='DEC--TAN', CRVAL1=ra, CRVAL2=dec, CRPIX1=(n+1)/2, CRPIX2=(n+1)/2, CD1_1=-c, CD1_2=s, CD2_1=s, CD2_2=c)
    return fits.Header(known | cards)

def drawn(header, n, truth):
    "The pixels of a tile, each galaxy turned as the tile is."
    tile,side = np.zeros((n+4*margin, n+4*margin), np.float32),2*margin
    x,y = WCS(header).all_world2pix(truth.ra, truth.dec, 0)
    column,row = np.rint(x).astype(int),np.rint(y).astype(int)
    inside = (np.minimum(x, y) > -margin) & (np.maximum(x, y) < n+margin)
    north = np.degrees(np.arctan2(header['CD2_1'], header['CD2_2']))
    local = truth.assign(x_0=x-column+.5, y_0=y-row+.5, orientation=(truth.orientation-north) % 180)[inside]
    for image,i,j in zip(render(local, side, noise=False)[:,0], row[inside]+margin, column[inside]+margin): tile[i:i+side,j:j+side] += image
    return tile[side:-side,side:-side] + np.random.default_rng(n).normal(0, .02, (n, n)).astype(np.float32)

def write(path, x, header=None):
    "Write one image; those whose name ends in .fz are compressed."
    image = fits.CompImageHDU(x, header, quantize_level=64) if str(path).endswith('.fz') else fits.PrimaryHDU(x, header)
    image.writeto(path)
    return path

def numbered(shape): return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)

def objects_at(wcs, x, y):
    "A catalogue of objects at pixels of a tile."
    ra,dec = wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
    return pd.DataFrame(dict(object_id=[f'G{i}' for i in range(len(ra))], ra=ra, dec=dec))

# 2,000 galaxies on four tiles

@pytest.fixture(scope='module')
def mosaic(tmp_path_factory):
    "A folder of four overlapping tiles, and the truth of the 2,000 galaxies on them; right ascension passes 0."
    d = tmp_path_factory.mktemp('mosaic')
    truth = galaxies(2000, 32, companions=0, stars=0, artifacts=0, mix=(.5, 0, .5)).assign(lopsided=0.)
    rows,columns = np.mgrid[:40,:50].reshape(2, -1)*apart + np.random.default_rng(0).uniform(-4, 4, (2, 2000))
    truth['ra'],truth['dec'] = WCS(header(0, 30, 1)).all_pix2world(columns-24.5*apart, rows-19.5*apart, 0)
    sip = dict(CTYPE1='RA---TAN-SIP', CTYPE2='DEC--TAN-SIP', A_ORDER=2, B_ORDER=2, A_2_0=4e-6, B_1_1=-3e-6)
    degree = 3600/scale
    x,y = 12.5*apart,10*apart
    fields = [(x, -y, 0, {}), (-x, -y, 12, {}), (x, y, 0, sip), (-x, y, -90, {})]
    for i,(west,north,turn,cards) in enumerate(fields):
        n = 25*apart + 140 + 6*apart*(turn == 12)
        known = header(360+west/degree/np.cos(np.radians(30)), 30+north/degree, n, turn, MAGZERO=22.5, **cards)
        write(d/f'tile-{i}.fits{".fz"*(i == 1)}', drawn(known, n, truth), known)
    return d,truth

@pytest.fixture(scope='module')
def packed(mosaic, tmp_path_factory):
    d,truth = mosaic
    return pack(d, tmp_path_factory.mktemp('packed')/'survey', 32, framing='canonical', n_workers=0, positions=truth[['object_id', 'ra', 'dec', 'r90']], width='24 arcsec')

def alone(truth, folder, shift=0., turn=0., n=60):
    "Measurements of the same galaxies, each drawn alone in an image of its own."
    moved = truth.assign(x_0=shift, y_0=-shift, orientation=(truth.orientation-turn) % 180)
    noise = np.random.default_rng(int(turn)).normal(0, .02, (len(truth), 1, n, n))
    np.save(folder/f'{turn}.npy', (render(moved, n, noise=False)+noise).astype(np.float32))
    index = pack(folder/f'{turn}.npy', folder/f'{turn}', 32, framing='canonical', n_workers=0, axes='nbhw').index()
    return index.assign(object_id=truth.object_id.to_numpy(), north=turn)

def changes(index, single):
    "What differs from single cutouts: sizes as a fraction, and angles in degrees of galaxies that are not round."
    both = index.merge(single, on='object_id', suffixes=('', '_single'))
    flat = both[both.axis_ratio_single < .8]
    angle = (flat.orientation+flat.north-flat.orientation_single-flat.north_single+90) % 180 - 90
    return both.half_light_radius/both.half_light_radius_single-1, angle

def test_every_galaxy_is_found_once(mosaic, packed):
    _,truth = mosaic
    assert sorted(packed.ids(slice(None))) == sorted(truth.object_id) and len(packed.rejected()) == 0
    tiles = packed.index(['file']).file.str.split('[').str[0].value_counts()
    assert len(tiles) == 4 and tiles.min() > 300

def test_positions_are_within_a_tenth_of_a_pixel(packed):
    index = packed.index()
    assert np.abs(index[['catalogue_x', 'catalogue_y']]).max(axis=None) < .5001
    offset = np.hypot(index.x-index.catalogue_x, index.y-index.catalogue_y)
    print(f'median {offset.median():.4f} pixels, 99th percentile {offset.quantile(.99):.3f}, largest {offset.max():.3f}')
    assert offset.median() < .01 and offset.max() < .1

def test_angles_and_sizes_are_those_of_single_cutouts(mosaic, packed, tmp_path):
    "They differ by no more than two single cutouts of a galaxy do, one of which is turned and shifted on the grid."
    some = mosaic[1][::4]
    single,turned = alone(some, tmp_path),alone(some, tmp_path, .4, 30)
    (size,angle),(size_single,angle_single) = changes(packed.index(), single),changes(turned, single)
    print('median and 68 % of the changes, and 68 % among single cutouts:', *(f'{x.median():.4f} {x.abs().quantile(.68):.4f} {y.abs().quantile(.68):.4f}' for x,y in
        ((size, size_single), (angle, angle_single))))
    assert abs(size.median()) < .005 and abs(angle.median()) < .05
    for q in .68, .95:
        assert size.abs().quantile(q) < 1.2*size_single.abs().quantile(q)
        assert angle.abs().quantile(q) < 1.3*angle_single.abs().quantile(q)

# Pixels

@pytest.mark.parametrize('name, tile', [('tile.fits', None), ('tile.fits.fz', None), ('tile.fits.fz', (16, 20)), ('tile.fits.fz', (7, 60))])
@pytest.mark.parametrize('n', [10, 11, 150])
def test_pixels_are_those_of_the_tile(tmp_path, name, tile, n):
    "An object lies within half a pixel of the middle, whether the number of pixels is odd or even; beyond the edge is NaN."
    known,x = header(150, 2, 60),numbered((130, 60))
    image = fits.CompImageHDU(x, known, compression_type='GZIP_1', quantize_level=0, tile_shape=tile) if name.endswith('.fz') else fits.PrimaryHDU(x, known)
    image.writeto(tmp_path/name)
    source = find_images(tmp_path/name, positions=objects_at(WCS(known), [20.3, 2.], [31.6, 127.]), width=f'{n*scale} arcsec')
    padded = np.pad(x, 150, constant_values=np.nan)
    for i,(px,py) in enumerate([(20.3, 31.6), (2., 127.)]):
        row = source.ids.index(f'G{i}')
        left,top = int(np.floor(px-(n-1)/2+.5001)),int(np.floor(py-(n-1)/2+.5001))
        assert np.array_equal(read_cutout(source[row:row+1][0]).pixels[0], padded[top+150:top+150+n,left+150:left+150+n], equal_nan=True)
        assert abs(source.table.catalogue_x[row]-(px-left-(n-1)/2)) < 1e-6 and abs(source.table.catalogue_y[row]) < .5001
        hdu = '[1]' if name.endswith('.fz') else ''
        assert source.files[row] == f'{name}{hdu}[{left+1}:{left+n},{top+1}:{top+n}]'

def test_integers_are_scaled_and_blank_ones_are_unseen(tmp_path):
    known,x = header(150, 2, 40),np.arange(1600, dtype=np.int16).reshape(40, 40)
    full = fits.PrimaryHDU(x).header
    full.update(known)
    full.update(BSCALE=.5, BZERO=100., BLANK=820)
    (tmp_path/'tile.fits').write_bytes(full.tostring().encode()+x.astype('>i2').tobytes()+b'\0'*(-x.nbytes % 2880))
    found = read_cutout(find_images(tmp_path/'tile.fits', positions=objects_at(WCS(known), [20], [20]), width='2 arcsec')[:1][0]).pixels[0]
    expected = .5*x[18:23,18:23] + 100
    expected[2,2] = np.nan
    assert found.dtype == np.float32 and np.array_equal(found, expected, equal_nan=True)

def test_unsigned_integers(tmp_path):
    known,x = header(150, 2, 40),np.arange(60000, 61600, dtype=np.uint16).reshape(40, 40)
    write(tmp_path/'tile.fits', x, known)
    found = read_cutout(find_images(tmp_path/'tile.fits', positions=objects_at(WCS(known), [20], [20]), width='2 arcsec')[:1][0])
    assert np.array_equal(found.pixels[0], x[18:23,18:23])

# Which tile

def test_the_deepest_tile_is_used_and_each_object_once(tmp_path):
    "Two tiles that overlap, and two that only touch, on whose border objects lie."
    known = header(10, -5, 100)
    for i,start in enumerate((0, 80, 180)):
        part = known.copy()
        part['CRPIX1'] -= start
        write(tmp_path/f'{i}.fits', np.full((100, 100), float(i)), part)
    x,y = np.array([50, 85, 94, 120, 179.5, 179.5, 179.4999999, 279.5]),np.full(8, 50.)
    source = find_images(tmp_path, positions=objects_at(WCS(known), x, y), width='2 arcsec')
    values = {id: np.nanmedian(read_cutout(image).pixels) for id,image in zip(source.ids, source[:])}
    assert sorted(source.ids) == [f'G{i}' for i in range(8)] and not any(source.reasons)
    assert [values[f'G{i}'] for i in (0, 1, 2, 3)] == [0, 0, 1, 1] and values['G7'] == 2

def test_a_tile_that_saw_nothing_there_is_not_used(tmp_path):
    known,shifted = header(10, -5, 100),header(10, -5, 100)
    shifted['CRPIX1'] += 30
    hole = np.ones((100, 100), np.float32)
    hole[40:60,40:60] = np.nan
    write(tmp_path/'a.fits', hole, known)
    write(tmp_path/'b.fits', np.full((100, 100), 2, np.float32), shifted)
    source = find_images(tmp_path, positions=objects_at(WCS(known), [50, 80], [50, 50]), width='2 arcsec')
    assert {id: float(read_cutout(image).pixels.min()) for id,image in zip(source.ids, source[:])} == {'G0': 2, 'G1': 1}

def test_lost_objects_have_a_reason(tmp_path):
    "Beyond the tile, on the other side of the sky, without a position, and with widths that are none."
    known = header(10, 40, 100)
    write(tmp_path/'a.fits', numbered((100, 100)), known)
    table = objects_at(WCS(known), [50, 150, 50, 50, 50, 50], [50, 50, 50, 50, 50, 50]).assign(radius=[1., 1, 1, 1, -1, np.nan])
    table.loc[2,['ra', 'dec']] = 190, -40
    table.loc[3,'ra'] = np.nan
    survey = pack(tmp_path/'a.fits', tmp_path/'out', 8, n_workers=0, positions=table, width='2 radius')
    reasons = survey.rejected().set_index('object_id').reason
    assert list(survey.ids(slice(None))) == ['G0'] and len(reasons) == 5
    assert reasons.G1 == reasons.G2 == 'lies in no tile' and 'which is not on the sky' in reasons.G3
    assert reasons.G4 == 'has a width of -2 arcsec, which is no number above 0' and 'nan arcsec' in reasons.G5

# The sky

@pytest.mark.parametrize('suffix', ['fits', 'ecsv', 'vot'])
def test_a_width_has_the_unit_of_its_column(suffix, tmp_path):
    "A radius in arcminutes is 60 times one in arcseconds; one in pixels is refused."
    write(tmp_path/'a.fits', numbered((100, 100)), known := header(10, 5, 100))
    table = Table.from_pandas(objects_at(WCS(known), [50, 60], [50, 50]).assign(r=[.1, .2], size=5.))
    table['r'].unit,table['size'].unit = 'arcmin','pix'
    table.write(tmp_path/f'table.{suffix}', **dict(format='votable') if suffix == 'vot' else {})
    survey = pack(tmp_path/'a.fits', tmp_path/'out', 8, n_workers=0, positions=tmp_path/f'table.{suffix}', width='2 r')
    source = find_images(tmp_path/'a.fits', positions=tmp_path/f'table.{suffix}', width='2 r')
    assert {read_cutout(src).pixels.shape[-1] for src in source[:]} == {30, 60} and len(survey) == 2
    with pytest.raises(BadInput, match='unit is pix, which is no angle'): find_images(tmp_path/'a.fits', positions=tmp_path/f'table.{suffix}', width='2 size')

def test_right_ascension_passes_360(tmp_path):
    known = header(0, 0, 100)
    write(tmp_path/'a.fits', numbered((100, 100)), known)
    step = scale/3600*20
    table = pd.DataFrame(dict(object_id=['a', 'b', 'c', 'd'], ra=[step, 360-step, -step, 360+step], dec=0.))
    places = placements(objects_of(table), tiles_of(tmp_path))
    assert np.allclose(places.x, [29.5, 69.5, 69.5, 29.5], atol=1e-6) and np.allclose(places.y, 49.5, atol=1e-6)

@pytest.mark.parametrize('pole', [90, -90])
def test_poles(tmp_path, pole):
    "Around a pole, each object has its own direction of north: towards the north pole, or away from the south pole."
    known = header(30, pole, 200)
    write(tmp_path/'a.fits', numbered((200, 200)), known)
    x,y = np.array([160., 99.5, 40, 99.5, 99.5]),np.array([99.5, 160, 99.5, 40, 99.5])
    source = find_images(tmp_path, positions=objects_at(WCS(known), x, y), width='4 arcsec')
    cutouts = {id: read_cutout(image) for id,image in zip(source.ids, source[:])}
    assert len(cutouts) == 5 and not any(source.reasons)
    for i in range(4):
        expected = np.degrees(np.arctan2(99.5-x[i], 99.5-y[i])) + 180*(pole < 0)
        assert abs((cutouts[f'G{i}'].north-expected+180) % 360 - 180) < .1
        assert abs(cutouts[f'G{i}'].pixel_scale/scale-1) < 1e-3 and cutouts[f'G{i}'].mirrored == 0

@pytest.mark.parametrize('axes', ['GLON-TAN GLAT-TAN', 'DEC--TAN RA---TAN', 'RA---TPV DEC--TPV'])
def test_other_coordinates(tmp_path, axes):
    "Galactic coordinates, declination first, and the polynomials of TPV."
    known = header(120, 20, 200)
    known['CTYPE1'],known['CTYPE2'] = axes.split()
    if 'TPV' in axes: known.update(dict(PV1_1=1., PV1_4=.5, PV2_1=1., PV2_5=-.5))
    if axes.startswith('DEC'): known['CRVAL1'],known['CRVAL2'] = 20,120
    write(tmp_path/'a.fits', numbered((200, 200)), known)
    sky = WCS(known).pixel_to_world([30, 150], [50, 120]).icrs
    places = placements(objects_of(pd.DataFrame(dict(object_id=['a', 'b'], ra=sky.ra.deg, dec=sky.dec.deg))), tiles_of(tmp_path))
    assert np.allclose(places[['x', 'y']], [[30, 50], [150, 120]], atol=1e-3)

def test_distorted_tiles_whose_polynomials_diverge_elsewhere(tmp_path):
    sip = dict(CTYPE1='RA---TAN-SIP', CTYPE2='DEC--TAN-SIP', A_ORDER=3, B_ORDER=3, A_3_0=1e-7, B_0_3=1e-7)
    known = header(10, 10, 500, **sip)
    write(tmp_path/'a.fits', numbered((500, 500)), known)
    table = objects_at(WCS(known), [20, 480, 250], [480, 20, 250])
    far = pd.DataFrame(dict(object_id=[f'far-{i}' for i in range(200)], ra=10+np.linspace(-.3, .3, 200), dec=10+np.linspace(.3, -.25, 200)))
    places = placements(objects_of(pd.concat([table, far], ignore_index=True)), tiles_of(tmp_path))
    assert np.allclose(places.set_index('object').loc[[0, 1, 2],['x', 'y']], [[20, 480], [480, 20], [250, 250]], atol=1e-3)
    assert 3 <= len(places) < 100

# Bands, weights and odd files

def test_bands_of_a_cube_and_of_files(tmp_path):
    known,x = header(10, 10, 60),numbered((3, 60, 60))
    table = objects_at(WCS(known), [30], [20])
    write(tmp_path/'cube.fits', x, known+fits.Header(dict(BANDS='grz')))
    for name,i in dict(z=2, g=0, r=1).items():
        (tmp_path/'named').mkdir(exist_ok=True)
        (tmp_path/'filters').mkdir(exist_ok=True)
        write(tmp_path/f'named/brick-image-{name}.fits.fz', x[i], known)
        write(tmp_path/f'filters/{i}.fits', x[i], known+fits.Header(dict(FILTER=f'{name} DECam SDSS c000{i} 123.0', MAGZERO=22.5+(name == 'z'))))
    for src in tmp_path/'cube.fits', tmp_path/'named', tmp_path/'filters':
        [image] = find_images(src, positions=table, width='2 arcsec')[:]
        cutout = read_cutout(image)
        assert cutout.bands == ('g', 'r', 'z') and np.allclose(cutout.pixels, x[:,18:23,28:33], atol=20 if src.name == 'named' else 0)
        assert np.isnan(cutout.zero_point)

def test_tiles_that_lack_a_band(tmp_path):
    "An object is cut from a tile with all bands where it lies in one; where none has all, the bands of several are joined."
    known,other = header(10, 10, 60),header(10, 10, 100)
    for name in 'gr': write(tmp_path/f'both-{name}.fits', numbered((60, 60)), known+fits.Header(dict(FILTER=name)))
    write(tmp_path/'single.fits', numbered((100, 100)), other+fits.Header(dict(FILTER='g')))
    source = find_images(tmp_path, positions=objects_at(WCS(known), [30, 70], [30, 30]), width='2 arcsec')
    assert source.files[0].startswith('both-g.fits') and source.reasons == [None, 'lies only in tiles without r']
    (tmp_path/'both-g.fits').unlink()
    cutout = read_cutout(find_images(tmp_path, positions=objects_at(WCS(known), [30], [30]), width='2 arcsec')[:1][0])
    assert cutout.bands == ('g', 'r') and np.allclose(cutout.pixels[1], numbered((60, 60))[28:33,28:33], atol=.1)
    assert np.allclose(cutout.pixels[0], numbered((100, 100))[48:53,48:53])
    write(tmp_path/'three.fits', np.stack([numbered((80, 80))]*2), header(10, 10, 80)+fits.Header(dict(BANDS='rz')))
    with pytest.raises(BadInput, match='resample them to one grid with reproject'): find_images(tmp_path, positions=objects_at(WCS(known), [30], [30]), width='2 arcsec')

@pytest.mark.parametrize('turn', [0, 30, 200])
def test_bands_on_other_pixels_lie_where_they_are(turn, tmp_path):
    "A round source off the middle has the same centre in both bands, whatever the scale and the turn of the second."
    for name,n,k,angle in ('g', 240, 2, 0), ('r', 160, 1, turn):
        known = header(40, -30, n, angle, FILTER=name)
        for card in 'CD1_1','CD1_2','CD2_1','CD2_2': known[card] /= k
        x,y = WCS(known).all_world2pix(40.002, -29.999, 0)
        v,u = np.mgrid[:n,:n]
        write(tmp_path/f'{name}.fits', np.exp(-((u-x)**2+(v-y)**2)/(2*(4*k)**2)).astype(np.float32), known)
    objects = pd.DataFrame(dict(object_id=['a'], ra=[40.0015], dec=[-29.9992]))
    [image] = find_images(tmp_path, positions=objects, width='20 arcsec')[:]
    cutout = read_cutout(image)
    v,u = np.mgrid[:cutout.pixels.shape[1],:cutout.pixels.shape[2]]
    centres = [np.array([(u*plane).sum(), (v*plane).sum()])/plane.sum() for plane in cutout.pixels]
    assert cutout.bands == ('g', 'r') and not np.isnan(cutout.pixels).any() and np.abs(centres[0]-centres[1]).max() < .1

def test_weights_and_masks(tmp_path):
    "In the file of the image, or beside it; a plane of errors is not a tile."
    known,x,weight = header(10, 10, 60),numbered((60, 60)),np.ones((60, 60), np.float32)
    weight[20,30] = 0
    planes = dict(SCI=x, WHT=weight, ERR=x)
    fits.HDUList([fits.PrimaryHDU()] + [fits.ImageHDU(values, known, name=name) for name,values in planes.items()]).writeto(tmp_path/'hst.fits')
    (tmp_path/'apart').mkdir()
    write(tmp_path/'apart/a.fits', x, known)
    write(tmp_path/'apart/a.weight.fits', weight, known)
    for src in tmp_path/'hst.fits', tmp_path/'apart':
        [image] = find_images(src, positions=objects_at(WCS(known), [30], [20]), width='2 arcsec')[:]
        found = read_cutout(image).pixels
        assert found.shape == (1, 5, 5) and np.isnan(found[0,2,2]) and np.isnan(found).sum() == 1

def test_a_camera_of_several_detectors(tmp_path):
    "Each HDU is a tile of its own."
    first,second = header(10, 10, 60),header(10, 10, 60)
    second['CRPIX1'] -= 70
    hdus = [fits.ImageHDU(np.full((60, 60), i, np.float32), known, name=f'CCD{i}') for i,known in enumerate((first, second))]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path/'exposure.fits')
    source = find_images(tmp_path/'exposure.fits', positions=objects_at(WCS(first), [30, 90, 65], [30, 30, 30]), width='2 arcsec')
    assert [read_cutout(image).pixels.max() for image in source[:2]] == [0, 1] and source.files[1].startswith('exposure.fits[2][')
    assert source.reasons == [None, None, 'lies in no tile']

def test_files_that_are_no_tiles(tmp_path, capsys):
    known = header(10, 10, 60)
    table = objects_at(WCS(known), [30], [20])
    write(tmp_path/'plain.fits', numbered((9, 9)))
    fits.BinTableHDU.from_columns([fits.Column('a', 'J', array=[1])]).writeto(tmp_path/'table.fits')
    with pytest.raises(BadInput, match='no image with world coordinates'): find_images(tmp_path, positions=table, width='2 arcsec')
    write(tmp_path/'tile.fits', numbered((60, 60)), known)
    assert len(find_images(tmp_path, positions=table, width='2 arcsec')) == 1 and '2 FITS files hold no image' in capsys.readouterr().out
    (tmp_path/'tile.fits.gz').write_bytes(b'')
    with pytest.raises(BadInput, match='decompress it with gunzip'): find_images(tmp_path/'*.gz', positions=table, width='2 arcsec')
    (tmp_path/'bad.fits').write_text('SIMPLE  = nothing of the kind')
    with pytest.raises(BadInput, match='bad.fits cannot be read'): find_images(tmp_path/'bad.fits', positions=table, width='2 arcsec')

@pytest.mark.parametrize('name', ['a.fits', 'a.fits.fz'])
def test_a_tile_that_was_cut_short(tmp_path, name):
    known = header(10, 10, 300)
    path = write(tmp_path/name, numbered((300, 300)), known)
    content = path.read_bytes()
    path.write_bytes(content[:len(content)//2])
    with pytest.raises(BadInput, match='ends before its pixels do; copy it again'): find_images(tmp_path, positions=objects_at(WCS(known), [150], [20]), width='8 arcsec')

# What is asked

@pytest.mark.parametrize('change, options, why', [
    (dict(dec='y'), {}, 'has no column dec'),
    (dict(ra='x'), {}, 'has no column ra'),
    ({}, dict(width='25.6'), "give an angle such as '25.6 arcsec'"),
    ({}, dict(width='5 km'), "give an angle such as '25.6 arcsec'"),
    ({}, dict(width='-3 arcsec'), "give an angle such as '25.6 arcsec'"),
    ({}, dict(width='8 petroR90_r'), 'nor a column of the catalogue'),
    ({}, dict(width=None), '--positions is given without --width; give both, or neither'),
    ({}, dict(positions=None), '--width is given without --positions; give both, or neither'),
    ({}, dict(axes='nhw'), 'is tiles of the sky'),
    ({}, dict(positions='nowhere.csv'), 'does not exist')])
def test_wrong_requests_are_sentences(tmp_path, change, options, why):
    known = header(10, 10, 60)
    write(tmp_path/'a.fits', numbered((60, 60)), known)
    table = objects_at(WCS(known), [30], [20]).rename(columns=change)
    with pytest.raises(BadInput, match=why): find_images(tmp_path, **dict(positions=table, width='2 arcsec') | options)

def test_a_mosaic_without_positions_is_refused(tmp_path, monkeypatch):
    "Also where it is larger than an image may be, as pixels or as a file."
    x = np.zeros((1, 2100), np.float32)
    write(tmp_path/'a.fits', x)
    write(tmp_path/'b.fits.fz', np.zeros((300, 2100), np.float32))
    monkeypatch.setenv('ASTROVADER_MAX_BYTES', '2e6')
    for name in 'a.fits', 'b.fits.fz':
        with pytest.raises(BadInput, match='give the positions of its objects with --positions CATALOGUE'): pack(tmp_path/name, tmp_path/'out', 8, n_workers=0)
    monkeypatch.setenv('ASTROVADER_MAX_BYTES', '5000')
    with pytest.raises(BadInput, match='as a file.*--positions CATALOGUE'): pack(tmp_path/'a.fits', tmp_path/'out', 8, n_workers=0)

def test_positions_are_for_tiles(tmp_path):
    np.save(tmp_path/'a.npy', np.zeros((3, 9, 9)))
    with pytest.raises(BadInput, match='is an array of images.*--positions is for tiles of the sky'):
        find_images(tmp_path/'a.npy', positions=pd.DataFrame(dict(object_id=['a'], ra=1., dec=1.)), width='2 arcsec')

def test_the_order_of_the_catalogue_and_the_number_of_workers_do_not_matter(tmp_path):
    known = header(10, 10, 200)
    write(tmp_path/'a.fits.fz', numbered((200, 200)), known)
    r = np.random.default_rng(0)
    table = objects_at(WCS(known), *r.uniform(20, 180, (2, 100))).assign(redshift=r.random(100), radius=r.uniform(1, 3, 100))
    first = pack(tmp_path/'*.fz', tmp_path/'first', 8, n_workers=2, positions=table, width='2 radius')
    second = pack(tmp_path/'*.fz', tmp_path/'second', 8, n_workers=0, positions=table.sample(frac=1, random_state=1), width='2 radius')
    assert (first.images(slice(None)) == second.images(slice(None))).all()
    index = first.index()
    assert index.equals(second.index())
    assert np.allclose(index.redshift, table.set_index('object_id').redshift[index.object_id])
    with pytest.raises(BadInput, match='begun with'): pack(tmp_path/'*.fz', tmp_path/'first', 8, n_workers=0, positions=table, width='3 radius')

def test_command(tmp_path):
    "A mosaic needs positions, or a crop."
    known = header(10, 10, 2100)
    (tmp_path/'tiles').mkdir()
    write(tmp_path/'tiles/a.fits', np.random.default_rng(0).normal(size=(2100, 2100)).astype(np.float32), known)
    objects_at(WCS(known), [300, 2000], [1000, 1500]).to_csv(tmp_path/'objects.csv', index=False)
    refused = run('astrovader-pack', tmp_path/'tiles', tmp_path/'out', '--n-workers', 0)
    assert refused.returncode and 'give the positions of its objects with --positions CATALOGUE' in refused.stderr and 'Traceback' not in refused.stderr
    alone = run('astrovader-pack', tmp_path/'tiles', tmp_path/'out', '--width', '25.6 arcsec')
    assert alone.returncode and alone.stderr.count('\n') == 1 and '--width is given without --positions' in alone.stderr
    done = run('astrovader-pack', tmp_path/'tiles', tmp_path/'out', '--positions', tmp_path/'objects.csv', '--width', '25.6 arcsec', '--size', 64)
    assert done.returncode == 0 and '2 images packed' in done.stdout, done.stderr
    cropped = run('astrovader-pack', tmp_path/'tiles', tmp_path/'cropped', '--crop', 64, '--size', 64)
    assert cropped.returncode == 0 and '1 image packed' in cropped.stdout, cropped.stderr
