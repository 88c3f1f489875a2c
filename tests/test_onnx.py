"`astrovader-export` as a process: what it writes, what it refuses, and that onnxruntime reads it where there is no torch."
import json,shutil,subprocess,sys
from pathlib import Path
import numpy as np,onnx,pytest,torch
from astrovader.core import BadModel
from astrovader.infer.catalogue import catalogue
from astrovader.tables import numbered
from astrovader.model.networks import Architecture
from astrovader.share.onnx import differences,require_same,to_onnx,verify_export
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.model.vade import VaDE
from side_by_side import run

def export(*args, cwd, hidden=()):
    "The command in a process that cannot import what is `hidden`"
    code = f'import sys; sys.modules.update(dict.fromkeys({list(hidden)!r})); from astrovader.cli import astrovader_export as f; sys.argv[0] = "astrovader-export"; sys.exit(f())'
    (cwd/'hiding').write_text(code)
    return run(cwd/'hiding' if hidden else 'astrovader-export', *args, cwd=cwd, timeout=300)

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    d = tmp_path_factory.mktemp('onnx')
    survey = pack_arrays(sky(150, 16)[0], d/'survey')
    arch = Architecture(16, encoder_filters=(8, 8), encoder_kernels=(3, 5), decoder_filters=(8, 8), decoder_kernels=(5, 3), upsample='corners', n_latent=4,
        n_components=3)
    VaDE(arch, survey.packing).save(d/'run/model', seed=7)
    r = export('run', 'out', cwd=d)
    assert r.returncode == 0, r.stderr
    assert 'takes float32 (n, 1, 16, 16)' in r.stdout and 'ONNX' not in r.stdout
    return d

def test_what_is_written(place):
    assert {p.name for p in (place/'out').iterdir()} == {'encoder.onnx', 'decoder.onnx', 'export.json'}
    said = json.loads((place/'out/export.json').read_text())
    assert said['model']['seed'] == 7 and said['packing']['size'] == 16 and len(said['mixture']['means']) == 3
    assert max(said['differences'].values()) < 1e-4
    for o in 'encoder', 'decoder': assert str(Path(__file__).parents[1]).encode() not in (place/f'out/{o}.onnx').read_bytes()

def test_it_runs_where_there_is_no_torch(place):
    code = '''if True:
        import sys
        for o in 'torch','onnx','onnxscript','astrovader': sys.modules[o] = None
        import numpy as np,onnxruntime
        images = np.load('survey/shard-00000.npy')/np.float32(255)
        for n in 1,2,7,64,len(images):
            out = onnxruntime.InferenceSession('out/encoder.onnx').run(['p', 'z_mean'], dict(images=images[:n]))
            np.save(f'{n}.npy', np.concatenate(out, 1))'''
    r = subprocess.run([sys.executable, '-c', code], cwd=place, capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr
    cat = catalogue(place/'run', pack_arrays(sky(150, 16)[0], place/'again'))
    want = np.concatenate([numbered(cat, o) for o in 'pz'], 1)
    for n in 1,2,7,64,150: assert np.allclose(np.load(place/f'{n}.npy'), want[:n], rtol=1e-4, atol=1e-5)

def test_an_earlier_export_is_replaced(place):
    VaDE(Architecture(8, encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,), n_latent=2, n_components=2)).save(place/'other/model')
    shutil.copytree(place/'out', place/'twice')
    to_onnx(place/'other', place/'twice')
    assert json.loads((place/'twice/export.json').read_text())['architecture']['size'] == 8
    assert len(list((place/'twice').iterdir())) == 3

def test_a_galaxy_is_a_function_of_latents_and_noise(tmp_path):
    "The whole flow without torch, for any number of galaxies, as `sample_images` draws them; the noise matters, and the decoder of the folder is that of the flow"
    torch.manual_seed(0)
    widths = dict(encoder_filters=(4, 6), encoder_kernels=(3, 3), decoder_filters=(5, 4), decoder_kernels=(3, 3))
    model = VaDE(Architecture(16, bands=2, n_latent=4, n_components=3, detail_filters=(8, 16), **widths)).eval().requires_grad_(False)
    model.detail.measure_(torch.rand(50, 2, 16, 16), torch.rand(50, 2, 16, 16), torch.randn(50, 4))
    for p in model.detail.parameters(): p += .1*torch.randn_like(p)
    about = to_onnx(model, tmp_path/'out')
    assert about['noise'] == f'float32 (n, {10+2*16**2}), standard normal numbers' and about['differences']['galaxies'] < 1e-4
    z,noise = torch.randn(33, 4),torch.randn(33, 10+2*16**2)
    np.savez(tmp_path/'given.npz', z=z, noise=noise)
    code = '''if True:
        import sys
        for o in 'torch','onnx','onnxscript','astrovader': sys.modules[o] = None
        import numpy as np,onnxruntime
        given,sampler = np.load('given.npz'),onnxruntime.InferenceSession('out/sampler.onnx')
        for n in 1,2,33: np.save(f'{n}.npy', sampler.run(['galaxies'], dict(z=given['z'][:n], noise=given['noise'][:n]))[0])'''
    r = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr
    want = model.sample_images(z, noise).numpy()
    for n in 1,2,33: assert np.allclose(np.load(tmp_path/f'{n}.npy'), want[:n], atol=1e-4)
    assert abs(want - model.sample_images(z, noise.flip(0)).numpy()).max() > .1 > 1e-3 > want.min() >= 0
    model.detail.network.end[-1].bias += 1
    with pytest.raises(BadModel, match='gives galaxies that differ'): require_same(differences(model, dict(sampler=onnx.load(tmp_path/'out/sampler.onnx'))))
    verify_export(tmp_path/'out')
    whole = (tmp_path/'out/sampler.onnx').read_bytes()
    (tmp_path/'out/sampler.onnx').write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadModel, match='sampler.onnx has changed'): verify_export(tmp_path/'out')

def test_missing_library_is_one_line(place):
    r = export('run', 'none', cwd=place, hidden=['onnxruntime'])
    assert r.returncode == 1 and r.stderr == "astrovader: onnxruntime is needed for ONNX and is not installed; pip install 'astrovader[onnx]'.\n"
    assert not (place/'none').exists()

def test_damaged_model_is_one_line(place):
    (place/'bad/model').mkdir(parents=True)
    for p in (place/'run/model').iterdir(): (place/'bad/model'/p.name).write_bytes(p.read_bytes()[:200])
    r = export('bad', 'none', cwd=place)
    assert r.returncode == 1 and r.stderr.startswith('astrovader: bad/model/') and r.stderr.count('\n') == 1
    assert not (place/'none').exists()
