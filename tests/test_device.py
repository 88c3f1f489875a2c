"One training at three precisions, and what happens where nothing can be compiled."
import os,subprocess,sys
import numpy as np,pytest,torch
from astrovader.model import device
from astrovader.infer.catalogue import catalogue
from astrovader.train.learner import vade_learner
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky

large = dict(encoder_filters=(64, 64), encoder_kernels=(3, 5), decoder_filters=(64, 64), decoder_kernels=(5, 5), n_latent=6, n_components=3, init_batches=4,
    batch_size=30, lr=1e-3, epochs_alpha=3, epochs_anneal=1, epochs_static=1, n_periods=1, valid=.2)

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(160, size=32, seed=0)[0], tmp_path_factory.mktemp('device')/'survey')

def trained(survey, monkeypatch, bf16, worth):
    monkeypatch.setattr(device, 'worth_compiling', worth)
    learn = vade_learner(survey, 'small', seed=0, device='cpu', bf16=bf16, **large).fit_phases()
    return learn,learn.history

@pytest.mark.skipif(not device.has_bf16('cpu'), reason='this processor has no bfloat16')
def test_training_is_the_same_at_every_precision(survey, monkeypatch):
    (_, exact),(plain, auto),(fast, ours) = (trained(survey, monkeypatch, *o) for o in ((False, 0), (True, 10**9), (True, 0)))
    assert not plain.model.fused and {type(o) for o in fast.model.fused.values()} == {device.FusedCPUNet}
    for part in 'train_rec','valid_rec','train_loss': # the first steps of Adam turn rounding into steps of full length
        np.testing.assert_allclose(auto[part][:3], exact[part][:3], rtol=.02)
        np.testing.assert_allclose(ours[part][:3], exact[part][:3], rtol=.05)
    np.testing.assert_allclose(ours.valid_rec, exact.valid_rec, rtol=.1)
    assert ours.valid_rec.iloc[-1] < .93*ours.valid_rec.iloc[0]

@pytest.mark.skipif(not device.has_bf16('cpu'), reason='this processor has no bfloat16')
def test_the_same_seed_gives_the_same_numbers(survey, monkeypatch):
    (a, one),(b, two) = (trained(survey, monkeypatch, True, 0) for _ in range(2))
    assert one.drop(columns='seconds').equals(two.drop(columns='seconds'))
    assert all(torch.equal(p, q) for p,q in zip(a.model.parameters(), b.model.parameters()))
    cats = [catalogue(o.model, survey, bf16=True, batch=n) for o,n in ((a, 160), (b, 7))]
    assert (cats[0].component == cats[1].component).all() and np.allclose(cats[0].p_max, cats[1].p_max, atol=1e-6)

def test_without_a_compiler_it_says_so_and_goes_on(survey, tmp_path):
    code = ('import torch,warnings\nfrom astrovader import device\nfrom astrovader.model.networks import Architecture\nfrom astrovader.model.vade import VaDE\n'
        "device.has_bf16 = lambda o: True\nm = VaDE(Architecture(32, 1, (64, 64), (3, 5), (64, 64), (5, 5)))\n"
        'print(device.can_compile(), device.fast_nets(m), tuple(device.at_precision(m, True, 10**9).encode(torch.rand(2, 1, 32, 32))[0].shape))')
    env = os.environ | dict(CXX=str(tmp_path/'none'), TORCHINDUCTOR_CACHE_DIR=str(tmp_path/'cache'), TORCHINDUCTOR_FORCE_DISABLE_CACHES='1')
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env)
    assert r.returncode == 0 and r.stdout.strip() == 'False {} (2, 20)', r.stderr
    assert 'torch.compile does not work here' in r.stderr and 'Traceback' not in r.stderr

@pytest.mark.skipif(not device.has_bf16('cpu'), reason='this processor has no bfloat16')
def test_gradients_of_the_input_of_a_model_that_does_not_learn(monkeypatch):
    from astrovader.model.networks import Architecture
    from astrovader.model.vade import VaDE
    monkeypatch.setattr(device, 'worth_compiling', 0)
    torch.manual_seed(0)
    m,z = VaDE(Architecture(32, 1, (64, 64), (3, 5), (64, 64), (5, 5))).requires_grad_(False),torch.randn(4, 20, requires_grad=True)
    exact,ours = (torch.autograd.grad(o.decode(z).square().sum(), z)[0] for o in (m, device.at_precision(m, True, 1)))
    assert (ours-exact).norm() < .1*exact.norm()

def test_a_learning_rate_is_found(survey):
    learn = vade_learner(survey, 'small', seed=0, device='cpu', **large | dict(encoder_filters=(4, 4), decoder_filters=(4, 4)))
    assert learn.lr_find(show_plot=False, num_it=10).valley > 0
