"The authors' published weights against what Keras computes with them, where ../shared/data/paper is there."
import copy,math
from dataclasses import replace
from pathlib import Path
import numpy as np,pytest,torch
from astrovader.infer.catalogue import catalogue
from astrovader.tables import numbered
from astrovader.core import BadModel
from astrovader.data.cutouts import Stretch
from astrovader.infer.generate import generate
from astrovader.share.keras import _layers,import_keras,layout,load_keras
from astrovader.model.networks import Architecture
from astrovader import pack_arrays
from astrovader.model.vade import VaDE

data = Path(__file__).parents[2]/'shared/data/paper'
pytestmark = pytest.mark.skipif(not data.is_dir(), reason='needs the published weights in ../shared/data/paper')

def tolerance(arch):
    "Relative rounding error of float32: that of the longest sum in a layer, times the number of layers"
    longest_sum = max(math.prod(shape[:-1]) for path,shape in layout(arch).items() if 'kernel' in path)
    return np.finfo('f4').eps*len(_layers(VaDE(arch)))*longest_sum**.5

def off(got, want):
    "The largest difference over the largest value"
    want = np.asarray(want, np.float64)
    return np.abs(np.asarray(got, np.float64) - want).max()/np.abs(want).max()

@pytest.fixture(scope='module')
def model(): return load_keras(data/'paper_weights.h5')

@pytest.fixture(scope='module')
def keras():
    with np.load(data/'keras_reference.npz', allow_pickle=False) as arrays: return {name: arrays[name] for name in arrays}

@pytest.fixture(scope='module')
def out(model, keras): return model(torch.from_numpy(keras['images'])[:,None])

def test_it_is_the_papers_model(model):
    assert model.arch == Architecture(upsample='corners') and sum(weights.numel() for weights in model.parameters()) == 871_381
    assert model.meta['keras']['theta_sum'] == pytest.approx(28.127, abs=1e-3)

@pytest.mark.parametrize('name', ['z_mean', 'z_log_var', 'recon'])
def test_networks_agree_with_keras(model, out, keras, name): assert off(getattr(out, name).squeeze(1), keras[name]) < tolerance(model.arch)

def test_decoder_agrees_from_the_same_latents(model, keras):
    z = torch.from_numpy(keras['z_mean'])
    recon = model.decode(z)[:,0]
    assert off(recon, keras['recon']) < tolerance(model.arch) and off(recon, keras['recon_halfpixel']) > .1
    centres = VaDE(replace(model.arch, upsample='centres')).eval().requires_grad_(False)
    centres.load_state_dict(model.state_dict())
    assert off(centres.decode(z)[:,0], keras['recon_halfpixel']) < tolerance(model.arch)

def test_posteriors_agree_with_keras(model, keras, out):
    double = copy.deepcopy(model.mixture).double().set_(keras['theta'], keras['mu'].T, keras['var'].T)
    z_mean = torch.from_numpy(keras['z_mean'])
    rounding = np.finfo('f4').eps*float(model.mixture.log_joint(z_mean).abs().max())
    for scaling,name in dict(exact='gamma_exact', minmax='gamma_authors').items():
        assert off(model.mixture.posterior(z_mean, scaling), keras[name]) < 4*rounding
        assert off(double.posterior(z_mean.double(), scaling), keras[name]) < 1e-12
        assert off(model.mixture.posterior(out.z_mean, scaling), keras[name]) < 4*rounding + tolerance(model.arch)

def test_the_run_catalogues_and_generates(keras, tmp_path):
    import_keras(data/'paper_weights.h5', tmp_path/'run')
    cat = catalogue(tmp_path/'run', pack_arrays(keras['images_u8'], tmp_path/'survey', grey='luma', stretch=Stretch('per_image')))
    assert cat.component.tolist() == keras['gamma_exact'].argmax(1).tolist()
    for name,want in dict(p='gamma_exact', z='z_mean').items(): assert off(numbered(cat, name), keras[want]) < tolerance(VaDE.load(tmp_path/'run/model').arch)
    made,table = generate(tmp_path/'run', 6, component=9)
    assert made.shape == (6, 1, 128, 128) and made.std() > 1 and set(table.component) == {9}

def test_a_truncated_file_is_refused(tmp_path):
    (tmp_path/'cut.h5').write_bytes((data/'paper_weights.h5').read_bytes()[:-1000])
    with pytest.raises(BadModel, match='cut.h5 is damaged'): import_keras(tmp_path/'cut.h5', tmp_path/'run')
    assert not (tmp_path/'run').exists()
