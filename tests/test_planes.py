"What the planes, pages and colours of a file mean: bands, objects, or what was not observed; what cannot be known is asked."
import io,subprocess,sys,tarfile
from zipfile import ZipFile
import cv2,h5py,numpy as np,pyarrow as pa,pyarrow.parquet as pq,pytest
from astropy.io import fits
from astropy.nddata import CCDData,InverseVariance,StdDevUncertainty
from astropy.table import Table
from PIL import Image,TiffImagePlugin
from astrovader.core import BadImage,BadInput
from astrovader.data.bands import wavelength
from astrovader.data.cutouts import read_cutout
from astrovader.data.pack import pack
from astrovader.data.sources import find_images
from side_by_side import run

n = 48
v,u = np.mgrid[:n,:n] - (n-1)/2
corner = (u < -14) & (v < -14)

def galaxy(seed=0, flux=100.):
    r = np.random.default_rng(seed)
    return (flux*np.exp(-np.hypot(u*r.uniform(.6, 1), v*r.uniform(.6, 1))/5) + r.normal(0, 1, (n, n))).astype(np.float32)

def plane(x, name='', **header): return fits.ImageHDU(x, fits.Header(header), name)

def write(path, *planes, first=None):
    fits.HDUList([fits.PrimaryHDU(first), *planes]).writeto(path)
    return path

def packed(src, out, **options): return pack(src, out, size=32, n_workers=0, **options)

def unseen_in(cutout): return cutout.unseen()[0]

# What planes are

@pytest.mark.parametrize('k', [2, 3, 4, 5])
@pytest.mark.parametrize('first', [False, True])
def test_planes_without_names_are_asked_for(k, first, tmp_path):
    (tmp_path/'src').mkdir()
    for i in range(2):
        planes = [plane(galaxy(10*i+j)) for j in range(k)]
        write(tmp_path/f'src/g{i}.fits', *planes[first:], first=planes[0].data if first else None)
    with pytest.raises(BadInput, match=rf'{k} planes of one size without names.*--axes bhw .*--axes nhw .*--images'): packed(tmp_path/'src', tmp_path/'s')
    assert packed(tmp_path/'src', tmp_path/'bands', axes='bhw').packing['bands'] == {2: 'all', 3: 'rgb'}.get(k, 'all')
    assert len(packed(tmp_path/'src', tmp_path/'objects', axes='nhw')) == 2*k
    one = packed(tmp_path/'src', tmp_path/'one', images='0' if first else '1')
    assert len(one) == 2 and one.packing['n_bands'] == 1
    assert np.array_equal(read_cutout(find_images(tmp_path/'src', images='1')[:1][0]).pixels[0], galaxy(1 if first else 0))

def test_the_command_asks_and_takes_the_answer(tmp_path):
    (tmp_path/'src').mkdir()
    for i in range(2): write(tmp_path/f'src/g{i}.fits', plane(galaxy(i)), plane(galaxy(i+5)))
    command = 'astrovader-pack', tmp_path/'src', tmp_path/'s', '--size', 16, '--n-workers', 0
    refused = run(*command)
    assert refused.returncode and '--axes bhw' in refused.stderr+refused.stdout and 'Traceback' not in refused.stderr
    taken = run(*command, '--axes', 'nhw')
    assert taken.returncode == 0 and '4' in taken.stdout

@pytest.mark.parametrize('headers, n_objects', [([dict(FILTER='g'), dict(FILTER='r')], 1), ([dict(FILTER='N1'), dict(FILTER='N2')], 1), ([dict(OBJECT='ngc1'), dict(OBJECT='ngc2')], 2),
    ([dict(OBJECT='ngc1', FILTER='g'), dict(OBJECT='ngc1', FILTER='i')], 1)])
def test_headers_tell_bands_from_objects(headers, n_objects, tmp_path):
    write(tmp_path/'a.fits', *(plane(galaxy(i), **header) for i,header in enumerate(headers)))
    source = find_images(tmp_path/'a.fits')
    assert len(source) == n_objects and len(read_cutout(source[:1][0]).pixels) == len(headers)//n_objects

