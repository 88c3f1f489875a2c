"The tables of Galaxy Zoo 2: published rows where they are available, mock rows in the same schemas elsewhere."
import numpy as np,pandas as pd,pytest
from pathlib import Path
from astropy.table import Table
from astrovader.core import BadInput
from astrovader.data.gz2 import asked,classify,clean,join,paper_split,parents,question_of,questions,read_gz2,satisfied
from astrovader.data.survey import Survey
from astrovader.data.pack import pack
from astrovader.data.synth import write_sky

data = Path(__file__).parents[2]/'shared/data'
def needs(*names): return pytest.mark.skipif(not all((data/o).exists() for o in names), reason=f'needs {" and ".join(names)} in ../shared/data')
rows,solutions = data/'gz2_rows/galaxy_zoo_2/galaxy_zoo_2',data/'gz2_rows/galaxy_zoo_challenge/galaxy_zoo_challenge/training_solutions_rev1.csv'

def answers(kind): return [f'{q}_{a}_{kind}' for q,o in questions.items() for a in o]

def made_up(n=7):
    "Rows with every column of gz2_hart16, in its order."
    r = np.random.default_rng(0)
    t = dict(dr7objid=587725489986928743 + 65536*np.arange(n), ra=r.random(n), dec=r.random(n), rastring='08:26:17.42', decstring='+54:12:16.5',
        sample='original', gz2_class='Sc+t', total_classifications=r.integers(30, 50, n), total_votes=r.integers(90, 300, n))
    for q,o in questions.items():
        p,count = r.dirichlet(np.ones(len(o)), n).round(9),r.integers(0, 30, (n, len(o)))
        for j,a in enumerate(o): t |= {f'{q}_{a}_{k}': v for k,v in zip(('count', 'weight', 'fraction', 'weighted_fraction', 'debiased', 'flag'),
            (count[:,j], count[:,j]*1., *[p[:,j]]*3, (p[:,j] >= .8).astype(int)))}
    return pd.DataFrame(t)

@pytest.mark.parametrize('name', ['a.fits', 'a.fits.gz', 'a.FITS', 'a.csv', 'a.csv.gz', 'a.vot', 'a.parquet'])
@pytest.mark.parametrize('upper', [False, True])
def test_every_format_gives_the_same_table(tmp_path, name, upper):
    t = made_up()
    u = t.rename(columns=str.upper) if upper else t
    if 'csv' in name: u.to_csv(tmp_path/name, index=False)
    elif 'parquet' in name: u.to_parquet(tmp_path/name)
    else: Table.from_pandas(u).write(tmp_path/name, format='votable' if 'vot' in name else 'fits')
    got = read_gz2(tmp_path/name)
    assert list(got) == ['object_id', *t] and len(t.columns) == 9+6*37 and got.attrs['schema'] == 'votes'
    assert got.object_id.tolist() == t.dr7objid.astype(str).tolist()
    for k in answers('debiased')+answers('count'): assert np.array_equal(got[k], t[k])
    assert {k: classify(got, k).tolist() for k in ('paper', 'three')} == {k: classify(t, k).tolist() for k in ('paper', 'three')}

def test_big_endian_bytes_and_missing_ids(tmp_path):
    "As archives write them: FITS integers with a TNULL, and text of fixed width."
    from astropy.io import fits
    ids = np.array([587725489986928743, -1, 587725489986928743+2**40], '>i8')
    cols = [fits.Column('OBJID', 'K', array=ids, null=-1), fits.Column('REGION', '8A', array=['legacy', 'extra', 'x']), fits.Column('PETROR90_R', 'E', array=[3., 4., 5.])]
    fits.BinTableHDU.from_columns(cols).writeto(tmp_path/'gz2sample.fits')
    t = read_gz2(tmp_path/'gz2sample.fits')
    assert t.object_id.tolist()[::2] == ['587725489986928743', '587726589498556519'] and pd.isna(t.object_id[1])
    assert t.region.tolist() == ['legacy', 'extra', 'x'] and t.attrs['without_id'] == 1
    text = fits.BinTableHDU.from_columns([fits.Column('OBJID', '20A', array=[str(o) for o in ids]), cols[2]])
    text.writeto(tmp_path/'text.fits')
    assert read_gz2(tmp_path/'text.fits').object_id[0] == '587725489986928743'
    floats = fits.BinTableHDU.from_columns([fits.Column('OBJID', 'D', array=ids.astype(float)), cols[2]])
    floats.writeto(tmp_path/'floats.fits')
    with pytest.raises(BadInput, match='lose digits'): read_gz2(tmp_path/'floats.fits')

