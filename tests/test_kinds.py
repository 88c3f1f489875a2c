"The same galaxies in every kind of source make the same survey; what public collections hold is read as it is meant."
import io,json,os,subprocess,sys,tarfile
from zipfile import ZipFile
import h5py,numpy as np,pandas as pd,pyarrow as pa,pyarrow.parquet as pq,pytest,zarr
from astropy.io import fits
from astropy.nddata import CCDData,StdDevUncertainty
from fastcore.docments import docments
from PIL import Image
from astrovader.cli import astrovader_pack
from astrovader.core import BadInput
from astrovader.data.cutouts import Flag
from astrovader.data.pack import pack
from astrovader.data.sources import find_images,source_kinds
from astrovader.data.synth import sky

n,size = 50,40
ids = [f'G{i:02}' for i in range(n)]
suffixes = dict(folder='', zip='.zip', npy='.npy', npz='.npz', hdf5='.h5', groups='.hdf5', zarr2='.zarr', zarr3='.zarr', sharded='.zarr', hugging_face='.parquet', parquet='.parquet',
    shards='', tar='.tar', webdataset='.tar', fits='.fits', cube='', list='.txt', table='.csv', bands='')

@pytest.fixture(scope='module')
def images(): return sky(n, size, bands=3)[0]

def png(image):
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer := io.BytesIO(), 'PNG')
    return buffer.getvalue()

def write_tar(path, members):
    with tarfile.open(path, 'w') as archive:
        for name,content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

def write_folder(path, images):
    path.mkdir()
    for id,image in zip(ids, images): (path/f'{id}.png').write_bytes(png(image))

class Write:
    "Each method writes the galaxies to `path`, and returns the options that read them."
    def folder(path, images): write_folder(path, images)
    def zip(path, images):
        with ZipFile(path, 'w') as archive:
            for id,image in zip(ids, images): archive.writestr(f'in/{id}.png', png(image))
    def npy(path, images): np.save(path, images)
    def npz(path, images): np.savez(path, images=images, object_id=ids)
    def hdf5(path, images):
        with h5py.File(path, 'w') as file:
            file.create_dataset('data/images', data=images.transpose(0, 2, 3, 1), chunks=(7, size, size, 3), compression='gzip')
            file['data/name'] = ids
        return dict(id_column='name')
    def groups(path, images):
        with h5py.File(path, 'w') as file:
            for id,image in zip(ids, images): file[f'{id}/image'] = image
    def zarr2(path, images): zarr.save_array(path, images, zarr_format=2)
    def zarr3(path, images):
        group = zarr.create_group(path)
        group.create_array('images', data=images, chunks=(8, 3, size, size))
        group.create_array('object_id', data=np.array(ids))
    def sharded(path, images): zarr.create_array(path, data=images, chunks=(2, 3, size, size), shards=(10, 3, size, size))
    def hugging_face(path, images):
        column = pa.array([dict(bytes=png(image), path=None) for image in images], pa.struct([('bytes', pa.binary()), ('path', pa.string())]))
        pq.write_table(pa.table(dict(image=column, id_str=ids)), path, row_group_size=9)
        return dict(id_column='id_str')
    def parquet(path, images): pq.write_table(pa.table(dict(jpg=list(map(png, images)), object_id=ids)), path)
    def shards(path, images):
        path.mkdir()
        for i in range(3):
            part = slice(20*i, 20*i+20)
            pq.write_table(pa.table(dict(image=list(map(png, images[part])), object_id=ids[part])), path/f'train-{i:05}-of-00003.parquet')
    def tar(path, images): write_tar(path, [(f'{id}.png', png(image)) for id,image in zip(ids, images)])
    def webdataset(path, images):
        write_tar(path, [(f'{i:04}.{suffix}', content) for i,(id,image) in enumerate(zip(ids, images))
            for suffix,content in (('png', png(image)), ('json', json.dumps(dict(object_id=id)).encode()))])
    def fits(path, images): fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(image, name=id) for id,image in zip(ids, images))]).writeto(path)
    def cube(path, images):
        path.mkdir()
        for id,image in zip(ids, images): fits.writeto(path/f'{id}.fits', image)
    def list(path, images):
        write_folder(path.with_name('listed'), images)
        path.write_text('\n'.join(f'listed/{id}.png' for id in ids))
    def table(path, images):
        write_folder(path.with_name('tabled'), images)
        pd.DataFrame(dict(object_id=ids, file_loc=[f'/data/elsewhere/tabled/{id}.png' for id in ids])).to_csv(path, index=False)
        return dict(root=path.parent)
    def bands(path, images):
        path.mkdir()
        for id,image in zip(ids, images):
            for band,plane in zip('zrg', image): fits.writeto(path/f'{id}_{band}.fits', plane)

