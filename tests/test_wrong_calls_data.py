"Wrong calls of the functions of data, each refused in one sentence; and damaged files of every format, of which each is read or refused."
import contextlib,functools,io,tempfile,warnings
import numpy as np,pandas as pd,pytest,torch
from astropy.io import fits
from PIL import Image
from astrovader.core import AstrovaderError,BadImage
from astrovader.data import canonical,cutouts,framing,gz2,ids,loaders,segment,shape,sources,survey,synth,truth,unseen,views
from astrovader.data.cutouts import Stretch
from astrovader.data.framing import Recipe
from astrovader.data.pack import pack_arrays
from astrovader.data.views import Views
from astrovader.inputs import shown

known = dict(np=np, pd=pd, cutouts=cutouts, framing=framing, gz2=gz2, ids=ids, segment=segment, sources=sources, synth=synth, truth=truth, unseen=unseen)

image = np.random.default_rng(0).integers(0, 255, (3, 24, 24), dtype=np.uint8)
table = pd.DataFrame(dict(object_id=['a', 'b'], n=[1, 2]))
known |= dict(Stretch=Stretch, Recipe=Recipe, Views=Views, image=image, table=table, torch=torch)
known |= dict(canonical=canonical, loaders=loaders, shape=shape, survey=survey, views=views)

@functools.cache
def packed():
    "A survey of 6 images."
    return pack_arrays(np.random.default_rng(0).integers(0, 255, (6, 1, 16, 16), dtype=np.uint8), tempfile.mkdtemp()+'/survey')

