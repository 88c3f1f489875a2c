"Names of components on simulated catalogues whose shares are known: coverage of all intervals, galaxies that teach more than random ones; and the command from end to end, with wrong inputs, and names that stay with a model."
import shutil
import numpy as np,pandas as pd,pytest,torch
from scipy.special import softmax
from astrovader.analysis.naming import _drawn_counts,fit_probe,name_components,next_to_label,write_names
from astrovader.cli import astrovader_catalogue,astrovader_name
from astrovader.core import AstrovaderError,BadInput,BadModel
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer.catalogue import catalogue,write_catalogue
from astrovader.infer.names import Names,names_of
from astrovader.infer.verify import verify
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.tables import numbered,read_table

kinds = 'edge-on', 'featured', 'smooth'

def simulated(seed, width, n=600, k=10):
    "A catalogue of components with known shares of three names, and whose labels are drawn from them."
    r = np.random.default_rng(seed)
    usual = r.dirichlet([3, 4, 6])
    shares,means = r.dirichlet(r.choice([1, 2, 4])*usual + .02, k),r.normal(0, width, (k, 4))
    component = r.choice(k, n, p=r.dirichlet([5]*k))
    z = means[component] + r.normal(size=(n, 4))
    p = softmax(-((z[:,None]-means)**2).sum(2)/2 + np.log(np.bincount(component, minlength=k)/n + 1e-9), 1)
    truth = np.array(kinds)[(r.random(n)[:,None] > shares[component].cumsum(1)).sum(1).clip(0, 2)]
    columns = {f'p_{c}': p[:,c] for c in range(k)} | {f'z_{j}': z[:,j] for j in range(4)}
    return pd.DataFrame(dict(object_id=[f'g{i}' for i in range(n)], component=p.argmax(1)) | columns | dict(truth=truth)),shares

def first(cat, n): return cat.truth.where(np.arange(len(cat)) < n)

@pytest.mark.parametrize('width,n_labels', [(2.5, 30), (.8, 30), (.8, 12)], ids=['apart', 'overlapping', 'hardly any label'])
def test_intervals_cover_what_they_say(width, n_labels):
    of_components,of_galaxies,of_accuracy = [],[],[]
    for seed in range(40):
        cat,shares = simulated(seed, width)
        if first(cat, n_labels).nunique() < 3: continue
        names = name_components(cat, first(cat, n_labels))
        own = shares[:,[kinds.index(name) for name in names.names]]
        purity = names.purity()
        truth = own[purity.component, [names.names.index(name) for name in purity.name]]
        of_components.append(np.mean((purity.low <= truth) & (truth <= purity.high)))
        rest = cat[n_labels:]
        low,high = names.interval(rest)
        exact = numbered(rest, 'p') @ own
        of_galaxies.append(np.mean((low <= exact) & (exact <= high)))
        right = (np.array(names.names)[names.probabilities(rest).argmax(1)] == rest.truth).mean()
        _,low,high = names.accuracy(rest)
        of_accuracy.append(low <= right <= high)
    assert .85 <= np.mean(of_components) <= .95 and .85 <= np.mean(of_galaxies) <= .95, (np.mean(of_components), np.mean(of_galaxies))
    assert np.mean(of_accuracy) >= .85, 'independent components are too sure of it, with .78 for hardly any label'

def test_the_accuracy_has_the_interval_of_draws_from_the_posterior():
    cat,_ = simulated(2, .8)
    labels,p = first(cat, 12),numbered(cat, 'p').astype(np.float64)
    names = name_components(cat, labels)
    drawn = np.stack([*_drawn_counts(p[:12], pd.Categorical(labels[:12]).codes, 3, 0)])
    shares = np.random.default_rng(0).standard_gamma(np.repeat(drawn, 20, 0))
    shares /= shares.sum(2, keepdims=True)
    said = p.T @ np.eye(3)[names.probabilities(cat).argmax(1)]/len(p)
    by_draws = np.quantile((shares*said).sum((1, 2)), [.05, .95])
    low,high = names.accuracy(cat)[1:]
    alone = Names(names.names, names.concentration).accuracy(cat)
    assert abs(high-by_draws[1]) < .03 and abs(low-by_draws[0]) < .03
    assert alone[2]-alone[1] < .85*(high-low)

def test_many_labels_give_the_truth_also_where_components_overlap():
    cat,shares = simulated(3, .8, n=8000)
    names = name_components(cat, cat.truth)
    own = shares[:,[kinds.index(name) for name in names.names]]
    assert abs(names.shares-own).max() < .12
    p = numbered(cat, 'p')
    by_parts = np.stack([p[cat.truth == name].sum(0) for name in names.names], 1)
    by_parts /= by_parts.sum(1, keepdims=True)
    assert abs(names.shares-own).mean() < .5*abs(by_parts-own).mean(), 'labels of galaxies between components smear them into each other'

