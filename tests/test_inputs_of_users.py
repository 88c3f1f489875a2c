"What astronomers hold becomes a survey by one command, rightly or with one sentence that says what to add."
import base64,gzip,io,json,sqlite3,tarfile
from zipfile import ZipFile
import h5py,numpy as np,pandas as pd,pyarrow as pa,pyarrow.parquet as pq,pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from PIL import Image
from astrovader.core import BadInput
from astrovader.data.cutouts import read_cutout
from astrovader.data.ids import rows_by_id
from astrovader.data.matching import positions_of
from astrovader.data.pack import pack
from astrovader.data.sources import find_images
from astrovader.data.synth import sky
from astrovader.tables import read_table

@pytest.fixture(scope='module')
def images(): return sky(6, 40, bands=3)[0].astype(np.float32)

def as_fits(image):
    fits.PrimaryHDU(image).writeto(buffer := io.BytesIO())
    return buffer.getvalue()

def as_png(image):
    Image.fromarray(np.uint8(image.clip(0, 255))).save(buffer := io.BytesIO(), 'PNG')
    return buffer.getvalue()

class Into:
    "Each method writes named files into a source at `d`, and returns its path."
    def folder(d, files):
        for name,content in files.items():
            (d/'set'/name).parent.mkdir(parents=True, exist_ok=True)
            (d/'set'/name).write_bytes(content)
        return d/'set'
    def zip(d, files):
        with ZipFile(d/'set.zip', 'w') as archive:
            for name,content in files.items(): archive.writestr(name, content)
        return d/'set.zip'
    def tar(d, files):
        with tarfile.open(d/'set.tar', 'w') as archive:
            for name,content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return d/'set.tar'
    def list(d, files):
        Into.folder(d, files)
        (d/'set.txt').write_text('\n'.join(f'set/{name}' for name in files))
        return d/'set.txt'
    def table(d, files):
        Into.folder(d, files)
        pd.DataFrame(dict(path=[f'set/{name}' for name in files], size=40)).to_csv(d/'set.csv', index=False)
        return d/'set.csv'
    def pattern(d, files): return Into.folder(d, files)/'**/*.fits'

ways = ['folder', 'zip', 'tar', 'list', 'table', 'pattern']
namings = ['{id}_{band}.fits', '{band}/{id}.fits', '{id}/{band}.fits', '{n}-cutout-HSC-{BAND}-9813-pdr3_wide.fits', 'frame-{band}-{id}.fits', '{id}_SDSS_{band}_psf.fits',
    'in/{id}-{band}-stamp.fits']

@pytest.mark.parametrize('way', ways)
@pytest.mark.parametrize('naming', namings)
def test_a_file_for_each_band(way, naming, images, tmp_path, capsys):
    files = {naming.format(id=f'J{i}', n=4000+i, band=band, BAND=band.upper()): as_fits(plane) for i,image in enumerate(images) for band,plane in zip('gri', image)}
    source = find_images(getattr(Into, way)(tmp_path, files))
    wanted = [f'{4000+i}' if '{n}' in naming else f'J{i}' for i in range(6)]
    order = [source.ids.index(id) for id in wanted]
    assert len(source) == 6 and [band.lower() for band in source.bands] == ['g', 'r', 'i']
    for i,image in zip(order, images): assert np.array_equal(read_cutout(source[i:i+1][0]).pixels, image)
    assert 'are taken for the bands' in capsys.readouterr().out

@pytest.mark.parametrize('way', ways)
def test_the_pattern_of_band_files_is_for_every_source_of_files(way, images, tmp_path):
    files = {f'J{i}.{band}x.fits': as_fits(plane) for i,image in enumerate(images) for band,plane in zip('gri', image)}
    source = find_images(getattr(Into, way)(tmp_path, files), band_files='{id}.{band}x.fits')
    assert len(source) == 6 and np.array_equal(read_cutout(source[2:3][0]).pixels, images[2])

def test_objects_named_by_letters_are_no_bands(images, tmp_path):
    files = {f'NGC_{letter}.fits': as_fits(images[0][0]) for letter in 'abcdefghijklm'}
    assert len(find_images(Into.folder(tmp_path, files))) == 13

def test_bands_that_cannot_be_joined_are_said(images, tmp_path, capsys):
    files = {f'{7*i+k}-cutout-HSC-{band}.fits': as_fits(plane) for i,image in enumerate(images) for k,(band,plane) in enumerate(zip('GRI', image))}
    assert len(find_images(Into.folder(tmp_path, files))) == 18
    assert 'no two are of the same object by their names' in capsys.readouterr().out

