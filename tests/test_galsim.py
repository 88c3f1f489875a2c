"The two engines draw the same sky: GalSim's analytic convolution against our grid, from the same table."
import sys,pytest
import numpy as np,pandas as pd
from astrovader.core import BadInput
from astrovader.data.synth import galaxies,render,sky
from astrovader.data.truth import kinds

def moments(x):
    "Flux and second moments of images, within the frame."
    v,u = np.mgrid[:x.shape[-2], :x.shape[-1]] - (np.array(x.shape[-2:]).reshape(2, 1, 1)-1)/2
    flux = x.sum((1, 2))
    mean = lambda o: (x*o).sum((1, 2))/flux
    cu,cv = mean(u),mean(v)
    return flux, mean(u*u)-cu**2, mean(v*v)-cv**2, mean(u*v)-cu*cv

@pytest.fixture(scope='module')
def both():
    pytest.importorskip('galsim', reason='GalSim is not installed; pip install astrovader[galsim]')
    t = pd.concat([galaxies(50, seed=o, artifacts=0) for o in range(3)], ignore_index=True)
    return t, *(render(t, noise=False, engine=o)[:, 0].astype(float) for o in ('astropy', 'galsim'))

@pytest.mark.parametrize('kind', kinds)
def test_flux_and_moments(both, kind):
    "Fluxes within 0.5 %, second moments within 2 %, of galaxies with their companions, stars and arms."
    t,a,g = both
    i = np.flatnonzero(t.kind==kind)
    (fa,uua,vva,uva),(fg,uug,vvg,uvg) = moments(a[i]),moments(g[i])
    assert len(i) > 5
    np.testing.assert_allclose(fa, fg, rtol=.005)
    np.testing.assert_allclose(uua, uug, rtol=.02)
    np.testing.assert_allclose(vva, vvg, rtol=.02)
    assert (abs(uva-uvg)/(uug+vvg) < .01).all()

def worst(a, g): return (abs(a-g).max((1, 2))/g.max((1, 2))).max()

def test_pixels(both):
    "Within 8 % of the image's peak: our points of light are shared among grid points, which shows where the seeing is a pixel wide."
    assert worst(*both[1:]) < .08

def test_pixels_without_points(both):
    "Within 2 % of the peak without stars and knots."
    t = both[0].assign(n_stars=0, n_knots=0)
    assert worst(*(render(t, noise=False, engine=o)[:, 0].astype(float) for o in ('astropy', 'galsim'))) < .02

def test_bands():
    pytest.importorskip('galsim', reason='GalSim is not installed; pip install astrovader[galsim]')
    t = galaxies(6, size=32, artifacts=0)
    a,g = (render(t, 32, bands=3, noise=False, engine=o).sum((2, 3)) for o in ('astropy', 'galsim'))
    np.testing.assert_allclose(a, g, rtol=.02)

def test_without_galsim(monkeypatch):
    monkeypatch.setitem(sys.modules, 'galsim', None)
    with pytest.raises(BadInput, match=r'pip install astrovader\[galsim\]'): sky(2, engine='galsim')
