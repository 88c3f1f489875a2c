"Images a second out of every kind of source, read in order by one process, against the same JPEGs as files; and the memory that many rows of Parquet need."
import argparse,io,re,statistics,tarfile,tempfile,time
import h5py,numpy as np,pyarrow as pa,pyarrow.parquet as pq,zarr
from pathlib import Path
from zipfile import ZipFile
from astropy.io import fits
from PIL import Image
from astrovader.core import provenance,write_json
from astrovader.data import pack # chkstyle: ignore; it registers sources
from astrovader.data.cutouts import read_cutout
from astrovader.data.sources import find_images
from astrovader.data.synth import sky

def jpeg(image):
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer := io.BytesIO(), 'JPEG', quality=90)
    return buffer.getvalue()

def add_member(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))

def write_all(d, images):
    "The same images in every kind of source: paths by name."
    jpegs = list(map(jpeg, images))
    for folder in 'files','fits','bands': (d/folder).mkdir()
    with ZipFile(d/'images.zip', 'w') as archive, tarfile.open(d/'images.tar', 'w') as tar:
        for i,content in enumerate(jpegs):
            (d/f'files/{i}.jpg').write_bytes(content)
            archive.writestr(f'{i}.jpg', content)
            add_member(tar, f'{i}.jpg', content)
    hugging_face = pa.array([dict(bytes=content, path=None) for content in jpegs], pa.struct([('bytes', pa.binary()), ('path', pa.string())]))
    pq.write_table(pa.table(dict(image=hugging_face)), d/'images.parquet', row_group_size=1000)
    with h5py.File(d/'images.h5', 'w') as file: file.create_dataset('images', data=images.transpose(0, 2, 3, 1), chunks=(min(32, len(images)), *images.shape[2:], 3), compression='gzip')
    np.save(d/'images.npy', images)
    zarr.create_array(d/'images.zarr', data=images, chunks=(8, *images.shape[1:]), shards=(64, *images.shape[1:]))
    for i,image in enumerate(images.astype(np.float32)):
        fits.writeto(d/f'fits/{i}.fits', image)
        for band,plane in zip('zrg', image): fits.writeto(d/f'bands/{i}_{band}.fits', plane)
    return {'JPEG files': 'files', 'zip': 'images.zip', 'tar': 'images.tar', 'Parquet': 'images.parquet', 'HDF5, gzip': 'images.h5', 'NPY': 'images.npy', 'Zarr, shards': 'images.zarr',
        'FITS cubes': 'fits', 'FITS, a file for each band': 'bands'}

def rate(path):
    "Images a second, with the time to find them."
    start = time.perf_counter()
    source = find_images(path)
    for i in range(len(source)): read_cutout(source[i:i+1][0])
    return len(source)/(time.perf_counter()-start)

def peak(): return int(re.search(r'VmHWM:\s*(\d+)', Path('/proc/self/status').read_text())[1])/1024

def many_rows(d, n, image):
    "Time and memory of reading `n` rows of Parquet, in shards of 10,000, through a source (Linux)."
    content = jpeg(image)
    (d/'rows').mkdir()
    for i in range(0, n, 10_000):
        k = min(10_000, n-i)
        table = pa.table(dict(image=[content + bytes(8) + (i+j).to_bytes(8) for j in range(k)], object_id=[str(i+j) for j in range(k)]))
        pq.write_table(table, d/f'rows/{i:09}.parquet', use_dictionary=['object_id'])
    del table
    before,start = peak(),time.perf_counter()
    source = find_images(d/'rows')
    found = time.perf_counter()-start
    for i in range(n): read_cutout(source[i:i+1][0])
    size = sum(path.stat().st_size for path in (d/'rows').iterdir())/1e6
    return dict(rows=n, mb_of_files=size, mb_grown=peak()-before, seconds_to_find=found, images_per_s=n/(time.perf_counter()-start))

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--n', type=int, default=1000, help='images in each source')
    p.add_argument('--size', type=int, default=128, help='their size in pixels')
    p.add_argument('--rows', type=int, default=100_000, help='rows of Parquet whose memory is measured')
    p.add_argument('--repeats', type=int, default=3, help='repetitions, all kinds in turn; the median counts')
    p.add_argument('--json', help='write the result to this file')
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        images = np.resize(sky(min(a.n, 200), a.size, bands=3)[0], (a.n, 3, a.size, a.size))
        paths = write_all(d, images)
        rates = [{name: rate(d/path) for name,path in paths.items()} for _ in range(a.repeats)]
        rows = many_rows(d, a.rows, images[0])
    def median(f): return {name: statistics.median(f(run, name) for run in rates) for name in paths}
    per_s,times = median(lambda run, name: run[name]),median(lambda run, name: run[name]/run['JPEG files'])
    table = {name: dict(images_per_s=per_s[name], times_jpeg_files=times[name]) for name in paths}
    print(f'images of {a.size} pixels in three bands, read in order by one process')
    for name,found in table.items(): print(f'{name:28} {found["images_per_s"]:7,.0f} images/s  {found["times_jpeg_files"]:5.2f} times JPEG files')
    print(f'{rows["rows"]:,} rows of Parquet, {rows["mb_of_files"]:,.0f} MB: found in {rows["seconds_to_find"]:.2f} s, '
        f'{rows["images_per_s"]:,.0f} images/s, {rows["mb_grown"]:,.0f} MB of memory more')
    if a.json: write_json(a.json, dict(sources=table, parquet=rows, **provenance(n=a.n, size=a.size, repeats=a.repeats)))

if __name__ == '__main__': main()
