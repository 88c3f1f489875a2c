"Colour pictures of calibrated bands: a model of JPEG or PNG files is applied to FITS, and refusals name the command that makes a survey fit."
import shlex
import numpy as np,pytest
from astropy.io import fits
from astropy.visualization import make_lupton_rgb
from PIL import Image
from astrovader.core import BadInput,BadSurvey
from astrovader.data.cutouts import Flag,Stretch
from astrovader.data.framing import Recipe
from astrovader.data.pack import pack
from astrovader.data.survey import Survey
from astrovader.infer.catalogue import write_catalogue
from astrovader.infer.generate import write_generated
from astrovader.tables import read_table
from astrovader.train.learner import train
from side_by_side import run

lupton = Stretch.lupton(0, 3, 8)

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "60 galaxies in three bands as counts in FITS, as counts of 16 bits, in one grey band, and as pictures."
    folder,r = tmp_path_factory.mktemp('sky'),np.random.default_rng(0)
    for name in ('fits', 'five', 'tiff', 'grey', 'png'): (folder/name).mkdir()
    v,u = np.mgrid[:48,:48] - 23.5
    for i in range(60):
        q,width,bright = r.uniform(.3, 1),r.uniform(2, 4),r.uniform(100, 2000)
        x = np.exp(-np.hypot(u, v/q)/width)*bright*r.uniform(.3, 1, (3, 1, 1)) + r.normal(0, .3, (3, 48, 48))
        x = x.astype(np.float32)
        fits.writeto(folder/f'fits/{i:02}.fits', x)
        hdus = [fits.ImageHDU(plane, name=name) for name,plane in zip('ugriz', (x[2]*.1, x[2], x[1], x[0], x[0]*2))]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder/f'five/{i:02}.fits')
        np.save(folder/f'tiff/{i:02}.npy', ((x+10)*10).clip(0).astype(np.uint16))
        fits.writeto(folder/f'grey/{i:02}.fits', x[0])
        Image.fromarray(make_lupton_rgb(*x, stretch=3, Q=8)).save(folder/f'png/{i:02}.png')
    return folder

@pytest.fixture(scope='module')
def pictures(folder): return pack(folder/'png', folder/'pictures', 48, n_workers=0)

def packed(src, out, **options): return pack(src, out, **dict(n_workers=0) | options)

def levels(survey): return survey.images(slice(None)).astype(int)

@pytest.mark.parametrize('framing', ['survey', 'canonical'])
def test_counts_become_the_pictures_of_astropy(folder, tmp_path, framing):
    like = packed(folder/'png', tmp_path/'png', size=32, framing=framing)
    own = packed(folder/'fits', tmp_path/'fits', like=like, stretch=lupton)
    own.require_like(like)
    like.require_like(own)
    differ = abs(levels(own)-levels(like))
    assert differ.mean() < 1.5 and np.percentile(differ, 99) <= 12
    assert own.packing == like.packing | dict(picture=lupton.to_dict())

def test_bands_by_name_and_without_another_survey(folder, pictures, tmp_path):
    own = packed(folder/'five', tmp_path/'five', size=48, bands='I,R,G', stretch=lupton)
    assert own.packing['bands'] == 'I,R,G'
    own.require_like(pictures)
    assert abs(levels(own)-levels(pictures)).max() <= 1
    like = packed(folder/'five', tmp_path/'like', like=pictures, bands='I,R,G', stretch=lupton)
    assert np.array_equal(levels(like), levels(own))
    with pytest.raises(BadInput, match='name three of U, G, R, I, Z with --bands'): packed(folder/'five', tmp_path/'no', size=48, stretch='lupton')

def test_fitted_pictures_have_a_dark_sky_and_show_the_galaxy(folder, pictures, tmp_path):
    for name in 'fits','tiff':
        own = packed(folder/name, tmp_path/name, size=48, stretch='lupton')
        own.require_like(pictures)
        x = levels(own)
        assert own.packing['picture']['pixels'] == ('float32' if name == 'fits' else 'uint16')
        assert 3 < np.median(x[...,:6,:6]) < 70 and x[...,22:26,22:26].mean() > 120 and (x.max(1) == 255).mean() < .03
        again = packed(folder/name, tmp_path/'again'/name, like=own)
        assert np.array_equal(levels(again), x) and again.packing == own.packing
        assert np.array_equal(levels(packed(folder/name, tmp_path/name, size=48, stretch='lupton')), x)