def test_a_table_with_a_column_or_a_row_for_each_band(images, tmp_path):
    Into.folder(tmp_path, {f'{i}{band}x.fits': as_fits(plane) for i,image in enumerate(images) for band,plane in zip('gri', image)})
    wide = pd.DataFrame(dict(object_id=[f'J{i}' for i in range(6)], z=np.arange(6.)) | {f'{band}_path': [f'set/{i}{band}x.fits' for i in range(6)] for band in 'rgi'})
    wide.loc[1, 'r_path'] = None
    wide.to_csv(tmp_path/'wide.csv', index=False)
    rows = [dict(object_id=f'J{i}', filter=band, z=float(i), path=f'set/{i}{band}x.fits') for i in range(6) for band in 'irg' if (i, band) != (1, 'r')]
    pd.DataFrame(rows).to_parquet(tmp_path/'long.parquet')
    for name in 'wide.csv','long.parquet':
        source = find_images(tmp_path/name)
        assert source.ids == [f'J{i}' for i in range(6)] and source.bands == ['g', 'r', 'i'] and source.table.z.to_list() == list(range(6))
        for i,image in enumerate(images):
            pixels = read_cutout(source[i:i+1][0]).pixels
            assert np.isnan(pixels[1]).all() if i == 1 else np.array_equal(pixels, image)

def write_hdf5(path, images, ids, bands='gri'):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        file['image_array'],file['object_id'],file['image_scale'] = images,ids,np.full((len(ids), 3), .17)
        file['image_band'] = np.array([[band.encode() for band in bands]]*len(ids))

def write_records(path, images, ids, bands='gri'):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.zeros((len(ids), 3), [('band', 'S1'), ('flux', 'f4', (40, 40)), ('scale', 'f4')])
    rows['band'],rows['flux'],rows['scale'] = [band.encode() for band in bands],images,.17
    with h5py.File(path, 'w') as file: file['image'],file['object_id'] = rows,ids

@pytest.mark.parametrize('write', [write_hdf5, write_records])
def test_a_folder_of_the_multimodal_universe(write, images, tmp_path):
    for k in range(2): write(tmp_path/f'set/healpix={10+k}/001-of-001.hdf5', images[3*k:3*k+3], [f'J{i}' for i in range(3*k, 3*k+3)])
    source = find_images(tmp_path/'set')
    assert source.ids == [f'J{i}' for i in range(6)]
    for i,image in enumerate(images):
        cutout = read_cutout(source[i:i+1][0])
        assert np.array_equal(cutout.pixels, image) and cutout.bands == ('g', 'r', 'i') and cutout.pixel_scale == pytest.approx(.17)

def stacks(d, kind, images, ids):
    (d/'set').mkdir()
    for k in range(2):
        part = slice(3*k, 3*k+3)
        if kind == 'npz': np.savez(d/f'set/{k}.npz', images=images[part], object_id=ids[part])
        if kind == 'h5': write_hdf5(d/f'set/{k}.h5', images[part], ids[part])
        if kind == 'zip': Into.zip(d, {f'{id}.fits': as_fits(image) for id,image in zip(ids[part], images[part])}).rename(d/f'set/{k}.zip')
    return d/'set'

@pytest.mark.parametrize('kind', ['npz', 'h5', 'zip'])
def test_containers_of_one_kind_are_one_source(kind, images, tmp_path):
    ids = [f'J{i}' for i in range(6)]
    folder = stacks(tmp_path, kind, images, ids)
    for src in folder,folder/f'*.{kind}':
        source = find_images(src)
        assert source.ids == ids and all(np.array_equal(read_cutout(source[i:i+1][0]).pixels, image) for i,image in enumerate(images))
    survey = pack(folder, tmp_path/'survey', size=32, n_workers=0)
    assert list(survey.ids()) == ids

@pytest.mark.parametrize('kind', ['npz', 'h5', 'zip'])
def test_equal_ids_in_several_containers_stay_apart(kind, images, tmp_path):
    assert len(set(find_images(stacks(tmp_path, kind, images, ['a', 'b', 'c']*2)).ids)) == 6

def test_containers_of_two_kinds_are_a_sentence_with_a_pattern(images, tmp_path):
    write_hdf5(tmp_path/'set/a.h5', images, list('abcdef'))
    Into.zip(tmp_path, {'a.fits': as_fits(images[0])}).rename(tmp_path/'set/b.zip')
    with pytest.raises(BadInput, match=r"name those of one kind, such as by '.*\*\.h5'"): find_images(tmp_path/'set')

