"What hostile, damaged and careless input gives: one sentence, in bounded memory."
import gzip,io,json,os,struct,subprocess,sys,zipfile
import numpy as np,pytest
from astropy.io import fits
from PIL import Image
from astrovader.core import BadImage,BadInput
from astrovader.data.cutouts import read_image
from astrovader.data.pack import pack
from astrovader.data.sources import find_images

side = 5000 # of a bomb, 100 MB in float32

def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive: archive.writestr(name, content)
    return buffer.getvalue()

def saved(save):
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()

@pytest.fixture(scope='module')
def bombs(tmp_path_factory):
    "Small files that decompress to 100 MB."
    d = tmp_path_factory.mktemp('bombs')
    flat = np.zeros((side, side), np.float32)
    npy = saved(lambda f: np.save(f, flat))
    npz = zipped('image.npy', npy)
    small = struct.pack('<I', 1000)
    files = {'gzip.fits.gz': gzip.compress(npy, 1), 'npz.npz': npz, 'liar.npz': npz.replace(struct.pack('<I', len(npy)), small),
        'tiles.fits.fz': saved(fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(flat, tile_shape=(500, 500))]).writeto),
        'png.png': saved(lambda f: Image.fromarray(np.zeros((10_000, 10_000), np.uint8)).save(f, 'PNG')),
        'tiff.tif': saved(lambda f: Image.fromarray(flat).save(f, 'TIFF', compression='tiff_deflate')),
        'header.fits': saved(fits.PrimaryHDU(np.zeros((9, 9))).writeto).replace(b'NAXIS1  =                    9', b'NAXIS1  =            999999999'),
        'header.npy': saved(lambda f: np.save(f, np.zeros((9, 9)))).replace(b'(9, 9), }      ', b'(99999, 99999)}')}
    for name,content in files.items(): (d/name).write_bytes(content)
    member = zipped('a.npy', npy)
    (d/'member.zip').write_bytes(member)
    (d/'liar.zip').write_bytes(member.replace(struct.pack('<I', len(npy)), small))
    assert all(path.stat().st_size < 2e6 for path in d.iterdir())
    return d

reading = '''
import json,resource,sys
from pathlib import Path
from astrovader.data.cutouts import BadImage,read_image
from astropy.io import fits
import numpy as np, PIL.Image
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*(1 if sys.platform == 'darwin' else 1024)
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    before = peak()
    try: read_image((path, 'a.npy') if path.suffix == '.zip' else path)
    except BadImage as e: found[path.name] = str(e), peak()-before
print(json.dumps(found))
'''

def test_a_small_file_does_not_become_large(bombs):
    "Refused by the header where it tells the truth, by counting where it does not, and in little memory."
    env = {**os.environ, 'ASTROVADER_MAX_BYTES': '1e7'}
    done = subprocess.run([sys.executable, '-c', reading, str(bombs)], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found) == sorted(path.name for path in bombs.iterdir())
    for name,(text,grown) in found.items():
        assert grown < 5e7 and '\n' not in text, (name, grown, text)
        damaged = 'liar' in name or name == 'header.npy'
        assert ('cannot be read' in text or 'more memory than there is' in text) if damaged else 'where 10 MB are allowed' in text and 'ASTROVADER_MAX_BYTES' in text, text

def test_the_limit_can_be_changed(bombs, monkeypatch):
    monkeypatch.setenv('ASTROVADER_MAX_BYTES', '2e8')
    assert read_image(bombs/'gzip.fits.gz').shape == (1, side, side)
    monkeypatch.setenv('ASTROVADER_MAX_BYTES', 'lots')
    with pytest.raises(BadInput, match="ASTROVADER_MAX_BYTES is 'lots'"): read_image(bombs/'npz.npz')

def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path/'a.png')
    with pytest.raises(BadImage, match='is not a file'): read_image(tmp_path/'a.png')

def test_a_linked_folder_keeps_its_own_name(tmp_path):
    "Whatever the order in which the system lists them, and however the link is reached"
    for file in 'b/deep/g1.png', 'b/g2.png', 'outside/g3.png': (tmp_path/'src'/file).parent.mkdir(parents=True, exist_ok=True), (tmp_path/'src'/file).touch()
    (tmp_path/'src/outside').rename(tmp_path/'outside')
    for link,target in ('a', 'b/deep'), ('b/again', 'b'), ('c', '../outside'), ('d', '../outside'): (tmp_path/'src'/link).symlink_to(tmp_path/'src'/target)
    assert find_images(tmp_path/'src').files == ['b/deep/g1.png', 'b/g2.png', 'c/g3.png']

def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch, capsys):
    for name in 'open', 'closed': (tmp_path/name).mkdir(), (tmp_path/name/f'{name}.png').touch()
    def scandir(path, scan=os.scandir):
        if os.path.basename(path) == 'closed': raise PermissionError(13, 'Permission denied', str(path))
        return scan(path)
    monkeypatch.setattr(os, 'scandir', scandir)
    assert find_images(tmp_path).ids == ['open'] and '1 folders cannot be read, such as' in capsys.readouterr().out

def test_special_files_and_names(tmp_path):
    os.mkfifo(tmp_path/'pipe')
    for src in tmp_path/'pipe', '/dev/zero':
        with pytest.raises(BadInput, match='neither a folder nor a file'): find_images(src)
    (tmp_path/'list.txt').write_bytes('\ufeffa.png\r\nb\x0cc.png\n'.encode())
    with pytest.raises(BadInput, match='control character'): find_images(tmp_path/'list.txt')
    (tmp_path/'list.txt').write_bytes('\ufeffa.png\r\nb.png\n'.encode())
    (tmp_path/'a.png').touch()
    assert find_images(tmp_path/'list.txt').files == ['a.png', 'b.png']
    (tmp_path/'sky').mkdir()
    (tmp_path/'sky/a\rb.png').touch()
    with pytest.raises(BadInput, match='file name with a line break'): pack(tmp_path/'sky', tmp_path/'s')