@pytest.mark.parametrize('shift, is_object', [(dict(CRVAL1=150.1), True), (dict(CRPIX1=900.), True), (dict(), None)])
def test_places_on_the_sky_tell_objects(shift, is_object, tmp_path):
    "Stamps that are cut out of one image have its CRVAL, and a CRPIX of their own"
    wcs = dict(CTYPE1='RA---TAN', CTYPE2='DEC--TAN', CRVAL1=150., CRVAL2=2., CRPIX1=24.5, CRPIX2=24.5, CDELT1=-5e-5, CDELT2=5e-5)
    write(tmp_path/'a.fits', plane(galaxy(0), **wcs), plane(galaxy(1), **wcs | shift))
    if is_object: assert len(find_images(tmp_path/'a.fits')) == 2
    else:
        with pytest.raises(BadImage, match='may be bands, objects'): read_cutout(tmp_path/'a.fits')

def test_units_and_integers_tell_planes_that_are_not_light(tmp_path):
    weight,flags = np.where(corner, 0, 4).astype('f4'),np.where(u > 14, 2, 0).astype('i2')
    x = read_cutout(write(tmp_path/'a.fits', plane(galaxy(), BUNIT='nanomaggy'), plane(weight, BUNIT='1/nanomaggy^2'), plane(flags)))
    assert np.array_equal(np.isnan(x.pixels), [corner | (u > 14)])
    x = read_cutout(write(tmp_path/'b.fits', plane(galaxy(), BUNIT='MJy/sr'), plane(galaxy(1)**2, BUNIT='(MJy/sr)**2')))
    assert x.pixels.shape == (1, n, n) and np.array_equal(x.pixels[0], galaxy())

@pytest.mark.parametrize('name, header', [('spectral', dict(CTYPE3='WAVE')), ('radio', dict(CTYPE3='FREQ')), ('velocity', dict(CTYPE3='VRAD')), ('air', dict(CTYPE3='AWAV-LOG')),
    ('unit', dict(CUNIT3='Angstrom')), ('polarised', dict(CTYPE3='STOKES'))])
@pytest.mark.parametrize('k', [3, 20, 40])
def test_cubes_along_another_axis_are_not_bands(name, header, k, tmp_path):
    fits.writeto(tmp_path/'a.fits', np.stack([galaxy(i) for i in range(k)]), fits.Header(header))
    with pytest.raises(BadImage, match=f'cube of {k} planes along an axis called'): read_cutout(tmp_path/'a.fits')

def test_an_axis_of_one_plane_does_not_matter(tmp_path):
    fits.writeto(tmp_path/'a.fits', galaxy()[None,None], fits.Header(dict(CTYPE3='FREQ', CTYPE4='STOKES')))
    assert read_cutout(tmp_path/'a.fits').pixels.shape == (1, n, n)

@pytest.mark.parametrize('k, is_asked', [(2, True), (3, False), (5, False), (6, True), (12, True), (50, True)])
def test_cubes_without_names(k, is_asked, tmp_path):
    x = np.stack([galaxy(i) for i in range(k)])
    fits.writeto(tmp_path/'a.fits', x)
    if is_asked:
        with pytest.raises(BadImage, match=f'cube of {k} planes.*--axes bhw'): read_cutout(tmp_path/'a.fits')
    else: assert np.array_equal(read_cutout(tmp_path/'a.fits').pixels, x)
    source = find_images(tmp_path/'a.fits', axes='nhw')
    assert len(source) == k and np.array_equal(read_cutout(source[k-1:k][0]).pixels[0], x[k-1])
    if k <= 32: assert np.array_equal(read_cutout(find_images(tmp_path/'a.fits', axes='bhw')[:1][0]).pixels, x)

