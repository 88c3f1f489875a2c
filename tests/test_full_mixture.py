"The prior with full covariances: its formulas against independent ones, and a training through all phases."
import numpy as np,pandas as pd,pytest,torch
from safetensors.torch import load_file
from scipy.stats import multivariate_normal
from astrovader.analysis.health import component_health
from astrovader.analysis.latent import similar
from astrovader.core import BadInput
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer.catalogue import catalogue
from astrovader.infer.generate import draw
from astrovader.infer.posterior import averaged_responsibilities
from astrovader.model.full_mixture import FullMixture
from astrovader.model.inference import model_digest
from astrovader.model.mixture import Mixture,fit_mixture,m_step,overlap_of
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.share.onnx import to_onnx
from astrovader.tables import numbered
from astrovader.train.learner import begin,train
from astrovader.train.split_merge import expected_log_joint,merged,refit_mixture,split_merge,split_merge_mixture
from side_by_side import in_two
from trainings import StopAfter

changes = dict(prior='full_mixture', n_components=3, n_latent=4, encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,), batch_size=32,
    epochs_alpha=2, epochs_anneal=1, epochs_static=1, n_periods=2, bf16=False, lr=3e-3, alpha=.01, mixture_weight=1.)

script = '''
import sys
from astrovader.train import distributed
from test_full_mixture import changes
distributed.train(*sys.argv[1:3], 'small', device='cpu', **changes)
'''

@pytest.fixture(autouse=True)
def without_gpus(monkeypatch): monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(160, 16)[0], tmp_path_factory.mktemp('full')/'survey')

@pytest.fixture(scope='module')
def trained(survey, tmp_path_factory):
    run = tmp_path_factory.mktemp('trained')/'run'
    return train(survey, run, 'small', device='cpu', **changes), run

def random_mixture(k=3, j=5, seed=0):
    "Weights, means and covariances"
    r = np.random.default_rng(seed)
    roots = r.normal(size=(k, j, j))
    return r.dirichlet(np.ones(k)*5), 2*r.normal(size=(k, j)), roots @ roots.transpose(0, 2, 1) + .05*np.eye(j)

def full(*moments): return FullMixture(*moments[1].shape).set_(*moments)

def weights_of(run): return load_file(run/'model/weights.safetensors')
def history_of(run): return pd.read_csv(run/'history.csv').drop(columns='seconds')