@pytest.mark.parametrize('n_labels', [20, 100])
def test_the_probe_says_how_often_it_is_right(n_labels):
    covered,expected,found = [],[],[]
    for seed in range(20):
        cat,_ = simulated(seed, 1.5)
        if first(cat, n_labels).nunique() < 3: continue
        probe = fit_probe(cat, first(cat, n_labels))
        found.append((np.array(probe.names)[probe.probabilities(cat[n_labels:]).argmax(1)] == cat.truth[n_labels:]).mean())
        mean,low,high = probe.accuracy(cat[n_labels:])
        expected.append(mean)
        covered.append(low <= found[-1] <= high)
    assert np.mean(covered) >= .8 and abs(np.mean(expected)-np.mean(found)) < .04

def test_a_probe_of_two_labels_has_no_idea_how_often_it_is_right():
    cat,_ = simulated(0, 1.5)
    two = cat.truth.where(~cat.truth.duplicated() & (cat.truth != 'edge-on'))
    _,low,high = fit_probe(cat, two).accuracy(cat)
    assert two.notna().sum() == 2 and high-low > .4

def named_by(cat, known): return name_components(cat, cat.truth.where(cat.object_id.isin(known)))

def loss(cat, names, shares): return abs(names.probabilities(cat) - numbered(cat, 'p') @ shares[:,[kinds.index(name) for name in names.names]]).mean()

def test_proposed_galaxies_teach_more_than_random_ones():
    proposed,random = [],[]
    for seed in range(16):
        cat,shares = simulated(seed, 2.5)
        known = cat.object_id[:15].tolist()
        if cat.truth[:15].nunique() < 3: continue
        for _ in range(2): known += next_to_label(cat, named_by(cat, known), 10, known).object_id.tolist()
        proposed.append(loss(cat, named_by(cat, known), shares))
        random.append(loss(cat, name_components(cat, first(cat, 45)), shares))
    assert len(known) == 35 and np.mean(proposed) < np.mean(random), (np.mean(proposed), np.mean(random))

def test_proposals_are_like_the_other_members_of_their_components():
    deep,right = [],[]
    for seed in range(3):
        cat,_ = simulated(seed, .8)
        # Deep inside its component every galaxy has one name, outside it another
        ranks = pd.Series(numbered(cat, 'p').max(1)).groupby(cat.component).rank(pct=True)
        cat = cat.assign(truth=np.where(ranks > .8, 'smooth', 'featured'))
        known = cat.object_id[:10].tolist()
        for _ in range(4): known += next_to_label(cat, named_by(cat, known), 10, known, seed=seed).object_id.tolist()
        deep.append((ranks[cat.object_id.isin(known[10:])] > .8).mean())
        names = named_by(cat, known)
        right.append((np.array(names.names)[names.probabilities(cat).argmax(1)] == cat.truth).mean())
    assert .1 < np.mean(deep) < .3 and np.mean(right) > .7, (np.mean(deep), np.mean(right))

# A run

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A survey, and a model whose components are parts of its latent space"
    d = tmp_path_factory.mktemp('names')
    images,truth = sky(120, 16, 0)
    survey = pack_arrays(images, d/'survey', truth[['object_id', 'kind']])
    torch.manual_seed(0)
    widths = dict(encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,))
    model = VaDE(Architecture(16, n_latent=3, n_components=4, **widths), survey.packing)
    z = numbered(catalogue(model, survey), 'z')
    order = np.argsort(z[:,0])
    groups = [z[part] for part in np.array_split(order, 4)]
    model.mixture.set_([.25]*4, [own.mean(0) for own in groups], [own.var(0)+1e-5 for own in groups])
    model.save(d/'run/model')
    labels = pd.DataFrame(dict(object_id=truth.object_id[:50], label=np.where(np.arange(50) % 5, 'edge-on', 'disc')))
    labels.to_csv(d/'labels.csv', index=False)
    return d