def test_a_mask_in_a_cube_is_no_band(tmp_path):
    fits.writeto(tmp_path/'a.fits', np.stack([galaxy(), galaxy(1), corner.astype('f4')]))
    with pytest.raises(BadImage, match='an image and its errors'): read_cutout(tmp_path/'a.fits')

def test_planes_in_a_zip_and_in_files_of_bands(tmp_path):
    for name in 'a_g', 'a_r': write(tmp_path/f'{name}.fits', plane(galaxy()), plane(galaxy(1)+9))
    with ZipFile(tmp_path/'src.zip', 'w') as archive: archive.write(tmp_path/'a_g.fits', 'a_g.fits')
    assert np.array_equal(read_cutout(find_images(tmp_path/'src.zip', images='2')[:1][0]).pixels[0], galaxy(1)+9)
    (tmp_path/'src').mkdir()
    for name in 'a_g', 'a_r', 'b_g', 'b_r': (tmp_path/f'src/{name}.fits').write_bytes((tmp_path/f'a_{name[-1]}.fits').read_bytes())
    assert np.array_equal(read_cutout(find_images(tmp_path/'src', images='2')[:1][0]).pixels, [galaxy(1)+9]*2)

def test_another_answer_does_not_continue_a_survey(tmp_path):
    (tmp_path/'src').mkdir()
    write(tmp_path/'src/g.fits', plane(galaxy()), plane(galaxy(1)))
    packed(tmp_path/'src', tmp_path/'s', images='1')
    with pytest.raises(BadInput): packed(tmp_path/'src', tmp_path/'s', images='2')

# Names of bands

@pytest.mark.parametrize('order', ['BLUE GREEN RED', 'B G R', 'IRAC1 IRAC2 IRAC3 IRAC4', 'CH1 CH2 CH3 CH4', 'W1 W2 W3 W4', 'FUV NUV u g r i z y J H Ks', 'g HALPHA i', 'g H-alpha I', 'SDSS_u SDSS_g SDSS_r',
    'HSC-G HSC-R HSC-I HSC-Z NB921 HSC-Y', 'DES.g DES.r DES.z DES.Y', 'CFHT_MegaCam.u CFHT_MegaCam.r', 'VIS Y_E J_E H_E', 'VIS NIR_Y NIR_J NIR_H', 'Gaia.BP Gaia.G Gaia.RP', 'F435W F606W F814W F125W F160W',
    'F090W F200W F277W F444W F770W F2100W', 'NIRCam_F150W MIRI_F560W', 'F062 F106 F184', 'IB427 IA505 NB816', 'zg zr zi', 'UVW2 UVM2 UVW1 U', '3.6um 4.5um 24um', 'PACS70 PACS160 SPIRE250'])
def test_bands_in_order(order, tmp_path):
    "A file that lists bands in reverse is packed by their wavelengths"
    names = order.split()
    lengths = [wavelength(name) for name in names]
    assert np.isfinite(lengths).all() and (np.diff(lengths) > 0).all(), lengths
    cutout = read_cutout(write(tmp_path/'a.fits', *(plane(galaxy(i), name=name) for i,name in list(enumerate(names))[::-1])))
    assert np.array_equal(cutout.chosen('all').pixels, [galaxy(i) for i in range(len(names))])

# What was not observed

