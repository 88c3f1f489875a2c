"A flipped bit anywhere in a table is refused, or changes nothing; and tables without checksums are read."
import json,shutil,warnings
import numpy as np,pandas as pd,pyarrow as pa,pyarrow.parquet as pq,pytest
from astropy.io import fits
from astropy.table import Table
from astrovader.core import AstrovaderError,BadInput,write_json
from astrovader.tables import read_table,verify_table,write_table,write_tables

n = 40
df = pd.DataFrame(dict(object_id=[f'galaxy {i}, 星' for i in range(n)], component=np.arange(n) % 3, p_max=np.linspace(.5, 1, n, dtype=np.float32),
    recon_error=np.random.default_rng(0).random(n, np.float32)))
meta = dict(seed=3, scaling='exact')

def in_pieces(path):
    tables = [pa.Table.from_pandas(df[i:i+15], preserve_index=False) for i in range(0, n, 15)]
    write_tables(tables, path, meta, n, 16)

def at_once(path): write_table(df, path, meta)

def places(length, n_places):
    "Positions all over a file, with more of them at both ends"
    ends = np.r_[:8, length-8:length]
    return np.unique(np.r_[ends, np.linspace(0, length-1, n_places-len(ends)).astype(int)])

def outcome(read, path, want):
    try: got = read(path)
    except AstrovaderError: return 'refused'
    pd.testing.assert_frame_equal(got, want, check_exact=True)
    assert want.attrs.items() <= got.attrs.items() # a checksum under a damaged name is one entry more
    return 'the same'

def flipped(file, read, want, n_places=75):
    "What reading says when one bit is flipped, at places all over a file"
    whole = file.read_bytes()
    found = []
    for i in places(len(whole), n_places):
        damaged = bytearray(whole)
        damaged[i] ^= 1 << int(i) % 8
        file.write_bytes(damaged)
        found.append(outcome(read, file if read is read_table else file.parent, want))
    file.write_bytes(whole)
    return found

def flipped_record(file, want):
    "The same with the record beside a CSV file"
    record = file.with_name(file.name+'.json')
    whole = record.read_bytes()
    found = []
    for i in places(len(whole), 40):
        damaged = bytearray(whole)
        damaged[i] ^= 1
        record.write_bytes(damaged)
        found.append(outcome(read_table, file, want))
    record.write_bytes(whole)
    return found

@pytest.mark.parametrize('suffix', ['parquet', 'fits', 'csv'])
@pytest.mark.parametrize('write', [at_once, in_pieces])
@pytest.mark.filterwarnings('ignore')
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path, suffix, write):
    file = tmp_path/f'cat.{suffix}'
    write(file)
    want = read_table(file)
    pd.testing.assert_frame_equal(want, df, check_dtype=False, rtol=1e-6)
    found = flipped(file, read_table, want)
    print(suffix, write.__name__, {name: found.count(name) for name in set(found)})
    assert found.count('refused') > .6*len(found) # astropy ignores what follows the END of a header
    assert verify_table(file) == 1
    if suffix == 'csv': assert 'refused' in flipped_record(file, want)

def test_tables_without_checksums_are_read(tmp_path):
    "As the previous version wrote them, and as others do"
    df.to_parquet(tmp_path/'old.parquet', index=False)
    Table.from_pandas(df.drop(columns='object_id')).write(tmp_path/'old.fits')
    df.to_csv(tmp_path/'old.csv', index=False)
    (tmp_path/'old.csv.json').write_text(json.dumps(meta))
    for suffix in 'parquet','fits','csv':
        pd.testing.assert_frame_equal(read_table(tmp_path/f'old.{suffix}')[['component', 'p_max']], df[['component', 'p_max']], check_dtype=False)
        assert verify_table(tmp_path/f'old.{suffix}') == 1
    assert read_table(tmp_path/'old.csv').attrs == meta

def test_page_checksums_of_others_are_compared(tmp_path):
    file = tmp_path/'theirs.parquet'
    pd.DataFrame(dict(x=np.random.default_rng(0).random(1000))).to_parquet(file, compression=None, write_page_checksum=True)
    damaged = bytearray(file.read_bytes())
    damaged[3000] ^= 1
    file.write_bytes(damaged)
    for read in read_table, verify_table:
        with pytest.raises(BadInput, match='not a readable table.*CRC'): read(file)

def test_a_table_that_others_rewrite_is_read(tmp_path):
    "pyarrow hands all metadata on; the digest is not among them"
    at_once(tmp_path/'a.parquet')
    pq.write_table(pq.read_table(tmp_path/'a.parquet').slice(3, 5), tmp_path/'b.parquet')
    assert len(read_table(tmp_path/'b.parquet')) == 5 and read_table(tmp_path/'b.parquet').attrs == meta

