"Wrong calls of the functions of data, each refused in one sentence; and damaged files of every format, of which each is read or refused."
import contextlib,io,warnings
import numpy as np,pandas as pd,pytest,torch
from astropy.io import fits
from PIL import Image
from astrovader.core import AstrovaderError,BadImage
from astrovader.data import cutouts,framing,gz2,segment,sources,synth,truth,unseen
from astrovader.data.cutouts import Stretch
from astrovader.data.framing import Recipe

known = dict(np=np, pd=pd, cutouts=cutouts, framing=framing, gz2=gz2, segment=segment, sources=sources, synth=synth, truth=truth, unseen=unseen)

image = np.random.default_rng(0).integers(0, 255, (3, 24, 24), dtype=np.uint8)
table = pd.DataFrame(dict(object_id=['a', 'b'], n=[1, 2]))
known |= dict(Stretch=Stretch, Recipe=Recipe, image=image, table=table)
calls = """
cutouts.read_bytes(None) | this is None
cutouts.read_bytes(5) | this is 5
cutouts.read_image('nowhere.png') | does not exist
cutouts.decode('a.png') | decode takes the bytes
cutouts.decode(b'') | is empty
cutouts.decode(b'abc') | supported format
unseen.fill_unseen(None) | x is a NoneType
unseen.fill_unseen('a.png') | x is a str
unseen.unseen(image[0]) | give an array of 3 dimensions
cutouts.to_grey(table) | x is a DataFrame
cutouts.to_grey(image, 'green') | green
cutouts.to_grey(image, 5) | grey is 5
cutouts.centre_crop(image[0], 5) | give an array of 3 dimensions
cutouts.centre_crop(image, 'half') | crop is 'half'
cutouts.centre_crop(image, np.nan) | crop is nan
cutouts.resize(image, 0) | size is 0; give a whole number of at least 1
cutouts.resize(image, 2.5) | size is 2.5
cutouts.resize([1, 2], 8) | give an array of 3 dimensions
cutouts.resize(image, '64') | size is '64'
Stretch('log') | the kind of stretch 'log'
Stretch('linear', pixels='int8') | the type of pixels
Stretch('linear', 5, 5) | shows nothing
Stretch('linear', 5, 1) | shows nothing
Stretch('linear', np.nan, 1) | black of a stretch is nan
Stretch('asinh', 0, np.inf) | white of a stretch is inf
Stretch('asinh', soft=0) | softening of a stretch is 0
Stretch('asinh', black='dark') | black of a stretch is 'dark'
Stretch.from_dict('log') | is not a stretch
Stretch.from_dict(None) | is not a stretch
Stretch.from_dict(dict(kind='linear', gamma=2)) | is not a stretch
Stretch.from_dict(dict(kind='linear', black=1e9)) | shows nothing
segment.find_sources('image') | x is a str
segment.find_sources(image) | give an array of 2 dimensions
segment.find_sources(image[0], threshold='high') | threshold is 'high'
segment.reduced(None) | x is a NoneType
Recipe(0) | size=0
Recipe(10**6) | are allowed
Recipe('64') | size='64'
Recipe(64, bands='blue') | bands='blue'
Recipe(64, bands=3) | bands=3
Recipe(64, framing=None) | framing=None
Recipe(64, n_bands=0) | n_bands=0
Recipe(64, crop=-1) | crop=-1
Recipe(64, crop=np.nan) | crop=nan
Recipe(64, radii=5) | radii=5
Recipe(64, framing='canonical', radii=1e7) | radii=10000000.0
Recipe(64, framing='canonical', radii=np.nan) | radii=nan
Recipe(64, stretch='survey') | the stretch is 'survey'
framing.frame(image[0]) | give an array of 3 dimensions
framing.frame(image, 0) | size is 0
framing.frame(image, crop='all') | crop is 'all'
framing.measure(['nowhere.png'], Recipe(8)) | does not exist
sources.find_images('') | empty name
sources.find_images(None) | the source of images is None
sources.find_images(5) | the source of images is 5
sources.find_images('nowhere') | does not exist
sources.rows_by_id(['a'], 'nowhere.csv') | does not exist
sources.rows_by_id(['a'], None) | a table is
sources.rows_by_id(['x'], table) | no object id of the images
sources.rows_by_id(['a'], table, 'name') | no column 'name'
sources.as_ids(pd.Series(['a\\rb'])) | a line break
sources.as_ids(pd.Series([1.5])) | lose digits
gz2.asked(table, 'smooth') | smooth
gz2.asked('nowhere.csv', 'smooth') | does not exist
gz2.classify(5) | a table is
gz2.clean(5) | answer is 5
gz2.clean('smooth', threshold='high') | threshold is 'high'
gz2.join(table, 'nowhere.csv') | does not exist
gz2.read_gz2('nowhere.csv') | does not exist
synth.sky(0) | n is 0
synth.sky(-5) | n is -5
synth.sky('ten') | n is 'ten'
synth.sky(3, size=0) | size is 0
synth.sky(3, size=8) | 16 pixels
synth.sky(3, seed=-1) | seed is -1
synth.sky(3, bands=0) | bands is 0
synth.sky(3, engine='other') | other
synth.render(None) | a table is
synth.render(table.drop(columns='object_id')) | no column object_id
synth.stretch('sky') | x is a str
synth.write_sky('', 3) | empty name
truth.galaxies(2.5) | n is 2.5
truth.galaxies(3, companions='few') | companions is 'few'
truth.votes(table) | no column kind
truth.votes(5) | a table is
"""

@pytest.mark.parametrize('line', calls.strip().splitlines())
def test_a_wrong_call_is_a_sentence(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call,words = line.rsplit(' | ', 1)
    with pytest.raises(AstrovaderError) as e: eval(call, known)
    assert words in str(e.value) and '\n' not in str(e.value), e.value
    assert not list(tmp_path.iterdir())

def test_lists_tensors_and_numbers_of_numpy_are_taken():
    grey = cutouts.to_grey(torch.from_numpy(image))
    assert (grey == cutouts.to_grey(image.tolist())).all() and cutouts.resize(image, np.int64(8)).shape == (3, 8, 8)
    assert synth.sky(np.int64(2), size=np.float64(16))[0].shape == synth.sky(2, size=16)[0].shape

def written(save):
    save(file := io.BytesIO())
    return file.getvalue()

formats = dict(png=lambda: written(lambda f: Image.fromarray(image[0]).save(f, 'PNG')), jpeg=lambda: written(lambda f: Image.fromarray(image[0]).save(f, 'JPEG')),
    tiff=lambda: written(lambda f: Image.fromarray(image[0]).save(f, 'TIFF')), fits=lambda: written(fits.PrimaryHDU(image.astype('>f4')).writeto),
    npy=lambda: written(lambda f: np.save(f, image)), npz=lambda: written(lambda f: np.savez_compressed(f, image=image)))

@pytest.mark.parametrize('name', formats)
def test_a_damaged_file_is_read_or_refused(name):
    "One byte in 200 places, and 20 lengths: an image, or a sentence"
    content = formats[name]()
    r = np.random.default_rng(0)
    flipped = [content[:i] + bytes([content[i] ^ 1 << r.integers(8)]) + content[i+1:] for i in r.integers(0, min(len(content), 3000), 200)]
    cut = [content[:n] for n in np.linspace(0, len(content)-1, 20).astype(int)]
    said = io.StringIO()
    with warnings.catch_warnings(action='error'), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        for damaged in flipped+cut:
            try: assert cutouts.decode(damaged).ndim == 3
            except BadImage as e: assert '\n' not in str(e)
    assert said.getvalue() == ''