def layout(name):
    "Planes as a public archive has them, in which the corner was not observed."
    x = galaxy()
    seen,one = np.where(corner, 0, 1),np.ones((n, n), 'f4')
    err,flags = np.where(corner, np.nan, one).astype('f4'),np.where(corner, 1, 0).astype('i4')
    detected = (np.hypot(u, v) < 12)*32
    found = {}
    found['jwst'] = [plane(x, 'SCI', TELESCOP='JWST'), plane(err, 'ERR'), plane(flags + 4*(u > 0), 'DQ'), plane(one, 'AREA'), plane(2*one, 'VAR_POISSON')]
    found['jwst_i2d'] = [plane(x, 'SCI'), plane(err, 'ERR'), plane(seen[None].astype('i4'), 'CON'), plane((5*seen).astype('f4'), 'WHT'), plane(2*one, 'VAR_POISSON'), plane(2*one, 'VAR_RNOISE')]
    found['hst'] = [plane(x, 'SCI'), plane((900*seen).astype('f4'), 'WHT'), plane((seen*-2**31).astype('i4'), 'CTX')]
    found['hst_flt'] = [plane(x, 'SCI'), plane(one, 'ERR'), plane((flags*4).astype('i2'), 'DQ')]
    found['des'] = [plane(x, 'SCI'), plane(flags.astype('i2'), 'MSK'), plane(seen.astype('f4'), 'WGT')]
    found['lsst'] = [plane(x, 'IMAGE'), plane((flags*256 + detected + 2*(u > 10)).astype('i4'), 'MASK', MP_BAD=0, MP_SAT=1, MP_DETECTED=5, MP_NO_DATA=8), plane(one, 'VARIANCE')]
    found['legacy'] = [plane(x, 'IMAGE'), plane((4*seen).astype('f4'), 'INVVAR'), plane(np.where(np.hypot(u, v) < 12, 4096, 0).astype('i2'), 'MASKBITS')]
    found['variance'] = [plane(x, 'SCI'), plane(np.where(corner, np.inf, 1).astype('f4'), 'VAR')]
    found['error'] = [plane(x, 'SCI'), plane(np.where(corner, 0, 1).astype('f4'), 'ERR')]
    found['rms'] = [plane(x, 'IMAGE'), plane(np.where(corner, 1e30, 1).astype('f4'), 'RMS')]
    found['ivar'] = [plane(x, 'FLUX'), plane((seen*3).astype('f4'), 'IVAR')]
    found['good'] = [plane(x, 'IMAGE'), plane(seen.astype('u1'), 'GOODPIX')]
    found['coverage'] = [plane(x, 'IMAGE'), plane((7*seen).astype('f4'), 'COVERAGE')]
    found['inverted'] = [plane(x, 'IMAGE'), plane(seen.astype('u1'), 'MASK')]
    found['bits'] = [plane(x, 'SCI'), plane((flags*16 + detected).astype('i2'), 'DQ')]
    found['galfit'] = [plane(np.where(corner, np.nan, x), 'INPUT'), plane(2*x, 'MODEL'), plane(3*x, 'RESIDUAL')]
    return found[name]

@pytest.mark.parametrize('name', 'jwst jwst_i2d hst hst_flt des lsst legacy variance error rms ivar good coverage inverted bits galfit'.split())
def test_layouts_of_archives(name, tmp_path):
    cutout = read_cutout(write(tmp_path/'a.fits', *layout(name)))
    assert cutout.pixels.shape == (1, n, n) and np.array_equal(np.isnan(cutout.pixels[0]), corner)
    assert np.array_equal(cutout.pixels[0][~corner], galaxy()[~corner])

@pytest.mark.parametrize('uncertainty', [StdDevUncertainty(np.where(corner, np.nan, 1.)), InverseVariance(np.where(corner, 0, 1.))])
def test_astropy_files(uncertainty, tmp_path):
    CCDData(galaxy(), uncertainty, np.zeros((n, n), bool), unit='adu').write(tmp_path/'a.fits')
    assert np.array_equal(np.isnan(read_cutout(tmp_path/'a.fits').pixels[0]), corner)

def test_planes_that_tell_nothing(tmp_path):
    "An error that is the root of the light, a weight that is 0 everywhere, and a flag on the galaxy leave all pixels in"
    x = galaxy()
    for i,other in enumerate((plane(np.sqrt(x.clip(0)), 'ERR'), plane(0*x, 'WHT'), plane(np.where(np.hypot(u, v) < 9, 2, 0).astype('i2'), 'DQ'))):
        assert np.array_equal(read_cutout(write(tmp_path/f'{i}.fits', plane(x, 'SCI'), other)).pixels[0], x)