without_ids = {'npy', 'zarr2', 'sharded'}

@pytest.fixture(scope='module')
def reference(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp('reference')
    write_folder(folder/'src', images)
    return pack(folder/'src', folder/'survey', size=32, n_workers=0)

@pytest.mark.parametrize('kind', suffixes)
def test_every_kind_makes_the_same_survey(kind, images, reference, tmp_path):
    src = tmp_path/f'src{suffixes[kind]}'
    options = getattr(Write, kind)(src, images) or {}
    survey = pack(src, tmp_path/'survey', size=32, n_workers=0, **options)
    assert {**survey.packing, 'band_names': None} == {**reference.packing, 'band_names': None} and np.array_equal(survey.images(slice(None)), reference.images(slice(None)))
    assert list(survey.ids()) == ([str(i) for i in range(n)] if kind in without_ids else ids) and not len(survey.rejected())

in_help = dict(Folder='folder', Zip='zip', Listed='list or table of paths', Arrays='HDF5, .npy, .npz, Zarr', Groups='HDF5', ParquetShards='Parquet', HatsShards='HATS', TarShards='tar',
    Several='several of these in a folder', FitsFile='a FITS file', Mosaics='tiles of the sky', RegriddedMosaics='tiles of the sky', Pattern='pattern')

def test_every_kind_is_tested_and_in_the_help():
    "A kind that is added has to be named in the help of astrovader-pack, which is not made from the registry: importing it takes seconds."
    assert {kind.__name__ for kind in source_kinds} == set(in_help)
    said = docments(astrovader_pack)['src']
    assert not [text for text in in_help.values() if text not in said]

@pytest.mark.parametrize('kind', ['hdf5', 'hugging_face', 'tar', 'sharded'])
def test_workers_and_resuming_change_nothing(kind, images, reference, tmp_path):
    src = tmp_path/f'src{suffixes[kind]}'
    options = getattr(Write, kind)(src, images) or {}
    survey = pack(src, tmp_path/'survey', size=32, n_workers=2, shard_rows=16, **options)
    assert np.array_equal(survey.images(slice(None)), reference.images(slice(None)))

def test_a_changed_container_is_noticed(images, tmp_path):
    Write.hdf5(tmp_path/'a.h5', images)
    pack(tmp_path/'a.h5', tmp_path/'survey', size=16, n_workers=0)
    pack(tmp_path/'a.h5', tmp_path/'survey', size=16, n_workers=0)
    Write.hdf5(tmp_path/'a.h5', images[::-1])
    with pytest.raises(BadInput, match='have changed since they were packed'): pack(tmp_path/'a.h5', tmp_path/'survey', size=16, n_workers=0)

@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='this system does not tell the memory of a process')
def test_memory_does_not_grow_with_a_parquet_file(tmp_path):
    "30 times as many images in one group of rows need as much memory as a few"
    def npy():
        np.save(buffer := io.BytesIO(), r.integers(0, 255, (3, 40, 40), np.uint8))
        return buffer.getvalue()
    r = np.random.default_rng(0)
    code = '''if True:
        import re,sys
        from astrovader.data.cutouts import read_cutout
        from astrovader.data.sources import find_images
        import astrovader.data.shards
        source = find_images(sys.argv[1])
        for i in range(len(source)): read_cutout(source[i:i+1][0])
        print(int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])//1024)'''
    used = []
    for k in 1000,30000:
        pq.write_table(pa.table(dict(image=[npy() for _ in range(k)])), tmp_path/f'{k}.parquet', use_dictionary=False)
        used.append(int(subprocess.run([sys.executable, '-c', code, tmp_path/f'{k}.parquet'], capture_output=True, text=True, check=True).stdout))
    assert os.stat(tmp_path/'30000.parquet').st_size > 1.4e8 and used[1] < used[0] + 60