known['packed'] = packed
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
ids.rows_by_id(['a'], 'nowhere.csv') | does not exist
ids.rows_by_id(['a'], None) | a table is
ids.rows_by_id(['x'], table) | no object id of the images
ids.rows_by_id(['a'], table, 'name') | no column 'name'
ids.as_ids(pd.Series(['a\\rb'])) | a line break
ids.as_ids(pd.Series([1.5])) | lose digits
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
synth.sky(3, size=0) | 16 pixels on a side or more
synth.sky(3, size=10**6) | not size=1000000
synth.sky(3, 10**400) | 16 pixels
synth.sky(10**12, 32) | simulate fewer
synth.sky(2, 32, mix=3) | mix=3 must be three parts
synth.sky(2, 32, mix='abc') | mix='abc' must be three parts
synth.sky(2, 32, mix=(1, 'a', 2)) | three parts
synth.render(synth.galaxies(2), 10**6) | not size=1000000
synth.sky(3, size=8) | 16 pixels
synth.sky(3, seed=-1) | seed is -1
synth.sky(3, bands=0) | bands is 0
synth.sky(3, engine='other') | other
synth.render(None) | a table is
synth.render(table.drop(columns='object_id')) | no column object_id
synth.render(table) | no column pixel_seed
synth.stretch('sky') | x is a str
synth.write_sky('', 3) | empty name
cutouts.centre_crop(image, -1) | crop is -1
cutouts.centre_crop(image, 0) | crop is 0
cutouts.resize(image, 10**6) | give a smaller size
Stretch.fit(None) | the pixels is a NoneType
Stretch.fit([]) | the pixels are none
Stretch.fit('a') | the pixels is a str
Stretch()(None) | the pixels is a NoneType
Stretch()('a') | the pixels is a str
shape.Scene.from_pixels(None) | the cutout is a NoneType
shape.Scene.from_pixels(image[0]) | give an array of 3 dimensions
shape.fit_shape(image) | give a Scene
canonical.measure_shape(None) | give a Scene
canonical.sky_source(None) | free is a NoneType
canonical.sky_source(np.zeros((8, 8), bool)) | pure sky
canonical.canonical(image, '64') | size is '64'
canonical.canonical(image, 10**6) | give a smaller size
canonical.canonical(image, radii=0) | radii=0 is not a width
canonical.canonical(image, crop=-1) | crop is -1
canonical.canonical(image, stretched='no') | stretched is 'no'
segment.blocks(image, 2) | give an array of 2 dimensions
segment.blocks(image[0], 0) | k is 0
segment.blocks(image[0], 2.5) | k is 2.5
segment.reduced(image[0], to=0) | to is 0
segment.reduced(image[0], to='a') | to is 'a'
segment.companions(None) | images is None
segment.companions(5) | images is 5
segment.companions(image) | (bands, height, width)
segment.find_sources(image[0], threshold=-1) | threshold is -1
segment.find_sources(image[0], levels=0) | levels is 0
segment.find_sources(image[0], levels='a') | levels is 'a'
segment.find_sources(image[0], smooth=1e9) | smooth is
segment.find_sources(image[0], contrast=-1) | contrast is -1
segment.find_sources(image[0], min_area=-1) | min_area is -1
gz2.paper_split(None) | the folder of the split is None
gz2.join(pd.Series([1.5]), table) | 'object_id'
framing.frame(image, crop=-1) | crop is -1
framing.frame(image, 10**6) | give a smaller size
framing.prepare(5, Recipe(8)) | the images are 5
framing.prepare(['a'], None) | give a Recipe
framing.measure(None, Recipe(8)) | the images are None
framing.measure([], Recipe(8)) | not empty
framing.measure(['a'], None) | give a Recipe
framing.measure(['a'], Recipe(8), k=0) | k is 0
framing.measure(['a'], Recipe(8), k='a') | k is 'a'
Recipe(8)(None) | the image is a NoneType
Recipe(8).flux(image[0]) | give an array of 3 dimensions
packed().block(0, 100, ['object_id']) | rows 0 to 100 are requested
packed().block(-1, 3, ['object_id']) | the first row is -1
packed().block(4, 2, ['object_id']) | rows 4 to 2 are requested
packed().block('a', 2, ['object_id']) | the first row is 'a'
packed().block(0, 2, None) | the columns are None
packed().block(0, 2, 'object_id') | give a list of names
packed().index(5) | the columns are 5
packed().images(slice(0, 2), out=np.zeros(3)) | give an array of uint8 of shape (2, 1, 16, 16)
packed().images(slice(0, 2), out=np.zeros((2, 1, 16, 16))) | give an array of uint8
packed().images(slice(0, 2), out=[1]) | out is [1]
packed().images([[0, 1]]) | rows of a survey are one list
packed().images([0, 99]) | give numbers below 6
packed().require_like(None) | the packing is None
packed().require_like('a') | the packing is 'a'
survey.write_shard('.', 0, [np.zeros((2, 1, 8, 8))], (1, 8, 8), 2) | images of float64
survey.write_shard('.', 0, [np.zeros((2, 1, 9, 9), np.uint8)], (1, 8, 8), 2) | convert them first
survey.write_shard('s', 0, None, (1, 8, 8), 2) | batches is None
survey.write_shard(None, 0, [image[None]], (3, 24, 24), 1) | folder is None
survey.write_shard('s', 'a', [image[None]], (3, 24, 24), 1) | i is 'a'
survey.write_shard('s', 0, [image[None]], 'ab', 1) | shape is 'ab'
survey.write_shard('s', 0, [image[None]], (3, 24, 24), 'one') | rows is 'one'
survey.has_shard(None, 0, (1, 8, 8), 2) | folder is None
loaders.survey_loaders(packed(), bs=0) | bs is 0
loaders.survey_loaders(packed(), bs='a') | bs is 'a'
loaders.survey_loaders(packed(), bs=2.5) | bs is 2.5
loaders.survey_loaders(packed(), valid='a') | valid is 'a'
loaders.survey_loaders(packed(), flips='no') | flips is 'no'
loaders.SurveyRows(None) | the survey is None
loaders.to_float(None) | the images is a NoneType
loaders.random_flips(None) | the images are None
loaders.random_flips(torch.zeros(3)) | (n, bands, size, size)
loaders.prefetch(str, [1], n='a') | n is 'a'
loaders.prefetch(str, [1], threads=0) | threads is 0
loaders.prefetch(str, [1], threads=2.5) | threads is 2.5
loaders.prefetch(str, [1], threads=np.nan) | threads is nan
list(loaders.prefetch(None, [1])) | give a function and a list
list(loaders.prefetch(str, None)) | give a function and a list
views.view_loaders(packed(), None) | give a Views
views.view_loaders(packed(), Views(), pair='a') | pair is 'a'
views.view_loaders(packed(), Views(), bs=0) | bs is 0
views.draw_views(None, [1], 3, 0) | give a Views
views.draw_views(Views(), None, 3, 0) | rows is a NoneType
views.draw_views(Views(), ['a'], 3, 0) | rows is a list
views.draw_views(Views(), [-1], 3, 0) | give row numbers, from 0
views.draw_views(Views(), [1.5], 3, 0) | give row numbers, from 0
views.draw_views(Views(), [1], 'a', 0) | n_others is 'a'
views.uniform([1], 0, 0) | k is 0
views.apply_views(None, views.draw_views(Views(), [1], 3, 0)) | the images are None
views.apply_views(torch.zeros(1, 1, 8, 8), None) | draw them with draw_views
views.sky_level(None) | the images are None
views.affine(None, 3) | the images are None
views.affine(torch.zeros(1, 1, 8, 8), 'a') | the angle is a str
views.companion_stars(8, None) | draw them with draw_views
Views(distance=5) | distance of the views is 5
truth.galaxies(2.5) | n is 2.5
truth.galaxies(3, companions='few') | companions is 'few'
truth.galaxies(10**12) | simulate fewer
truth.galaxies(2, mix=3) | mix=3
truth.votes(truth.galaxies(2), n_voters=10**30) | at most a million
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

def test_the_text_of_an_argument_is_not_made_where_it_is_long():
    "It would make a GPU wait for a tensor, and take longer than the reading of a file"
    class Slow(np.ndarray):
        def __repr__(self): raise AssertionError
    assert shown(np.zeros(3).view(Slow)) == 'a Slow' and shown([np.zeros(3).view(Slow)]) == 'a list'
    assert shown(bytes(10**8)) == 'a bytes' and shown([1, 'a', (None, 2.)]) == "[1, 'a', (None, 2.0)]"

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