@pytest.mark.parametrize('j', (1, 2, 10))
def test_the_density_is_that_of_scipy(j):
    moments = weights, means, covariances = random_mixture(j=j)
    z = np.random.default_rng(1).normal(size=(200, j))*3
    want = np.log(weights) + np.stack([multivariate_normal(*gaussian).logpdf(z) for gaussian in zip(means, covariances)], 1)
    np.testing.assert_allclose(full(*moments).log_joint(z).detach(), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(full(*moments).log_joint(torch.tensor(z).float()).detach(), want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(expected_log_joint(*moments, z), want, rtol=1e-9, atol=1e-9)

def test_expected_log_joint_and_divergence_are_means_over_draws():
    mixture = full(*random_mixture(j=3)).double()
    r = np.random.default_rng(2)
    z, z_var, log_gamma = r.normal(size=(4, 3)), r.uniform(.05, .5, (4, 3)), np.log(r.dirichlet(np.ones(3), 4))
    draws = z + np.sqrt(z_var)*r.normal(size=(30_000, 4, 3))
    joint = mixture.log_joint(draws.reshape(-1, 3)).detach().numpy().reshape(-1, 4, 3)
    error = joint.std(0)/30_000**.5
    assert (abs(joint.mean(0) - expected_log_joint(*mixture.full_moments(), z, z_var)) < 5*error).all()
    entropy = (1 + np.log(2*np.pi*z_var)).sum(1)/2
    sampled = (np.exp(log_gamma)*(log_gamma - joint.mean(0))).sum(1) - entropy
    formula = mixture.kl(torch.tensor(z), torch.tensor(z_var).log(), torch.tensor(log_gamma)).detach()
    np.testing.assert_allclose(formula, sampled, atol=5*error.max())

def test_without_correlations_it_is_the_diagonal_mixture():
    weights, means, covariances = random_mixture()
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    diagonal, same = Mixture(3, 5).set_(weights, means, variances), full(weights, means, variances)
    z, log_var = torch.randn(50, 5), torch.rand(50, 5)-2
    for name in 'log_joint','posterior': torch.testing.assert_close(getattr(same, name)(z), getattr(diagonal, name)(z), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same.kl(z, log_var, diagonal.log_posterior(z)), diagonal.kl(z, log_var, diagonal.log_posterior(z)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(overlap_of(means, diagonal.covariances()), diagonal.overlap(), atol=1e-9)
    gamma, z_var = diagonal.posterior(z).detach().numpy().astype(float), log_var.exp().numpy()
    np.testing.assert_allclose(np.diagonal(m_step(gamma, z.numpy(), z_var, 'full')[2], axis1=1, axis2=2), m_step(gamma, z.numpy(), z_var)[2], rtol=1e-4)

def test_covariances_survive_set_and_moments_and_merging():
    moments = weights, means, covariances = random_mixture(j=8)
    mixture = full(*moments)
    np.testing.assert_allclose(mixture.covariances(), covariances, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(mixture.moments()[2], np.diagonal(covariances, axis1=1, axis2=2), rtol=1e-4)
    before = [parameter.clone() for parameter in mixture.parameters()]
    refit_mixture(mixture, mixture.sample(2000, generator=torch.Generator().manual_seed(0))[0].numpy())
    assert all(torch.equal(old, new) for old,new in zip(before[1:], list(mixture.parameters())[1:]))
    np.testing.assert_allclose(mixture.moments()[0], weights, atol=.05)
    z, c = mixture.sample(200_000, generator=torch.Generator().manual_seed(0))
    weight, mean, covariance = merged(*(values[:2] for values in mixture.full_moments()))
    of_both = z[c < 2].numpy()
    np.testing.assert_allclose(np.cov(of_both.T), covariance, atol=.02*covariance.max())
    np.testing.assert_allclose(of_both.mean(0), mean, atol=.05)

def test_covariances_stay_valid_where_galaxies_are_fewer_than_latents():
    z = np.random.default_rng(0).normal(size=(6, 10)).astype('f4')
    mixture = FullMixture(2, 10).maximise_(np.eye(2)[[0, 0, 0, 1, 1, 1]], z, 0.)
    assert np.linalg.eigvalsh(mixture.covariances()).min() > .99*np.exp(-8) and mixture.slopes.abs().max() < 100
    log_joint = mixture.log_joint(torch.from_numpy(z))
    exact = mixture.double().log_joint(torch.from_numpy(z))
    torch.testing.assert_close(log_joint.double(), exact, rtol=1e-4, atol=.01)

def test_elongated_clusters_are_found_whole_and_restored_by_split_and_merge():
    r = np.random.default_rng(0)
    tilted = np.array([[2., 1.9], [1.9, 2.]])
    means = np.array([[0., 0], [2.4, -2.4], [6, 4]])
    cluster = np.repeat(range(3), 500)
    z = means[cluster] + r.multivariate_normal([0, 0], tilted, 1500)
    found = {name: fit_mixture(z, 3, n_init=4, covariance=name).predict_proba(z) for name in ('diag', 'full')}
    def purity(labels): return sum(np.bincount(labels[cluster == c], minlength=3).max() for c in range(3))/1500
    best = FullMixture(3, 2).maximise_(found['full'], z, 0.)
    assert purity(best.posterior(z).argmax(1).numpy()) > .98 > .9 > purity(Mixture(3, 2).maximise_(found['diag'], z, 0.).posterior(z).argmax(1).numpy())
    damaged = full(np.array([.33, .01, .66]), np.array([[6, 4], [90, 90], means[:2].mean(0)]), np.stack([tilted, tilted, np.cov(z[cluster < 2].T)]))
    said = []
    assert split_merge_mixture(damaged, z, 0*z+.001, .9, 0, said.append) == [1, 2] and 'component 2 split into 2 and 1' in said[0]
    assert purity(damaged.posterior(z).argmax(1).numpy()) > .98
    np.testing.assert_allclose(damaged.covariances(), np.stack([tilted]*3), atol=.4)
    twins = [np.ones(2)/2, np.zeros((2, 2)), np.stack([tilted, tilted*[[1, -1], [-1, 1]]])]
    assert split_merge(*twins, z)[-1] == [] and overlap_of(*twins[1:])[0,1] < .6

def test_wrong_values_are_refused():
    weights, means, covariances = random_mixture()
    mixture = full(weights, means, covariances)
    bad_ones = {r'covariances of FullMixture.* must be of shape \(3, 5, 5\)': covariances[:,:2], 'symmetric': np.triu(covariances), 'must be a tensor': 'wide'}
    for why,bad in [*bad_ones.items(), *(('positive definite', value) for value in (-covariances, covariances*np.nan))]:
        with pytest.raises(BadInput, match=why): mixture.set_(weights, means, bad)
    np.testing.assert_allclose(mixture.covariances(), covariances, rtol=1e-3, atol=1e-4)
    with pytest.raises(BadInput, match=r'covariances must be of shape \(3, 5, 5\)'): overlap_of(means, covariances[:2])
    with pytest.raises(BadInput, match='one of diag, full'): m_step(np.ones((4, 1)), np.ones((4, 2)), 0., 'round')

def test_names_of_earlier_models_keep_their_digests():
    def digest(**more):
        torch.manual_seed(0)
        small = dict(size=16, bands=1, n_latent=2, n_components=2, encoder_filters=(2,), encoder_kernels=(3,), decoder_filters=(2,), decoder_kernels=(3,))
        return model_digest(VaDE(Architecture(**small, **more)))
    assert len({digest(), digest(prior='raw_mixture'), digest(prior='full_mixture')}) == 3
    assert list(Mixture(2, 3).state_dict()) == ['logits', 'means', 'raw_log_vars']

def test_a_trained_model_has_covariances_and_serves_every_analysis(trained, survey):
    learn, run = trained
    model = VaDE.load(run/'model')
    mixture = model.mixture
    assert type(mixture) is FullMixture and mixture.slopes.tril(-1).abs().max() > 1e-3 and np.isfinite(learn.history.valid_loss).all()
    cat = catalogue(run, survey)
    z, p = numbered(cat, 'z'), numbered(cat, 'p')
    want = np.log(mixture.moments()[0]) + np.stack([multivariate_normal(*gaussian).logpdf(z) for gaussian in zip(*mixture.full_moments()[1:])], 1)
    np.testing.assert_allclose(p, np.exp(want - np.logaddexp.reduce(want, axis=1)[:,None]), atol=1e-3)
    health = component_health(cat, mixture)
    np.testing.assert_allclose(health.overlap, (overlap_of(*mixture.full_moments()[1:]) - 2*np.eye(3)).max(1), rtol=1e-6)
    assert len(similar(cat, 0, 5, mixture=mixture)) == 5
    z, table = draw(model, 50, seed=1)
    assert z.isfinite().all() and set(table.component) <= {0, 1, 2}
    narrow = averaged_responsibilities(mixture, torch.from_numpy(numbered(cat, 'z')), torch.full((len(cat), 4), -25.))
    np.testing.assert_allclose(narrow, p, atol=2e-3)

def test_a_resumed_run_is_the_same(trained, survey, tmp_path):
    learn = begin(survey, tmp_path/'run', 'small', device='cpu', **changes).add_cb(StopAfter(4))
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    train(survey, tmp_path/'run', resume=True, device='cpu')
    _, run = trained
    pd.testing.assert_frame_equal(history_of(run), history_of(tmp_path/'run'))
    resumed = weights_of(tmp_path/'run')
    assert all(torch.equal(tensor, resumed[name]) for name,tensor in weights_of(run).items())

def test_two_processes_train_as_one(trained, survey, tmp_path):
    (tmp_path/'two.py').write_text(script)
    done = in_two(tmp_path/'two.py', survey.path, tmp_path/'two')
    assert done.returncode == 0, done.stderr
    two = weights_of(tmp_path/'two')
    assert max((tensor - two[name]).abs().max().item() for name,tensor in weights_of(trained[1]).items()) < 1e-3

def test_the_graph_for_onnx_contains_the_covariances(trained, tmp_path):
    pytest.importorskip('onnxruntime')
    about = to_onnx(trained[1], tmp_path/'export')
    np.testing.assert_allclose(about['mixture']['covariances'], trained[0].model.mixture.covariances())
    assert about['differences']['log_joint'] < 1e-5