def one(src, out, **options): return pack(src, out, size=32, n_workers=0, **options)

def test_errors_and_masks_are_not_bands(tmp_path):
    light = np.random.default_rng(0).normal(100, 1, (32, 32)).astype(np.float32)
    mask = np.zeros((32, 32), bool)
    mask[:4] = True
    CCDData(light, StdDevUncertainty(1000*light), mask, unit='adu').write(tmp_path/'a.fits', hdu_mask='MASK', hdu_uncertainty='UNCERT')
    from astrovader.data.cutouts import read_cutout
    cutout = read_cutout(tmp_path/'a.fits')
    assert cutout.pixels.shape == (1, 32, 32) and np.array_equal(np.isnan(cutout.pixels[0]), mask)
    assert np.array_equal(cutout.pixels[0][~mask], light[~mask])

def test_stamps_of_several_sizes_are_objects(tmp_path, capsys):
    (tmp_path/'src').mkdir()
    stamps = [fits.ImageHDU(np.random.default_rng(i).normal(size=(40+8*i,)*2).astype(np.float32)) for i in range(6)]
    fits.HDUList([fits.PrimaryHDU(), *stamps]).writeto(tmp_path/'src/stamps.fits')
    assert list(one(tmp_path/'src', tmp_path/'s').ids()) == [f'stamps_{i}' for i in range(6)]

def test_red_is_the_longest_wavelength(tmp_path):
    (tmp_path/'src').mkdir()
    x = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    fits.writeto(tmp_path/'src/a.fits', np.stack([x, 2*x, 3*x]), fits.Header(dict(BANDS='grz')))
    survey = one(tmp_path/'src', tmp_path/'s')
    assert survey.packing['bands'] == 'rgb' and (np.diff(survey.images([0])[0].mean((1, 2))) < 0).all()
    named = one(tmp_path/'src', tmp_path/'t', bands='g,z')
    assert named.packing['bands'] == 'g,z' and (np.diff(named.images([0])[0].mean((1, 2))) > 0).all()
    with pytest.raises(BadInput, match='has g, r, z, and i is wanted'): one(tmp_path/'src', tmp_path/'u', bands='i')

def test_paths_of_a_table(tmp_path, images):
    write_folder(tmp_path/'im', images[:4])
    pd.DataFrame(dict(filename=[f'{id}.png' for id in ids[:4]], file_loc=[str(tmp_path/f'im/{id}.png') for id in ids[:4]])).to_csv(tmp_path/'two.csv', index=False)
    assert len(one(tmp_path/'two.csv', tmp_path/'s')) == 4
    pd.DataFrame(dict(path=['im/G00.png', None, 'im/G02.png'])).to_csv(tmp_path/'gap.csv', index=False)
    survey = one(tmp_path/'gap.csv', tmp_path/'t')
    assert list(survey.ids()) == ['G00', 'G02'] and list(survey.rejected().reason) == ['has no path']
    pd.DataFrame(dict(path=['/far/G00.png'])).to_csv(tmp_path/'far.csv', index=False)
    with pytest.raises(BadInput, match=r'such as /far/G00.png; name the folder that holds the images with --root'): find_images(tmp_path/'far.csv')

