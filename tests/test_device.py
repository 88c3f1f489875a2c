"One training at three precisions, and machines without a compiler, without bfloat16, or with Apple's GPU."
import os,subprocess,sys
import numpy as np,pytest,torch
from astrovader.core import BadInput
from astrovader.data.loaders import survey_loaders
from astrovader.model import device
from astrovader.infer.catalogue import catalogue
from astrovader.train.learner import vade_learner
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky

large = dict(encoder_filters=(64, 64), encoder_kernels=(3, 5), decoder_filters=(64, 64), decoder_kernels=(5, 5), n_latent=6, n_components=3, init_batches=4,
    batch_size=30, lr=1e-3, epochs_alpha=3, epochs_anneal=1, epochs_static=1, n_periods=1, valid=.2)

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(160, size=16, seed=0)[0], tmp_path_factory.mktemp('device')/'survey')

def trained(survey, bf16, worth):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, 'worth_compiling', worth)
        patch.setattr(device, 'has_amx', lambda: False) # a processor with AMX gains nothing by a FusedCPUNet
        return vade_learner(survey, 'small', seed=0, device='cpu', bf16=bf16, **large).fit_phases()

@pytest.fixture(scope='module')
def fused(survey): return trained(survey, bf16=True, worth=0)

needs_bf16 = pytest.mark.skipif(not device.has_bf16('cpu'), reason='this processor does not compute in bfloat16, or torch may not use it')

@needs_bf16
def test_training_is_the_same_at_every_precision(survey, fused):
    exact = trained(survey, bf16=False, worth=0)
    autocast = trained(survey, bf16=True, worth=10**9)
    assert not autocast.model.fused and {type(net) for net in fused.model.fused.values()} == {device.FusedCPUNet}
    exact, autocast, fused = exact.history, autocast.history, fused.history
    for part in 'train_rec','valid_rec','train_loss': # the first steps of Adam turn rounding into steps of full length
        np.testing.assert_allclose(autocast[part][:3], exact[part][:3], rtol=.02)
        np.testing.assert_allclose(fused[part][:3], exact[part][:3], rtol=.05)
    np.testing.assert_allclose(fused.valid_rec, exact.valid_rec, rtol=.1)
    assert fused.valid_rec.iloc[-1] < .93*fused.valid_rec.iloc[0]

@needs_bf16
def test_the_same_seed_gives_the_same_numbers(survey, fused, monkeypatch):
    first, second = fused, trained(survey, bf16=True, worth=0)
    monkeypatch.setattr(device, 'worth_compiling', 0)
    monkeypatch.setattr(device, 'has_amx', lambda: False)
    assert first.history.drop(columns='seconds').equals(second.history.drop(columns='seconds'))
    assert all(torch.equal(p, q) for p,q in zip(first.model.parameters(), second.model.parameters()))
    cats = [catalogue(learn.model, survey, bf16=True, batch=n) for learn,n in ((first, 160), (second, 7))]
    assert (cats[0].component == cats[1].component).all() and np.allclose(cats[0].p_max, cats[1].p_max, atol=1e-6)

def test_without_a_compiler_a_warning_names_the_remedy(survey, tmp_path):
    code = ('from astrovader.model import device\nfrom astrovader.model.networks import Architecture\nfrom astrovader.model.vade import VaDE\n'
        "device.has_bf16 = lambda o: True\nm = VaDE(Architecture(32, 1, (64, 64), (3, 5), (64, 64), (5, 5)))\n"
        'print(device.can_compile(), device.fused_nets(m), device.at_precision(m, True, 10**9).bf16)')
    env = os.environ | dict(CXX=str(tmp_path/'none'), TORCHINDUCTOR_CACHE_DIR=str(tmp_path/'cache'), TORCHINDUCTOR_FORCE_DISABLE_CACHES='1')
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env)
    assert r.returncode == 0 and r.stdout.strip() == 'False {} True', r.stderr
    assert 'torch.compile does not work here' in r.stderr and 'Traceback' not in r.stderr

def test_restricted_instructions_are_respected():
    code = 'from astrovader.hardware import has_amx,has_bf16\nprint(has_bf16("cpu"), has_amx())'
    env = os.environ | dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2')
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env)
    assert r.stdout.strip() == 'False False', r.stderr

@pytest.mark.parametrize('make', [lambda s: vade_learner(s, 'small', device='mps', n_components=3), lambda s: survey_loaders(s, device='mps')])
def test_apples_gpu_is_declined(survey, make):
    with pytest.raises(BadInput, match="'mps' is not supported"): make(survey)

@needs_bf16
def test_gradients_of_the_input_of_a_model_that_does_not_learn(monkeypatch):
    from astrovader.model.networks import Architecture
    from astrovader.model.vade import VaDE
    monkeypatch.setattr(device, 'worth_compiling', 0)
    monkeypatch.setattr(device, 'has_amx', lambda: False)
    torch.manual_seed(0)
    m = VaDE(Architecture(32, 1, (64, 64), (3, 5), (64, 64), (5, 5))).requires_grad_(False)
    z = torch.randn(4, 20, requires_grad=True)
    exact, fused = (torch.autograd.grad(model.decode(z).square().sum(), z)[0] for model in (m, device.at_precision(m, True, 1)))
    assert (fused-exact).norm() < .1*exact.norm()

def test_a_learning_rate_is_found(survey):
    learn = vade_learner(survey, 'small', seed=0, device='cpu', **large | dict(encoder_filters=(4, 4), decoder_filters=(4, 4)))
    assert learn.lr_find(show_plot=False, num_it=10).valley > 0