def test_the_command_writes_everything(place, tmp_path, capsys):
    more = pd.concat([pd.read_csv(place/'labels.csv'), pd.DataFrame(dict(object_id=['M 31', 'M 51'], label='disc'))])
    more.to_csv(tmp_path/'labels.csv', index=False)
    astrovader_name(place/'run', place/'survey', tmp_path/'labels.csv', tmp_path/'out')
    assert '2 of 52 labels are of no galaxy of the survey: M 31, M 51' in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path/'out').iterdir() if 'json' not in file.name or file.name == 'names.json')[-5:] == ['catalogue.parquet', 'components.csv', 'names.json', 'names.png', 'next.csv']
    components,cat,following = (read_table(tmp_path/'out'/name) for name in ('components.csv', 'catalogue.parquet', 'next.csv'))
    assert list(components) == ['component', 'name', 'purity', 'low', 'high', 'labels', 'objects'] and np.isclose(components.labels.sum(), 50, atol=.01)
    assert ((components.low <= components.purity) & (components.purity <= components.high)).all() and components.objects.sum() == 120
    for prefix in '', 'probe_':
        assert np.allclose(cat[f'{prefix}p_disc'] + cat[f'{prefix}p_edge_on'], 1) and set(cat[f'{prefix}name']) <= {'disc', 'edge-on'}
        assert (cat[f'{prefix}p_disc_low'] < cat[f'{prefix}p_disc_high']).all()
    assert len(following) == 20 and not set(following.object_id.astype(str)) & set(more.object_id)
    assert verify(tmp_path/'out') == 1 and not (place/'run/model/names.json').exists()
    named = astrovader_name(place/'run', place/'survey', 'kind', tmp_path/'out', n_next=3)
    assert len(read_table(tmp_path/'out/next.csv')) == 3 or set(named.names) != {'disc', 'edge-on'}
    (tmp_path/'out/components.csv').write_text('component\n')
    with pytest.raises(AstrovaderError, match='has changed'): verify(tmp_path/'out')

@pytest.mark.parametrize('change,why', [(lambda t: t.assign(label='disc'), 'one class, disc'), (lambda t: t.assign(label=''), 'no labels'),
    (lambda t: t.assign(object_id='x'+t.object_id), 'whose ids are such as x'), (lambda t: t.assign(label=t.label.map({'disc': '0', 'edge-on': '1'})), "such as 'class 0'"),
    (lambda t: t.assign(label=t.label.map({'disc': 'a b', 'edge-on': 'a-b'})), 'same column'), (lambda t: t.assign(label=t.label.map({'disc': 'max', 'edge-on': 'b'})), 'p_max'),
    (lambda t: t.assign(label=t.label.map({'disc': 'a', 'edge-on': 'a low'})), 'same columns'), (lambda t: pd.concat([t, t.assign(label='ring')]), 'give each galaxy one')])
def test_wrong_labels_are_refused_and_leave_nothing(place, tmp_path, change, why):
    change(pd.read_csv(place/'labels.csv')).to_csv(tmp_path/'labels.csv', index=False)
    with pytest.raises(BadInput, match=why): write_names(place/'run', place/'survey', tmp_path/'labels.csv', tmp_path/'out')
    assert [file.name for file in tmp_path.iterdir()] == ['labels.csv']

def test_kept_names_enter_catalogues_in_every_form(place, tmp_path):
    shutil.copytree(place/'run', tmp_path/'run')
    before = catalogue(tmp_path/'run', place/'survey')
    write_catalogue(tmp_path/'run', place/'survey', tmp_path/'before.parquet', part_rows=50)
    names = write_names(tmp_path/'run', place/'survey', place/'labels.csv', tmp_path/'out', keep=True)
    assert verify(tmp_path/'run/model') == 1
    after = catalogue(tmp_path/'run', place/'survey', scaling='tempered')
    assert names_of(VaDE.load(tmp_path/'run/model')).sha256 == names.sha256 == after.attrs['names_sha256'] and 'names' not in before.attrs
    assert [name for name in after if name not in before] == ['name', 'p_disc', 'p_edge_on']
    written = read_table(tmp_path/'out/catalogue.parquet')
    assert np.allclose(after.p_disc, written.p_disc, atol=1e-5) and (after.name == written.name).all()
    for out,parts in (('c.fits', None), ('c.csv', None), ('c.parquet', 50)):
        write_catalogue(tmp_path/'run', place/'survey', tmp_path/out, scaling='tempered', part_rows=parts)
        again = read_table(tmp_path/out)
        assert (again.name == after.name).all() and np.allclose(again.p_edge_on, after.p_edge_on, atol=1e-6)
    with pytest.raises(BadInput, match='begun with another'): write_catalogue(tmp_path/'run', place/'survey', tmp_path/'before.parquet', part_rows=50)
    (tmp_path/'run/model/names.json').unlink()
    pd.testing.assert_frame_equal(catalogue(tmp_path/'run', place/'survey'), before)
    write_catalogue(tmp_path/'run', place/'survey', tmp_path/'before.parquet', part_rows=50)

def test_names_of_another_model_or_damaged_ones_are_refused(place, tmp_path):
    shutil.copytree(place/'run', tmp_path/'run')
    file = tmp_path/'run/model/names.json'
    for names,more,why in ((Names('ab', np.ones((3, 2))), {}, 'names 3 components'), (Names('ab', np.ones((4, 2))), dict(model='0'*16), 'another model')):
        names.save(file, **more)
        with pytest.raises(BadModel, match=why): astrovader_catalogue(tmp_path/'run', place/'survey', tmp_path/'c.csv')
    file.write_text(file.read_text().replace('1.0', '2.0', 1))
    with pytest.raises(BadModel, match='has changed'): verify(tmp_path/'run/model')
    assert not (tmp_path/'c.csv').exists()