def in_container(kind, path, image, names):
    if kind == 'npz': np.savez(path, image=image, **names)
    elif kind == 'groups':
        with h5py.File(path, 'w') as file:
            for i in range(3):
                for name,x in dict(image=image, **names).items(): file[f'G{i}/{name}'] = x
    elif kind == 'hdf5':
        with h5py.File(path, 'w') as file:
            for name,x in dict(images=image, **names).items(): file[name] = np.stack([x]*40)
    elif kind == 'columns': pq.write_table(pa.table(dict(image=[image.tolist()]*3, **{name: [x.tolist()]*3 for name,x in names.items()})), path)
    elif kind == 'files':
        encoded = {name: cv2.imencode('.tif', x.astype(np.uint8 if x.dtype == bool else np.float32))[1].tobytes() for name,x in dict(image=image, **names).items()}
        pq.write_table(pa.table({name: [content]*3 for name,content in encoded.items()}), path)
    else: pq.write_table(pa.table(dict(image=[dict(flux=[image.tolist()], **{name: [x.tolist()] for name,x in names.items()}, band=['r'])]*3)), path)

@pytest.mark.parametrize('kind, suffix', [('npz', 'npz'), ('hdf5', 'h5'), ('groups', 'h5'), ('parquet', 'parquet'), ('columns', 'parquet'), ('files', 'parquet')])
@pytest.mark.parametrize('name, x', [('ivar', np.where(corner, 0, 2.)), ('error', np.where(corner, np.inf, 2.)), ('mask', corner), ('goodpix', ~corner), ('dq', corner*4 + (np.hypot(u, v) < 12)*32)])
def test_planes_in_containers(kind, suffix, name, x, tmp_path):
    (tmp_path/'src').mkdir()
    in_container(kind, tmp_path/f'src/a.{suffix}', galaxy(), {name: x})
    source = find_images(tmp_path/'src' if kind == 'npz' else tmp_path/f'src/a.{suffix}')
    assert np.array_equal(unseen_in(read_cutout(source[:1][0])), corner)

@pytest.mark.parametrize('k, kind, is_said', [(2, 'f4', True), (4, 'u1', True), (3, 'u1', False), (1, 'f4', False)])
def test_bands_without_names_are_said(k, kind, is_said, tmp_path, capsys):
    "Two planes may be an image and its errors, and four of bytes have transparency; three of bytes are a picture."
    (tmp_path/'src').mkdir()
    for i in range(2): np.save(tmp_path/f'src/{i}.npy', np.stack([galaxy(10*i+b).clip(0, 255) for b in range(k)]).astype(kind))
    packed(tmp_path/'src', tmp_path/'out')
    assert ('do not name their' in capsys.readouterr().out) == is_said

def test_a_column_for_each_band(tmp_path):
    "Columns of images whose names tell bands are one object in bands, each row with its own columns."
    x = np.stack([[galaxy(10*i+b) for b in range(3)] for i in range(4)])
    columns = {f'image_{band}': list(x[:,b].tolist()) for b,band in enumerate('gri')}
    pq.write_table(pa.table(dict(z=[.1, .2, .3, .4], image_r=columns['image_r'], image_i=columns['image_i'], image_g=columns['image_g'], object_id=list('abcd'))), tmp_path/'a.parquet')
    source = find_images(tmp_path/'a.parquet')
    assert source.ids == list('abcd') and source.table.z.to_list() == [.1, .2, .3, .4]
    cutouts = [read_cutout(image) for image in source[:]]
    assert cutouts[0].bands == ('g', 'r', 'i') and np.array_equal([cutout.pixels for cutout in cutouts], x)

