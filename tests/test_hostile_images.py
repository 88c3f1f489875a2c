"Files whose headers lie: absurd sizes, tiles that crash C code, and gzip that becomes gigabytes; each is refused in one sentence, soon."
import gzip,io,multiprocessing
import numpy as np,pytest
from astropy.io import fits
from PIL import Image
from astrovader.core import BadImage
from astrovader.data.cutouts import decode

pixels = np.random.default_rng(0).normal(100, 5, (40, 48)).astype(np.float32)

def written(*hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(file := io.BytesIO())
    return file.getvalue()

def changed(content, name, value):
    "The file with another value in the last header that has that keyword."
    at = content.rindex(f'{name:8}='.encode())
    return content[:at] + f'{name:8}= {value!s:>20}'.ljust(80).encode() + content[at+80:]

plain = written(fits.ImageHDU(pixels))
table = written(fits.BinTableHDU.from_columns([fits.Column('a', 'J', array=[1, 2])]))
def tiled(kind, values=pixels, **kwargs): return written(fits.CompImageHDU(values, compression_type=kind, **kwargs))
rice,gzipped = tiled('RICE_1', pixels.astype(np.int16)),tiled('GZIP_1', quantize_level=0)
counts = pixels.astype(np.int16)

cases = [(plain, 'NAXIS', 10**9), (plain, 'NAXIS', -1), (plain, 'NAXIS1', -48), (plain, 'NAXIS1', 10**15), (plain, 'BITPIX', 7), (plain, 'PCOUNT', -2880),
    (table, 'TFIELDS', 10**9), (table, 'NAXIS', 999999999), (rice, 'TFIELDS', 10**9), (rice, 'ZNAXIS', 10**9), (rice, 'ZNAXIS1', -48), (rice, 'ZNAXIS1', 0),
    (rice, 'ZVAL2', -1), (rice, 'ZVAL2', 0), (rice, 'ZVAL2', 3), (rice, 'ZVAL1', 0), (rice, 'ZVAL1', -32), (rice, 'ZVAL1', 2**31-1), (rice, 'ZTILE1', -1), (rice, 'ZTILE1', 0),
    (rice, 'ZTILE2', 2**40), (rice, 'ZBITPIX', 0), (rice, 'ZBITPIX', 17), (rice, 'ZCMPTYPE', "'RICE_9  '"), (tiled('RICE_1', quantize_method=1), 'ZDITHER0', -10**6)]

hcompress = tiled('HCOMPRESS_1', counts)
def with_larger_stream(content):
    "A tile of HCOMPRESS that says that it is larger than the header says."
    at = content.index(b'\xdd\x99')
    return content[:at+2] + np.array([400, 400], '>i4').tobytes() + content[at+10:]
cases += [(hcompress, 'ZNAXIS1', 20), (with_larger_stream(hcompress), 'ZNAXIS1', 48)]

def _send(content, pipe):
    try: pipe.send(decode(content).shape)
    except BadImage as e: pipe.send(str(e))

def decoded(content, seconds=20):
    "The shape, or the sentence, from a process of its own, which may crash or hang."
    ours,theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context('fork').Process(target=_send, args=(content, theirs))
    process.start()
    theirs.close()
    try: return ours.recv() if ours.poll(seconds) else 'hangs'
    except EOFError: return 'crashes'
    finally: process.kill()

@pytest.mark.parametrize('content, name, value', cases, ids=[f'{name}={value}' for _,name,value in cases])
def test_a_header_that_lies_is_refused(content, name, value):
    said = decoded(changed(content, name, value))
    assert isinstance(said, str) and said not in ('hangs', 'crashes') and '\n' not in said, said

@pytest.mark.parametrize('kind', ['RICE_1', 'GZIP_1', 'GZIP_2', 'HCOMPRESS_1', 'PLIO_1'])
def test_compressed_images_are_read(kind):
    assert (decode(tiled(kind, counts))[0] == counts).all()
    if kind != 'PLIO_1': assert np.abs(decode(tiled(kind))[0]-pixels).max() < 2

def test_a_tile_of_gzip_is_counted(monkeypatch):
    "A tile that becomes 40 MB, where the header states 200 bytes"
    bomb = np.frombuffer(gzip.compress(bytes(40_000_000)), np.uint8)
    columns = [fits.Column('COMPRESSED_DATA', 'PB()', array=np.array([bomb], object))]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header.update(ZIMAGE=True, ZCMPTYPE='GZIP_1', ZBITPIX=16, ZNAXIS=2, ZNAXIS1=10, ZNAXIS2=10, ZTILE1=10, ZTILE2=10)
    monkeypatch.setenv('ASTROVADER_MAX_BYTES', '1e6')
    with pytest.raises(BadImage, match='decompressed'): decode(written(hdu))

def test_a_value_of_8_bits_counts_as_the_float_that_it_becomes(monkeypatch):
    Image.new('L', (1000, 1000)).save(png := io.BytesIO(), 'PNG')
    np.save(npy := io.BytesIO(), np.zeros((1000, 1000), np.uint8))
    for content in png.getvalue(), npy.getvalue(), written(fits.ImageHDU(np.zeros((1000, 1000), np.uint8))):
        monkeypatch.setenv('ASTROVADER_MAX_BYTES', '3e6')
        with pytest.raises(BadImage, match='4 MB or more as pixels'): decode(content)
        monkeypatch.setenv('ASTROVADER_MAX_BYTES', '4e6')
        assert decode(content).shape == (1, 1000, 1000)