def test_damaged_files_get_a_sentence(tmp_path):
    made_up().to_csv(tmp_path/'a.csv.gz', index=False)
    Table.from_pandas(made_up(200)).write(tmp_path/'a.fits')
    for name,n in (('a.csv.gz', 300), ('a.fits', 3000)):
        (tmp_path/f'cut-{name}').write_bytes((tmp_path/name).read_bytes()[:n])
        with pytest.raises(BadInput, match='is not a readable table'): read_gz2(tmp_path/f'cut-{name}')

def test_a_simulated_survey_has_its_votes(tmp_path):
    "A simulated sky is packed with its votes, and every function accepts the index of the survey."
    write_sky(tmp_path/'sky', 40, 32)
    s = pack(tmp_path/'sky/truth.csv', tmp_path/'survey', size=32, n_workers=0, id_column='object_id')
    t = Survey(s.path).index()
    direct = read_gz2(tmp_path/'sky/truth.csv')
    assert classify(t, 'three').tolist() == classify(direct, 'three').tolist() and classify(t, 'three').notna().sum() > 10
    assert join(s, direct).attrs['unmatched'] == 0
    assert satisfied(join(t[['object_id', 'file']], direct)).equals(satisfied(t))

@needs('gz2_rows')
def test_genuine_rows():
    t,m = read_gz2(rows/'gz2_hart16.csv'),read_gz2(rows/'gz2_filename_mapping.csv')
    assert t.object_id.tolist() == ['587737825678131439', '587726016142835881', '587736542560715163'] and not set(answers('debiased')) - set(t)
    assert join(m, t).set_index('asset_id').gz2_class.to_dict() == {16126: 'Sb?m(m)', 91609: 'Ser', 106587: 'Sc+t'}
    assert classify(t).tolist() == ['featured', 'featured', 'featured'] and satisfied(t).smooth.tolist() == [False, True, False]
    assert asked(t, 't01_smooth_or_features').tolist() == [37, 44, 34]
    assert [read_gz2(join(m, t), 'asset_id').object_id.tolist()] == [m.asset_id.astype(str).tolist()]

@needs('gz2_rows')
def test_genuine_kaggle_rows_are_a_tree():
    "The answers to a question sum to the probability of the answer that leads to it, and become fractions."
    raw,t = pd.read_csv(solutions).set_index('GalaxyID'),read_gz2(solutions)
    assert t.object_id.tolist() == ['100008', '100023', '100053'] and t.attrs['schema'] == 'kaggle'
    names = dict(zip(question_of, [o for o in raw if o.startswith('Class')]))
    for q,o in questions.items():
        reached = t[f'{q}_reached']
        leads = raw[names[parents[q]]].to_numpy() if q in parents else 1.
        assert np.allclose(reached, leads, atol=2e-6), q
        assert np.allclose(t[[f'{q}_{a}_fraction' for a in o]].sum(axis=1), np.where(reached > 0, 1, 0))
        for a in o: assert np.allclose(t[f'{q}_{a}_fraction']*reached, raw[names[a]])
    assert classify(t, 'majority', 'fraction').tolist() == ['featured', 'featured', 'smooth']