@pytest.mark.parametrize('kind', ['u2', 'f4'])
def test_the_largest_integer(kind, tmp_path):
    x = np.random.default_rng(0).normal(1000, 20, (n, n)) + np.minimum(2e5*np.exp(-np.hypot(u, v)/3), 1e6)
    strip,blob,core = u > 17,np.hypot(u-14, v+14) < 5,x > 65535
    full = np.where(strip | blob, 65535, np.minimum(x, 65535)).astype(kind)
    np.save(tmp_path/'a.npy', full)
    assert core.sum() > 20 and np.array_equal(unseen_in(read_cutout(tmp_path/'a.npy')), strip | blob)
    np.save(tmp_path/'b.npy', np.where(strip, -32768, x-1000).astype('i2'))
    assert np.array_equal(unseen_in(read_cutout(tmp_path/'b.npy')), strip)
    np.save(tmp_path/'c.npy', np.where(strip, 255, 20+x/65535*200).astype('u1'))
    assert not unseen_in(read_cutout(tmp_path/'c.npy')).any()

# Pictures

colours = np.random.default_rng(0).integers(30, 200, (n, n, 3), np.uint8)
alpha = np.where(corner, 0, 255).astype(np.uint8)

def content(im, kind, **options):
    im.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()

@pytest.mark.parametrize('make', [lambda: content(Image.fromarray(np.dstack([colours, alpha])), 'PNG'), lambda: content(Image.fromarray(np.dstack([colours, alpha])), 'TIFF'),
    lambda: content(Image.fromarray(np.dstack([colours, alpha])), 'WEBP', lossless=True), lambda: content(Image.fromarray(np.dstack([colours[...,0], alpha])), 'PNG'),
    lambda: bytes(cv2.imencode('.png', np.dstack([colours, alpha]).astype(np.uint16)*257)[1]),
    lambda: content(Image.fromarray(np.where(corner, 7, colours[...,0]).astype(np.uint8)), 'PNG', transparency=7)],
    ids=['rgba', 'tiff', 'webp', 'grey', '16 bits', 'colour key'])
def test_transparent_pixels_are_not_observed(make, tmp_path):
    cutout = read_cutout(make())
    assert cutout.pixels.dtype.kind == 'u' and len(cutout.pixels) in (1, 3) and np.array_equal(unseen_in(cutout), corner)
    (tmp_path/'src').mkdir()
    for i in range(2): (tmp_path/f'src/{i}.png').write_bytes(make())
    survey = packed(tmp_path/'src', tmp_path/'s')
    assert len(survey) == 2 and survey.packing['stretch']['pixels'] == cutout.pixels.dtype.name and (survey.index().n_nan > 0).all()

@pytest.mark.parametrize('kind', ['GIF', 'PNG', 'WEBP'])
def test_animations_are_refused(kind):
    frames = [Image.fromarray(colours), Image.fromarray(colours[::-1])]
    with pytest.raises(BadImage, match='animation of 2 frames'): read_cutout(content(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert read_cutout(content(frames[0], kind)).pixels.shape == (3, n, n)

def paged(*pages):
    with TiffImagePlugin.AppendingTiffWriter(buffer := io.BytesIO(), True) as writer:
        for x,tags in pages:
            Image.fromarray(np.ascontiguousarray(x)).save(writer, 'TIFF', tiffinfo=tags)
            writer.newFrame()
    return buffer.getvalue()

def test_pages_of_tiff():
    small = colours[::6,::6]
    for pages in [(small, {254: 1}), (colours, {})], [(colours, {}), (small, {254: 1})]:
        assert np.array_equal(read_cutout(paged(*pages)).pixels, colours.transpose(2, 0, 1))
    bands = read_cutout(paged(*((galaxy(i), {285: name}) for i,name in enumerate('irg'))))
    assert bands.bands == tuple('irg') and np.array_equal(bands.pixels, [galaxy(i) for i in range(3)])
    with pytest.raises(BadImage, match='has 3 pages'): read_cutout(paged(*((galaxy(i), {}) for i in range(3))))

@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'CMYK', 'YCbCr', 'RGBA'])
def test_modes_of_colour(mode):
    x = read_cutout(content(Image.fromarray(colours).convert(mode), 'TIFF' if mode != 'P' else 'PNG')).pixels.astype(int)
    assert x.dtype == int and len(x) == (1 if mode in '1L' else 3)
    if len(x) == 3: assert abs(x.mean((1, 2)) - colours.mean((0, 1))).max() < 12