@pytest.mark.parametrize('as_list', [False, True])
@pytest.mark.parametrize('lacking', [0, 3])
def test_rows_with_different_bands(as_list, lacking, images, tmp_path, capsys):
    def row(i, image):
        planes = list(zip('gri', image))[::-1 if i == 4 else 1]
        return [dict(band=band, flux=plane.tolist(), scale=.2) for band,plane in planes if (i, band) != (lacking, 'r')]
    rows = [row(i, image) for i,image in enumerate(images)]
    if not as_list: rows = [{name: [band[name] for band in row] for name in ('band', 'flux', 'scale')} for row in rows]
    pq.write_table(pa.table(dict(image=rows, object_id=list('abcdef'))), tmp_path/'a.parquet')
    source = find_images(tmp_path/'a.parquet')
    for i,image in enumerate(images):
        cutout = read_cutout(source[i:i+1][0])
        assert cutout.bands == ('g', 'r', 'i') and np.array_equal(cutout.pixels, np.where([[[True]], [[i != lacking]], [[True]]], image, np.nan), equal_nan=True)
    assert '1 of 6 rows lack some of the bands' in capsys.readouterr().out

def test_bands_of_fewer_pixels(images, tmp_path):
    def rows(scale): return [dict(band=['g', 'r'], flux=[image[0].tolist(), image[1][10:30,10:30].tolist()], scale=[.2, scale]) for image in images]
    for name,scale in dict(narrow=.2, coarse=.4, wrong=.3).items(): pq.write_table(pa.table(dict(image=rows(scale))), tmp_path/f'{name}.parquet')
    narrow,coarse = (read_cutout(find_images(tmp_path/f'{name}.parquet')[:1][0]) for name in ('narrow', 'coarse'))
    assert np.array_equal(narrow.pixels[1][10:30,10:30], images[0][1][10:30,10:30]) and np.isnan(narrow.pixels[1]).sum() == 40**2-20**2
    assert np.array_equal(coarse.pixels[1][::2,::2], images[0][1][10:30,10:30]) and coarse.pixel_scale == pytest.approx(.2)
    with pytest.raises(BadInput, match='fields of view and pixels differ'): pack(tmp_path/'wrong.parquet', tmp_path/'s', size=32, n_workers=0)

# Ids

@pytest.mark.parametrize('own, theirs', [('100', '100.0'), ('000100', '100'), ('100.0', '100'), ('NGC_100', 'ngc 100'), ('0100', '100.00')])
def test_ids_written_in_two_ways(own, theirs):
    others = [(own.replace('100', str(n)), theirs.replace('100', str(n))) for n in (100, 107, 230)]
    rows,counts = rows_by_id([o for o,_ in others], pd.DataFrame(dict(id=[t for _,t in others][::-1], n=[230, 107, 100])))
    assert rows.n.to_list() == [100, 107, 230] and counts['form']

def test_forms_never_join_ids_that_differ():
    rows,_ = rows_by_id(['7', '007'], pd.DataFrame(dict(id=['7', '007', '07'], n=[1, 2, 3])))
    assert rows.n.to_list() == [1, 2]
    rows,_ = rows_by_id(['a', 'A'], pd.DataFrame(dict(id=['A', 'b'], n=[1, 2])))
    assert rows.n.isna().to_list() == [True, False]

def test_ids_that_lost_digits_are_refused(tmp_path):
    table = pd.DataFrame(dict(id=[1237648720693755918., np.nan], z=1.))
    for suffix in 'csv','parquet':
        getattr(table, f'to_{suffix}')(tmp_path/f't.{suffix}', index=False)
        with pytest.raises(BadInput, match='lose digits'): rows_by_id(['1237648720693755918'], read_table(tmp_path/f't.{suffix}', first_is_id=True))
    pq.write_table(pa.table(dict(id=[1237648720693755918, None], z=[1., 2.])), tmp_path/'whole.parquet')
    assert rows_by_id(['1237648720693755918'], read_table(tmp_path/'whole.parquet', first_is_id=True))[0].z[0] == 1

def test_unmatched_ids_of_both_sides_are_shown(images, tmp_path, capsys):
    src = Into.folder(tmp_path, {f'J{i}.fits': as_fits(image[0]) for i,image in enumerate(images)})
    pd.DataFrame(dict(id=['J0', 'J9'], z=1.)).to_csv(tmp_path/'t.csv', index=False)
    pack(src, tmp_path/'s', size=32, n_workers=0, table=tmp_path/'t.csv')
    assert "5 not found (such as 'J1', where the table has 'J9')" in capsys.readouterr().out