@pytest.mark.parametrize('src, options, text', [('src.tar', dict(axes='nhw'), 'axes is for'), ('src.tar', dict(images='x'), 'images is for'),
    ('src', dict(root='.'), 'root is for a text file or table')])
def test_an_option_of_another_kind_is_refused(src, options, text, images, tmp_path):
    Write.tar(tmp_path/'src.tar', images[:2]) if src.endswith('tar') else write_folder(tmp_path/'src', images[:2])
    with pytest.raises(BadInput, match=text): find_images(tmp_path/src, **options)

def test_grey_among_colour_is_counted(tmp_path, images, capsys):
    write_folder(tmp_path/'src', images[:6])
    Image.open(tmp_path/'src/G03.png').convert('L').save(tmp_path/'src/G03.png')
    survey = one(tmp_path/'src', tmp_path/'s')
    assert survey.packing['n_bands'] == 3 and list(survey.ids()[(survey.index()['flags'].to_numpy() & int(Flag.GREY)) > 0]) == ['G03']
    assert '1 galaxy grey among colour images' in capsys.readouterr().out

def test_hats_catalogues_with_images(images, reference, tmp_path):
    lsdb = pytest.importorskip('lsdb', reason='lsdb is not installed; pip install astrovader[lsdb]')
    ra = np.linspace(10, 200, n)
    table = pd.DataFrame(dict(object_id=ids, ra=ra, dec=np.linspace(-40, 40, n), image=list(map(png, images))))
    table['image'] = table.image.astype(pd.ArrowDtype(pa.binary()))
    lsdb.from_dataframe(table, ra_column='ra', dec_column='dec', lowest_order=1, highest_order=3, partition_rows=20).to_hats(tmp_path/'sky', catalog_name='sky')
    survey = pack(tmp_path/'sky', tmp_path/'survey', size=32, n_workers=0)
    order = [ids.index(id) for id in survey.ids()]
    assert sorted(order) == list(range(n)) and np.array_equal(survey.images(slice(None)), reference.images(order))
    assert np.allclose(survey.index().ra, ra[order])

def test_a_pattern_of_images(images, reference, tmp_path):
    write_folder(tmp_path/'src', images)
    survey = pack(tmp_path/'src/G*.png', tmp_path/'survey', size=32, n_workers=0)
    assert list(survey.ids()) == ids and np.array_equal(survey.images(slice(None)), reference.images(slice(None)))

def test_a_missing_band_and_weights_beside_the_images(tmp_path, capsys):
    (tmp_path/'src').mkdir()
    r = np.random.default_rng(0)
    for i in range(6):
        for band in 'grz':
            if (i, band) != (1, 'z'): fits.writeto(tmp_path/f'src/J{i}_{band}.fits', r.normal(10, 1, (32, 32)).astype(np.float32))
            fits.writeto(tmp_path/f'src/J{i}_{band}_weight.fits', np.ones((32, 32), np.float32))
    survey = one(tmp_path/'src', tmp_path/'s')
    assert len(survey) == 6 and survey.packing['n_bands'] == 3 and list(survey.index()['flags'].to_numpy() & int(Flag.NO_BAND) > 0) == [i == 1 for i in range(6)]
    assert 'are left out, such as J0_g_weight.fits' in capsys.readouterr().out

@pytest.mark.parametrize('values', [[1e20], [999999], [-9999], [-999, -9999], [9.97e36]])
def test_placeholders_on_either_side(values, tmp_path):
    (tmp_path/'src').mkdir()
    x = np.random.default_rng(0).normal(10, 2, (64, 64)).astype(np.float32)
    for i,value in enumerate(values): x[:,6*i:6*i+6] = value
    np.save(tmp_path/'src/a.npy', x)
    survey = one(tmp_path/'src', tmp_path/'s')
    assert survey.index().n_nan[0] == 64*6*len(values) and 100 < survey.images([0]).std()+100 and survey.images([0])[0,0,:,-20:].std() > 20