def test_damaged_tiffs_say_one_sentence(tmp_path):
    r = np.random.default_rng(0)
    (tmp_path/'src').mkdir()
    whole = content(Image.fromarray(colours), 'TIFF', compression='tiff_lzw'),bytes(cv2.imencode('.tiff', colours.astype(np.uint16)*257)[1])
    for i,bytes_ in enumerate(whole): (tmp_path/f'src/{i}.tif').write_bytes(bytes_[:300] + r.bytes(900) + bytes_[1200:])
    code = 'import sys; from astrovader.data.pack import pack; pack(sys.argv[1], sys.argv[2], size=16, n_workers=0)'
    done = subprocess.run([sys.executable, '-c', code, tmp_path/'src', tmp_path/'s'], capture_output=True, text=True)
    assert 'none of the 2 images can be used' in done.stderr and not any(word in done.stderr for word in ('tempfile', 'WARN', 'TIFF_Error', 'TIFFRead'))

# Tables beside stamps

@pytest.mark.parametrize('is_named', [False, True])
def test_a_table_beside_stamps(is_named, tmp_path, capsys):
    names = ['J3', 'J1', 'J2']
    table = fits.BinTableHDU(Table(dict(name=sorted(names) if is_named else list('abc'), z=[.1, .2, .3])))
    write(tmp_path/'a.fits', *(plane(galaxy(i), name) for i,name in enumerate(names)), table)
    survey = packed(tmp_path/'a.fits', tmp_path/'s')
    assert list(survey.ids()) == names and list(survey.index().z) == ([.3, .1, .2] if is_named else [.1, .2, .3])
    assert 'give their columns' in capsys.readouterr().out

def test_a_table_that_does_not_fit_is_said(tmp_path, capsys):
    write(tmp_path/'a.fits', *(plane(galaxy(i), f'J{i}') for i in range(3)), fits.BinTableHDU(Table(dict(z=[.1, .2]))))
    assert len(packed(tmp_path/'a.fits', tmp_path/'s')) == 3 and 'a table of 2 rows beside 3 images is left out' in capsys.readouterr().out

def test_fits_in_a_tar_or_a_list_is_read_as_is_said(tmp_path):
    "The planes of FITS files in a tar or in a list need the same answer as elsewhere, and get it."
    planes = [plane(galaxy(i)) for i in range(2)]
    write(tmp_path/'a.fits', *planes)
    with tarfile.open(tmp_path/'set.tar', 'w') as archive: archive.add(tmp_path/'a.fits', 'a.fits')
    assert len(read_cutout(find_images(tmp_path/'set.tar', axes='bhw')[:][0]).pixels) == 2
    (tmp_path/'set.csv').write_text('path\na.fits\n')
    (tmp_path/'set.txt').write_text('a.fits\n')
    for name in 'set.tar','set.csv','set.txt':
        found = read_cutout(find_images(tmp_path/name, images='2')[:][0]).pixels
        assert (found == planes[1].data).all()

def test_planes_that_are_not_used_are_said(tmp_path, capsys):
    "An unknown name beside known bands is printed, in a folder and in a zip; one that is known to be no light is not."
    write(tmp_path/'set.fits', *(plane(galaxy(i), name) for i,name in enumerate(('G', 'R', 'WHITE', 'IVAR'))))
    (tmp_path/'set').mkdir()
    (tmp_path/'set.fits').rename(tmp_path/'set/a.fits')
    with ZipFile(tmp_path/'set.zip', 'w') as archive: archive.write(tmp_path/'set/a.fits', 'a.fits')
    for src in 'set', 'set.zip':
        [image] = find_images(tmp_path/src)[:]
        assert read_cutout(image).bands == ('G', 'R') and 'called WHITE are left out' in capsys.readouterr().out
    find_images(tmp_path/'set', images='WHITE')
    assert 'left out' not in capsys.readouterr().out