# Positions

places = SkyCoord([150.5, 0.01, 359.99], [-.25, 2.5, -41], unit='deg')
gal = places.galactic
texts = {f'{sep or "letters"}': dict(ra=places.ra.to_string('hour', precision=4, **(dict(sep=sep) if sep else {})), dec=places.dec.to_string('deg', precision=3,
    alwayssign=True, **(dict(sep=sep) if sep else {}))) for sep in (':', ' ', None)}
degrees = [(places.ra.deg, places.dec.deg)]
names = [('RAJ2000', 'DEJ2000'), ('_RAJ2000', '_DEJ2000'), ('ALPHA_J2000', 'DELTA_J2000'), ('RA_ICRS', 'DE_ICRS'), ('raMean', 'decMean'), ('ra_deg', 'dec_deg'), ('RAdeg', 'DEdeg'),
    ('RA (deg)', 'Dec (deg)'), ('i_ra', 'i_dec'), ('RA_1', 'DEC_1'), ('s_ra', 's_dec'), ('rightAscension', 'declination'), ('ALPHAWIN_J2000', 'DELTAWIN_J2000')]
tables = texts | {ra: {ra: places.ra.deg, dec: places.dec.deg, f'e_{ra}': 1., f'e_{dec}': 1.} for ra,dec in names} | dict(hours=dict(ra_hours=places.ra.hour, dec=places.dec.deg),
    galactic=dict(l=gal.l.deg, b=gal.b.deg), glon=dict(GLON=gal.l.deg, GLAT=gal.b.deg))

@pytest.mark.parametrize('form', tables)
def test_positions_in_any_form(form):
    found,_ = positions_of(pd.DataFrame(tables[form]))
    assert (SkyCoord(*found, unit='deg').separation(places).arcsec < .01).all()

@pytest.mark.parametrize('unit', ['hourangle', 'h', 'rad', 'deg'])
@pytest.mark.parametrize('suffix', ['fits', 'vot', 'ecsv'])
def test_the_unit_of_a_column_is_known(unit, suffix, tmp_path):
    ra = dict(hourangle=places.ra.hour, h=places.ra.hour, rad=places.ra.rad, deg=places.ra.deg)[unit]
    written = 'deg' if suffix == 'fits' else 'hourangle' if unit == 'h' else unit # astropy writes no hours into FITS
    table = Table(dict(name=list('abc'), ra=ra, dec=places.dec.deg), units=dict(ra=written, dec='deg'))
    table.write(tmp_path/f't.{suffix}', format=dict(vot='votable', ecsv='ascii.ecsv').get(suffix))
    if suffix == 'fits': fits.setval(tmp_path/'t.fits', 'TUNIT2', value=unit, ext=1)
    found,_ = positions_of(read_table(tmp_path/f't.{suffix}'))
    assert (SkyCoord(*found, unit='deg').separation(places).arcsec < .01).all()

def test_two_positions_are_a_question():
    with pytest.raises(BadInput, match=r'several positions \(ra_1 and ra_2\)'): positions_of(pd.DataFrame(1., [0], ['ra_1', 'dec_1', 'ra_2', 'dec_2']))

# Tables

layouts = {'t.txt': 'id z\n007 0.5\nb 0.7\n', 't.dat': '# id z\n007 0.5\nb 0.7\n', 't.tab': 'id\tz\n007\t0.5\nb\t0.7\n', 'semicolon.csv': 'id;z\n007;0,5\nb;0,7\n',
    'tabs.csv': 'id\tz\n007\t.5\nb\t.7\n', 'comments.csv': '# made by me, in 2020\n#\nid,z\n007,.5\nb,.7\n', 'hash.csv': '#id,z\n007,.5\nb,.7\n', 'bom.csv': '\ufeff#Table1\nid,z\n007,.5\nb,.7\n',
    'spaces.csv': 'id, z\n007, .5\nb, .7\n', 't.json': '[{"id": "007", "z": 0.5}, {"id": "b", "z": 0.7}]', 't.jsonl': '{"id": "007", "z": 0.5}\n{"id": "b", "z": 0.7}\n',
    'bars.txt': 'id|z\n007|.5\nb|.7\n', 'vizier.tsv': '#RESOURCE=x\nid\tz\n \tmag\n---\t---\n007\t0.5\nb\t0.7\n'}