@pytest.mark.parametrize('rows', [1, 2, 3, 5, 7, 1000])
def test_the_checksum_of_a_streamed_fits_file_is_that_of_astropy(tmp_path, rows):
    "Rows of 11 bytes, so that pieces end between words"
    t = pa.table(dict(object_id=[f'{i:07}' for i in range(1000)], z=np.random.default_rng(rows).random(1000, np.float32)))
    write_tables((t.slice(i, rows) for i in range(0, 1000, rows)), tmp_path/'a.fits', meta, 1000, 7)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with fits.open(tmp_path/'a.fits', checksum=True) as hdus: assert [(hdu.verify_checksum(), hdu.verify_datasum()) for hdu in hdus] == [(1, 1)]*2

def test_new_rows_are_never_paired_with_old_provenance(tmp_path, monkeypatch):
    "A kill between the record and the rows is an error from `os.replace` here"
    file = tmp_path/'a.csv'
    write_table(df[:5], file, dict(seed=1))
    from astrovader import core
    def killed(new, path):
        if str(path).endswith('a.csv'): raise KeyboardInterrupt
        shutil.move(new, path)
    monkeypatch.setattr(core.os, 'replace', killed)
    with pytest.raises(KeyboardInterrupt): write_table(df, file, dict(seed=2))
    monkeypatch.undo()
    with pytest.raises(BadInput, match='a.csv and its record a.csv.json do not belong together.*write it again, or remove'): read_table(file)
    write_table(df, file, dict(seed=2))
    assert (len(read_table(file)), read_table(file).attrs) == (n, dict(seed=2))
    file.write_text('object_id\n1\n')
    with pytest.raises(BadInput, match='if you changed the table yourself'): read_table(file)
    (tmp_path/'a.csv.json').unlink()
    assert read_table(file).object_id.tolist() == ['1']

@pytest.mark.parametrize('suffix', ['parquet', 'fits', 'csv'])
def test_ids_survive_or_are_refused(tmp_path, suffix):
    file = tmp_path/f'a.{suffix}'
    strange = ['a\rb', ' c', 'd,"e"', "f'g", '0012', 'None', 'nan', 'x\ny']
    t = pd.DataFrame(dict(object_id=strange, z=range(len(strange))))
    for write in (lambda: write_table(t, file), lambda: write_tables([pa.Table.from_pandas(t, preserve_index=False)], file, {}, len(t), 9)):
        write()
        assert read_table(file).object_id.tolist() == strange
    for lost in None, np.nan:
        with pytest.raises(BadInput, match='1 rows of the table have no object_id'): write_table(t.assign(object_id=['a', lost, *strange[2:]]), file)
    with pytest.raises(BadInput, match='no object_id'): write_tables([pa.table(dict(object_id=['a', None]))], file, {}, 2, 1)

def test_a_column_that_a_format_cannot_hold_is_one_sentence(tmp_path):
    with pytest.raises(BadInput, match='a.fits cannot hold this table'): write_table(pd.DataFrame(dict(x=[dict(a=1), [2]])), tmp_path/'a.fits')
    with pytest.raises(BadInput, match='a.parquet cannot hold this table'): write_table(pd.DataFrame(dict(x=['a', 2])), tmp_path/'a.parquet')
    assert not list(tmp_path.iterdir())

def parts_of(folder):
    folder.mkdir()
    write_json(folder/'_plan.json', dict(asked=dict(rows=n, part_rows=15), provenance=meta))
    for i in range(3): write_table(df[15*i:15*i+15], folder/f'part-{i:05d}.parquet', meta)
    (folder/'_SUCCESS').touch()
    return folder

def test_a_flipped_bit_in_a_part_is_refused(tmp_path):
    folder = parts_of(tmp_path/'cat.parquet')
    want = read_table(folder)
    assert verify_table(folder) == 3
    for file in folder/'part-00001.parquet', folder/'_plan.json':
        found = flipped(file, lambda part: read_table(part), want)
        print(file.name, {name: found.count(name) for name in set(found)})
        assert found.count('refused') > .9*len(found)

@pytest.mark.parametrize('plan,why', [([], 'is not a plan'), (dict(provenance=3), 'has lost the provenance'), ('no JSON', 'is not a plan')])
def test_a_damaged_plan_is_one_sentence(tmp_path, plan, why):
    folder = parts_of(tmp_path/'cat.parquet')
    (folder/'_plan.json').write_text(json.dumps(plan))
    with pytest.raises(BadInput, match=why): read_table(folder)

def test_parts_of_two_tables_are_one_sentence(tmp_path):
    folder = parts_of(tmp_path/'cat.parquet')
    write_table(df[['component']], folder/'part-00001.parquet')
    with pytest.raises(BadInput, match='different columns'): read_table(folder)
    for part in folder.glob('part-*'): part.unlink()
    with pytest.raises(BadInput, match='lost its parts'): read_table(folder)