def test_many_planes_without_names_are_said_to_be_objects(tmp_path, capsys):
    "Six planes are taken for objects, and the sentence says how to make bands of them."
    path = write(tmp_path/'a.fits', *(plane(galaxy(i)) for i in range(6)))
    assert len(find_images(path)) == 6 and 'say so with --axes bhw' in capsys.readouterr().out
    assert len(find_images(path, axes='bhw')) == 1

@pytest.mark.parametrize('axes', [None, 'nbhw', 'bnhw', 'nhwb'])
@pytest.mark.parametrize('masked', [False, True])
def test_objects_in_bands(axes, masked, tmp_path):
    "An array of four axes is cut by its axis of objects, and so is a mask beside it."
    x = np.stack([[galaxy(10*i+b) for b in range(3)] for i in range(4)])
    mask = np.zeros(x.shape, np.uint8)
    mask[2,:,corner] = 1
    order = ['nbhw'.index(letter) for letter in axes or 'nbhw']
    path = write(tmp_path/'a.fits', plane(x.transpose(order), 'SCI'), *[plane(mask.transpose(order), 'MASK')]*masked)
    found = [read_cutout(image).pixels for image in find_images(path, axes=axes)[:]]
    expected = np.where(mask, np.nan, x) if masked else x
    assert len(found) == 4 and np.array_equal(found, expected, equal_nan=True)

def test_two_bands_without_names_in_an_array_of_four_axes_are_asked_for(tmp_path):
    x = np.stack([[galaxy(10*i+b) for b in range(2)] for i in range(4)])
    path = write(tmp_path/'a.fits', plane(x, 'SCI'))
    with pytest.raises(BadInput, match='4 x 2 x 48 x 48, which may be objects in bands; say so with --axes nbhw'): packed(path, tmp_path/'out')
    assert [len(read_cutout(image).pixels) for image in find_images(path, axes='nbhw')[:]] == [2]*4

# Names of bands beside an array

@pytest.mark.parametrize('axes', ['bhw', 'hwb'])
@pytest.mark.parametrize('how', ['file', 'folder'])
def test_names_of_bands_tell_one_image_from_several(axes, how, tmp_path):
    "A scene as scarlet keeps it: images, mask and variance of five bands, whose names an array of their number gives."
    (tmp_path/'src').mkdir()
    image = np.stack([galaxy(0, 50*(i+1)) for i in range(5)])
    mask = np.zeros(image.shape, np.int32)
    mask[:,corner] = 1
    def laid(x): return x if axes == 'bhw' else x.transpose(1, 2, 0)
    for name in ('a', 'b')[:1 + (how == 'folder')]:
        np.savez(tmp_path/f'src/{name}.npz', images=laid(image), mask=laid(mask), variance=laid(np.ones_like(image)), filters=list('griyz'), psfs=np.ones((5, 9, 9)))
    source = find_images(tmp_path/'src/a.npz' if how == 'file' else tmp_path/'src')
    cutout = read_cutout(source[:1][0])
    assert len(source) == (1 if how == 'file' else 2) and cutout.bands == tuple('griyz')
    assert (cutout.pixels[:,~corner] == image[:,~corner]).all() and unseen_in(cutout)[corner].all() and not unseen_in(cutout)[~corner].any()

def test_names_of_bands_that_are_pickled_are_left_alone(tmp_path):
    np.savez(tmp_path/'a.npz', image=np.stack([galaxy(i) for i in range(3)]), filters=np.array(['g', 'r', {}], object))
    cutout = read_cutout(tmp_path/'a.npz')
    assert len(cutout.pixels) == 3 and cutout.bands is None

def test_a_filter_for_each_of_many_images_is_a_column(tmp_path):
    np.savez(tmp_path/'a.npz', images=np.stack([galaxy(i) for i in range(6)]), filters=list('grzgrz'))
    source = find_images(tmp_path/'a.npz')
    assert len(source) == 6 and source.table.filters.to_list() == list('grzgrz')