@pytest.mark.parametrize('name', layouts)
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16', 'latin-1', 'gz'])
def test_text_of_any_layout(name, encoding, tmp_path):
    if encoding != 'utf-8' and (name.startswith('bom') or encoding == 'latin-1' and name.endswith(('json', 'jsonl'))): return
    path = tmp_path/(name+'.gz' if encoding == 'gz' else name)
    text = layouts[name].replace('b', 'é') if encoding == 'latin-1' else layouts[name]
    path.write_bytes(gzip.compress(text.encode()) if encoding == 'gz' else text.encode(encoding))
    assert read_table(path, first_is_id=True).to_dict('list') == dict(id=['007', 'é' if encoding == 'latin-1' else 'b'], z=[.5, .7])

def test_files_that_are_no_tables_are_a_sentence(tmp_path):
    sqlite3.connect(tmp_path/'a.db').execute('create table t (id int)').connection.commit()
    with ZipFile(tmp_path/'a.xlsx', 'w') as archive: archive.writestr('xl/workbook.xml', '<x/>')
    pd.DataFrame(dict(a=[1])).to_pickle(tmp_path/'a.pkl')
    for name in 'a.db','a.xlsx','a.pkl':
        for read in read_table,find_images:
            with pytest.raises(BadInput, match='cannot be read; export the table as CSV, FITS or Parquet'): read(tmp_path/name)
    (tmp_path/'numbers.csv').write_text('1,2\n3,4\n')
    with pytest.raises(BadInput, match='names of its columns'): read_table(tmp_path/'numbers.csv')
    (tmp_path/'twice.csv').write_text('id,z,id\n1,2,3\n')
    with pytest.raises(BadInput, match="two columns 'id'"): read_table(tmp_path/'twice.csv', first_is_id=True)

# Images in text

def test_images_in_cells(images, tmp_path):
    planes = [np.uint8(image[0].clip(0, 255)) for image in images]
    cells = dict(png=[base64.b64encode(as_png(x)).decode() for x in planes], uri=['data:image/png;base64,'+base64.b64encode(as_png(x)).decode() for x in planes],
        fits=[base64.b64encode(as_fits(x)).decode() for x in planes], lists=[x.tolist() for x in planes])
    for name,values in cells.items():
        table = pd.DataFrame(dict(object_id=list('abcdef'), image=values))
        table.to_csv(tmp_path/f'{name}.csv', index=False)
        (tmp_path/f'{name}.jsonl').write_text('\n'.join(json.dumps(row) for row in table.to_dict('records')))
        table.to_parquet(tmp_path/f'{name}.parquet')
        for suffix in 'csv','jsonl','parquet':
            source = find_images(tmp_path/f'{name}.{suffix}')
            assert source.ids == list('abcdef') and all(np.array_equal(read_cutout(source[i:i+1][0]).pixels[0], x) for i,x in enumerate(planes)), (name, suffix)

def test_pixels_without_a_shape_are_a_sentence(images, tmp_path):
    np.savetxt(tmp_path/'a.txt', images[0][0])
    with pytest.raises(BadInput, match='save it as .npy or FITS'): find_images(tmp_path/'a.txt')
    pd.DataFrame(images[:,0].reshape(6, -1)).assign(id=range(6)).to_csv(tmp_path/'flat.csv', index=False)
    with pytest.raises(BadInput, match='1601 columns of numbers, if they are pixels'): find_images(tmp_path/'flat.csv')
    pq.write_table(pa.table(dict(image=[image[0].ravel().tolist() for image in images])), tmp_path/'flat.parquet')
    with pytest.raises(BadInput, match='does not tell height and width'): pack(tmp_path/'flat.parquet', tmp_path/'s', size=32, n_workers=0)

@pytest.mark.parametrize('address', ['https://example.org/a.png', 's3://bucket/a.fits', 'http://x.org/cut?ra=1&name=a.jpg'])
def test_addresses_on_the_web_are_a_sentence(address, tmp_path):
    (tmp_path/'a.txt').write_text(address+'\n')
    pd.DataFrame(dict(object_id=[1], url=[address])).to_csv(tmp_path/'a.csv', index=False)
    for name in 'a.txt','a.csv':
        with pytest.raises(BadInput, match='download them .* astrovader-fetch'): find_images(tmp_path/name)
    with pytest.raises(BadInput, match='is an address on the web; download it'): find_images(address)
    with pytest.raises(BadInput, match='is an address on the web; download the table'): read_table(address)