@needs('gz2_rows/galaxy_zoo_decals')
@pytest.mark.parametrize('name', ['gz_decals_volunteers_1_and_2', 'gz_decals_volunteers_5', 'gz_decals_auto_posteriors'])
def test_genuine_rows_of_decals(name):
    "Every campaign of GZ DECaLS: the shares of the published table by hand, also where only the numbers of votes are kept."
    path = data/f'gz2_rows/galaxy_zoo_decals/galaxy_zoo_decals/{name}.csv'
    raw,t = pd.read_csv(path),read_gz2(path)
    assert t.attrs['schema'] == 'campaign' and t.object_id.tolist() == raw.iauname.tolist()
    bar = [o for o in ('bar_yes', 'bar_strong', 'bar_weak') if f'{o}_fraction' in raw]
    for ours,theirs in dict(t01_smooth_or_features_a02_features_or_disk=['smooth-or-featured_featured-or-disk'], t02_edgeon_a04_yes=['disk-edge-on_yes'], t03_bar_a06_bar=bar).items():
        assert np.allclose(t[f'{ours}_fraction'], raw[[f'{o}_fraction' for o in theirs]].sum(axis=1, min_count=1), equal_nan=True)
    if 'auto' in name: return
    assert asked(t, 't01_smooth_or_features').tolist() == raw['smooth-or-featured_total-votes'].tolist()
    counts = read_gz2(raw.drop(columns=[o for o in raw if o.endswith(('_fraction', '_debiased'))]))
    assert np.allclose(counts.t02_edgeon_a04_yes_fraction, t.t02_edgeon_a04_yes_fraction, equal_nan=True)
    assert satisfied(raw).equals(satisfied(t))

@needs('gz2_votes/votes.csv.gz')
def test_the_voted_images():
    "5,627 rows, of which 647 have a DR7 id: each cut selects the same galaxies as pandas by hand."
    path = data/'gz2_votes/votes.csv.gz'
    t,u = read_gz2(path),read_gz2(path, 'image')
    raw = pd.read_csv(path, dtype=dict(dr7objid=str))
    assert t.attrs == dict(schema='votes', key='dr7objid', rows=5627, duplicates=0, without_id=4980)
    assert t.object_id.dropna().tolist() == raw.dr7objid.dropna().tolist() and u.object_id.tolist() == raw.image.str[:-4].tolist()
    first,second = (raw.filter(regex=f'^{q}.*_count$').sum(axis=1) for q in ('t01', 't02'))
    smooth,featured,edge,not_edge = (raw[f'{question_of[a]}_{a}_debiased'].round(6) for a in ('a01_smooth', 'a02_features_or_disk', 'a04_yes', 'a05_no'))
    by_hand = pd.DataFrame({'smooth': (smooth > .43) & (first > 20), 'featured': (featured > .43) & (first > 20)})
    assert satisfied(u).equals(by_hand)
    disks = by_hand.featured & (second > 20)
    assert satisfied(u, 'paper edge-on').equals(pd.DataFrame({'edge-on': disks & (edge > .715), 'not edge-on': disks & (not_edge > .715)}))
    three = classify(u, 'three')
    assert three.attrs == dict(none=int(three.isna().sum()), both=int((by_hand.smooth & disks & ((edge > .715) | (not_edge > .715))).sum()))

@needs('gz2_votes/votes.csv.gz')
def test_flags_are_debiased_votes_of_four_fifths():
    t = read_gz2(data/'gz2_votes/votes.csv.gz', 'image')
    for c in (o[:-5] for o in t if o.endswith('_flag')): assert (t[f'{c}_flag'].eq(1) == (t[f'{c}_debiased'].round(6) >= .8)).all(), c
    strict = satisfied(t, dict(bar=clean('a06_bar'))).bar
    assert 0 < strict.sum() < t.t03_bar_a06_bar_flag.sum() and t.t03_bar_a06_bar_flag[strict].all()

@needs('paper/TrainGals_IDs.npy')
def test_the_papers_split():
    s = paper_split(data/'paper')
    assert s.value_counts().to_dict() == dict(train=159666, test=41167, valid=5000) and s.index.is_unique
    assert s['587733080806850761'] == 'train' and s['587736584970305731'] == 'valid' and s['587737826208252166'] == 'test'

@needs('paper/TrainGals_IDs.npy', 'gz2_votes/votes.csv.gz')
def test_split_and_votes_meet_by_id():
    s,t = paper_split(data/'paper'),read_gz2(data/'gz2_votes/votes.csv.gz')
    mine = t.object_id.map(s)
    ours = join(s.index[s == 'test'][:3000].tolist() + t.object_id[mine == 'test'].tolist()[:5], t[t.object_id.notna()])
    assert mine.notna().sum() > 100 and ours.attrs['matched'] >= 5
