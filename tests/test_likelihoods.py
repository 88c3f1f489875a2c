"Training with learned noise, views, residual blocks and early up-sampling: from a survey to a model, a resumed run, figures and ONNX."
import json
import numpy as np,pandas as pd,pytest,torch
from astrovader.show.statistics_plots import plot_history
from astrovader.infer.catalogue import catalogue
from astrovader.core import BadInput
from astrovader.analysis.summary import history_cautions
from astrovader.train.learner import begin,train,vade_learner
from astrovader.share.onnx import to_onnx
from astrovader.train.phases import presets
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.model.device import has_bf16
from astrovader.model.vade import VaDE
from trainings import StopAfter

tiny = dict(encoder_filters=(8, 8), encoder_kernels=(3, 3), decoder_filters=(8, 8), decoder_kernels=(3, 3), n_latent=4, n_components=3,
    epochs_alpha=3, epochs_anneal=2, epochs_static=1, n_periods=1, batch_size=20, lr=3e-3, valid=.1, alpha=1., mixture_weight=1., clip=0.)
new = dict(reconstruction='pyramid', n_scales=3, residual=True, upsample_first=True, aperture=.6)

@pytest.fixture(scope='module')
def survey(tmp_path_factory): return pack_arrays(sky(400, 32)[0], tmp_path_factory.mktemp('likelihoods')/'survey')

@pytest.fixture(scope='module')
def trained(survey, tmp_path_factory):
    run = tmp_path_factory.mktemp('trained')/'run'
    return train(survey, run, 'small', **tiny, **new), run

def test_learned_noise_falls_and_is_saved_with_the_model(trained, survey):
    learn, run = trained
    h, model = learn.history, VaDE.load(run/'model')
    assert h.train_rec.iloc[-1] < h.train_rec.iloc[0] and h.train_rec.iloc[-1] < 0 and np.isfinite(h.train_loss).all()
    assert (model.noise_log_vars < np.log(.1**2)).all() and model.log_noise.shape == (3,)
    for preset in json.loads((run/'run.json').read_text())['preset'], model.meta['preset']:
        assert preset['reconstruction'] == 'pyramid' and preset['aperture'] == .6 and preset['arch']['residual'] and preset['arch']['n_scales'] == 3
    assert catalogue(model, survey).recon_error.min() > 0

def test_figures_and_cautions_of_negative_losses(trained):
    h = trained[0].history
    assert plot_history(h).axes[1].get_yscale() == 'linear'
    h.loc[h.index[-2], ['train_rec', 'valid_rec']] = 100.
    assert not [caution for caution in history_cautions(h) if 'reconstruction error fell' in caution or 'worse than' in caution]

def test_a_resumed_run_ends_at_the_same_noise(trained, survey, tmp_path):
    learn = begin(survey, tmp_path/'run', 'small', **tiny, **new).add_cb(StopAfter(4))
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    again = begin(survey, tmp_path/'run', resume=True).fit_phases()
    assert torch.equal(again.model.log_noise, trained[0].model.log_noise)

@pytest.mark.skipif(not has_bf16('cpu'), reason='this processor has no bfloat16 instructions')
@pytest.mark.parametrize('kind', ('gaussian', 'pyramid'))
def test_bfloat16_trains_as_float32(kind, survey):
    changes = tiny | dict(epochs_alpha=2) | new | dict(reconstruction=kind, n_scales=1 if kind == 'gaussian' else 3)
    learners = [vade_learner(survey, 'small', bf16=bf16, **changes).fit_phases() for bf16 in (False, True)]
    full, half = (learn.history.train_rec.iloc[0] - learn.history.train_rec.iloc[-1] for learn in learners)
    assert min(full, half) > 0 and abs(full/half - 1) < .05
    full, half = (learn.model.noise_log_vars for learn in learners)
    assert (full - half).abs().max() < .2

def test_onnx_computes_the_same(trained, tmp_path):
    pytest.importorskip('onnxruntime')
    to_onnx(trained[1], tmp_path/'out')
    assert max(json.loads((tmp_path/'out/export.json').read_text())['differences'].values()) < 1e-4

def test_a_model_saved_by_an_earlier_version_loads(tmp_path):
    VaDE(presets['small'].arch).save(tmp_path/'m')
    about = json.loads((tmp_path/'m/model.json').read_text())
    del about['checksum'] # that version wrote none
    for name in 'residual', 'upsample_first', 'n_scales': del about['architecture'][name]
    (tmp_path/'m/model.json').write_text(json.dumps(about))
    model = VaDE.load(tmp_path/'m')
    assert model.arch == presets['small'].arch and not any('noise' in name or 'around' in name for name in model.state_dict())

@pytest.mark.parametrize('consistency', (0., 1.))
def test_a_training_with_views_resumes_exactly(consistency, survey, tmp_path):
    changes = tiny | dict(views=True, consistency=consistency)
    uninterrupted = train(survey, tmp_path/'uninterrupted', 'small', **changes)
    learn = begin(survey, tmp_path/'run', 'small', **changes).add_cb(StopAfter(4))
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    again = train(survey, tmp_path/'run', resume=True)
    assert all(torch.equal(a, b) for a,b in zip(again.model.state_dict().values(), uninterrupted.model.state_dict().values()))
    h = pd.read_csv(tmp_path/'run/history.csv')
    assert ('train_consistency' in h) == (consistency > 0) and np.isfinite(h.filter(like='train')).all(axis=None)

def test_a_run_of_a_version_without_views_resumes(survey, tmp_path):
    learn = begin(survey, tmp_path/'run', 'small', **tiny).add_cb(StopAfter(4))
    with pytest.raises(KeyboardInterrupt): learn.fit_phases()
    about = json.loads((tmp_path/'run/run.json').read_text())
    del about['checksum'] # that version wrote none
    for name in 'views', 'consistency': del about['preset'][name]
    (tmp_path/'run/run.json').write_text(json.dumps(about))
    assert len(train(survey, tmp_path/'run', resume=True).history) == 6

def test_wrong_options_are_refused(survey):
    for bad,why in (dict(reconstruction='pyramid', n_scales=1), 'n_scales is 1'), (dict(n_scales=2), 'n_scales is 2'), (dict(aperture=-1.), 'aperture is -1'), \
            (dict(residual='yes'), 'residual is'), (dict(reconstruction='pyramid', n_scales=9), 'do not have 9 scales'):
        with pytest.raises(BadInput, match=why): vade_learner(survey, 'small', **tiny | bad)