def test_grey_models_of_colour_pictures(folder, tmp_path):
    like = packed(folder/'png', tmp_path/'png', size=48, grey='luma')
    own = packed(folder/'fits', tmp_path/'fits', like=like, stretch=lupton)
    own.require_like(like)
    assert own.shape == (1, 48, 48) and abs(levels(own)-levels(like)).max() <= 2

def test_sixteen_bits_are_finer(folder, tmp_path):
    coarse,fine = (packed(folder/'fits', tmp_path/str(bits), size=48, stretch=lupton, bits=bits) for bits in (8, 16))
    assert abs(levels(fine)/257-levels(coarse)).max() <= .51 and len(np.unique(levels(fine))) > 1000
    fine.require_like(coarse)

def test_unseen_pixels_are_filled_in_all_bands(folder, tmp_path):
    x = fits.getdata(folder/'fits/00.fits').astype(np.float32)
    own = Recipe(48, 'rgb', 3, picture=lupton)
    whole = own(x)[0].astype(int)
    x[1,20:22,20:30] = np.nan
    pixels,n,flags,_ = own(x)
    assert n == 60 and flags & Flag.FILLED and abs(pixels-whole)[:,20:22,20:30].max() < 90 and np.array_equal(pixels[:,30:], whole[:,30:])

def test_a_model_of_pictures_is_applied_to_fits(folder, pictures, tmp_path):
    short = dict(epochs_alpha=1, epochs_anneal=1, epochs_static=1, n_periods=1)
    train(pictures, tmp_path/'run', 'small', n_components=2, n_latent=3, batch_size=32, device='cpu', **short)
    own = packed(folder/'fits', tmp_path/'fits', like=pictures, stretch=lupton)
    tables = []
    for name,survey in dict(png=pictures, fits=own).items():
        write_catalogue(tmp_path/'run', survey, tmp_path/f'{name}.parquet')
        tables.append(read_table(tmp_path/f'{name}.parquet').set_index('object_id'))
    z = [table.loc[sorted(table.index), ['z_0', 'z_1', 'z_2']].to_numpy() for table in tables]
    assert abs(z[0]-z[1]).max() < .1*z[0].std()
    write_generated(tmp_path/'run', tmp_path/'made', 5).require_like(own)

def test_generated_from_a_model_of_fits(folder, tmp_path):
    own = packed(folder/'five', tmp_path/'five', size=16, bands='I,R,G', stretch=lupton, bits=16)
    short = dict(epochs_alpha=1, epochs_anneal=1, epochs_static=1, n_periods=1)
    train(own, tmp_path/'run', 'small', n_components=2, n_latent=3, batch_size=32, device='cpu', **short)
    write_generated(tmp_path/'run', tmp_path/'made', 5).require_like(own)

def test_refusals_name_the_command(folder, pictures, tmp_path):
    counts = packed(folder/'fits', tmp_path/'counts', size=48)
    command = f'astrovader-pack {shlex.quote(str(folder/"fits"))} OUT --like SURVEY --stretch lupton'
    with pytest.raises(BadSurvey) as e: counts.require_like(pictures)
    assert command in str(e.value)
    with pytest.raises(BadSurvey, match='astrovader-train .*pictures RUN'): pictures.require_like(counts)
    with pytest.raises(BadSurvey, match='astrovader-pack .*grey OUT --like SURVEY.$'): packed(folder/'grey', tmp_path/'grey', size=48).require_like(counts)
    for src,like,options,why in (('fits', pictures, {}, '--stretch lupton beside --like'), ('grey', pictures, {}, 'has 1 band where 3|without --like'),
        ('grey', pictures, dict(stretch='lupton'), '1 band where a Lupton picture needs 3'), ('png', counts, {}, 'without --like'),
        ('fits', counts, dict(stretch='lupton'), 'leave --stretch lupton out'), ('png', None, dict(size=48, stretch='lupton'), '8-bit picture already')):
        with pytest.raises(BadInput, match=why): packed(folder/src, tmp_path/'refused', like=like, **options)

def test_the_command_of_a_refusal_works(folder, pictures, tmp_path):
    out = run('astrovader-pack', folder/'fits', tmp_path/'s', '--like', pictures.path, '--stretch', 'lupton', '--n-workers', 0)
    assert '60 images packed' in out.stdout, out.stderr
    Survey(tmp_path/'s').verify().require_like(pictures)
