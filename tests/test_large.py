"Large catalogues and synthetic surveys: several processes, killed and interrupted work, full disks, and memory that does not grow."
import resource,signal,subprocess,sys,time
from contextlib import contextmanager
import numpy as np,pandas as pd,pytest,torch
from astrovader.infer.catalogue import catalogue,write_catalogue
from astrovader.cli import astrovader_catalogue
from astrovader.core import BadInput,BadSurvey
from astrovader.infer.generate import write_generated
from astrovader.model.networks import Architecture
from astrovader.data.survey import Survey
from astrovader.data.pack import pack_arrays
from astrovader.tables import read_table
from astrovader.model.vade import VaDE
from side_by_side import Command,in_two,run

n,rows = 2000,100

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A survey of noise with positions, the run of a model that was not trained, and its catalogue"
    d = tmp_path_factory.mktemp('large')
    r = np.random.default_rng(0)
    table = pd.DataFrame(dict(object_id=[f'galaxy {i}' for i in range(n)], ra=r.uniform(0, 360, n), dec=r.uniform(-90, 90, n)))
    survey = pack_arrays(r.integers(0, 256, (n, 16, 16), dtype=np.uint8), d/'survey', table, shard_rows=300)
    torch.manual_seed(0)
    VaDE(Architecture(16, encoder_filters=(8,8), encoder_kernels=(3,3), decoder_filters=(8,8), decoder_kernels=(3,3), n_latent=4, n_components=3),
        survey.packing).save(d/'run/model')
    catalogue(d/'run', survey, d/'whole.parquet')
    return d

def is_whole(place, out):
    got,want = read_table(out),read_table(place/'whole.parquet')
    pd.testing.assert_frame_equal(got, want, rtol=1e-4, atol=1e-5)
    return got.object_id.is_unique

def kill_when(p, there, sig=signal.SIGKILL):
    "Kill a process as soon as something is there"
    end = time.time() + 60
    while time.time() < end and p.poll() is None and not there(): time.sleep(.002)
    p.send_signal(sig)
    return p.communicate(timeout=60)

def count(out, what='part-*'): return len(list(out.glob(what)))

def test_two_processes_share_a_catalogue_and_a_synthetic_survey(place, tmp_path, capsys):
    r = in_two('astrovader-catalogue', place/'run', place/'survey', tmp_path/'c.parquet', '--parts', rows)
    assert r.returncode == 0 and r.stdout.count('2,000 objects') == 1, r.stderr
    r = in_two('astrovader-generate', place/'run', tmp_path/'g', '--n', 9000)
    assert r.returncode == 0 and r.stdout.count('9,000 synthetic galaxies') == 1, r.stderr
    assert is_whole(place, tmp_path/'c.parquet') and count(tmp_path/'c.parquet') == n//rows
    assert write_catalogue(place/'run', place/'survey', tmp_path/'c.parquet') and '20 of 20 parts exist already' in capsys.readouterr().out
    one,two = write_generated(place/'run', tmp_path/'one', 9000),Survey(tmp_path/'g').verify()
    assert np.abs(one.images(slice(None)).astype(int) - two.images(slice(None))).max() <= 1
    pd.testing.assert_frame_equal(one.index(), two.index())
    pd.testing.assert_frame_equal(read_table(tmp_path/'one/synthetic.parquet'), read_table(tmp_path/'g/synthetic.parquet'))

meet = """
import os,signal,sys,time
from pathlib import Path
from astrovader import cli
from astrovader.infer import generate
from astrovader.infer.parts import Parts
from astrovader.jobs import Job
place,name,what = Path(sys.argv[1]),*sys.argv[2:4]
def meet():
    (place/f'here-{os.getpid()}').touch()
    end = time.time() + 60
    while len(list(place.glob('here-*'))) < 2 and time.time() < end: time.sleep(.001)
def after(function): return lambda *args: [function(*args), meet()][0]
def before(function): return lambda *args: [meet(), function(*args)][1]
def slow(function):
    def call(*args, **kwargs):
        time.sleep(.2) # in which the other process asks for the seal
        return function(*args, **kwargs)
    return call
def killed(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)
if what == 'together': Job.seal,Parts.finish,generate._write_shards = slow(Job.seal),before(Parts.finish),after(generate._write_shards)
if what == 'killed while it seals': Job.seal = killed
if what == 'killed before the name': generate._replace = killed
sys.argv = sys.argv[3:]
getattr(cli, name)()
"""
@pytest.fixture
def shared(place, tmp_path):
    "Begins a catalogue and a synthetic survey with a script that meddles with the seal: the commands, and what each says"
    script = tmp_path/'meet.py'
    script.write_text(meet)
    def call(in_processes, what, command, *args):
        for file in tmp_path.glob('here-*'): file.unlink()
        return in_processes(script, tmp_path, command, what, *args)
    catalogue = 'astrovader_catalogue',place/'run',place/'survey',tmp_path/'c.parquet','--parts',rows
    survey = 'astrovader_generate',place/'run',tmp_path/'g','--n',9000
    return call,((catalogue, '2,000 objects'), (survey, '9,000 synthetic galaxies'))

def hidden(folder): return [file.name for file in folder.rglob('.*')]

def test_one_of_two_that_find_the_last_part_at_once_says_so(shared, tmp_path):
    "Both have made their parts before either looks whether all are there, and the seal of the first takes a while"
    call,commands = shared
    for command,said in commands:
        r = call(in_two, 'together', *command)
        assert r.returncode == 0 and r.stdout.count(said) == 1, r.stdout + r.stderr
        for in_processes in in_two,run: # of a complete result, too
            r = call(in_processes, 'again', *command)
            assert r.returncode == 0 and r.stdout.count(said) == 1, r.stdout + r.stderr
    Survey(tmp_path/'g').verify()
    assert len(read_table(tmp_path/'c.parquet')) == n and not hidden(tmp_path)

def test_a_process_that_is_killed_while_it_seals_blocks_no_other(place, shared, tmp_path):
    "Before the seal; and, where one synthetic survey replaces another, before it gets its name"
    call,commands = shared
    for command,said,when in (*((*command, 'killed while it seals') for command in commands), (*commands[1], 'killed before the name')):
        if when == 'killed before the name': write_generated(place/'run', tmp_path/'g', 50)
        r = call(run, when, *command)
        assert r.returncode == -signal.SIGKILL and said not in r.stdout, r.stdout + r.stderr
        r = call(in_two, 'again', *command)
        assert r.returncode == 0 and r.stdout.count(said) == 1, r.stdout + r.stderr
    assert len(Survey(tmp_path/'g').verify()) == 9000 and is_whole(place, tmp_path/'c.parquet') and not hidden(tmp_path)

def test_killed_catalogue_goes_on(place, tmp_path):
    out = tmp_path/'c.parquet'
    args = 'astrovader-catalogue',place/'run',place/'survey',out,'--parts',rows,'--batch-size',1
    kill_when(Command(*args), lambda: count(out) >= 4)
    there = {o.name: o.stat().st_mtime_ns for o in out.glob('part-*')}
    assert 4 <= len(there) < n//rows
    with pytest.raises(BadInput, match='not finished'): read_table(out)
    r = run(*args)
    assert r.returncode == 0 and f'{len(there)} of 20 parts exist already' in r.stdout, r.stderr
    assert is_whole(place, out) and all((out/o).stat().st_mtime_ns == t for o,t in there.items())
    assert not [o for o in out.iterdir() if o.name.startswith('.')]

def test_interrupted_catalogue_says_how_to_go_on(place, tmp_path):
    out = tmp_path/'c.parquet'
    _,err = kill_when(Command('astrovader-catalogue', place/'run', place/'survey', out, '--parts', rows, '--batch-size', 1), lambda: count(out), signal.SIGINT)
    assert err.count('\n') == 1 and 'resumes a table in parts' in err

def test_killed_generation_goes_on(place, tmp_path):
    args = 'astrovader-generate',place/'run',tmp_path/'g','--n',12000,'--batch-size',10
    kill_when(Command(*args), lambda: count(tmp_path/'g', '.packing/part-*') >= 1)
    with pytest.raises(BadSurvey, match='not finished'): Survey(tmp_path/'g')
    r = run(*args)
    assert r.returncode == 0 and 'shards exist already' in r.stdout, r.stderr
    s = Survey(tmp_path/'g').verify()
    assert len(s) == 12000 and s.ids()[-1] == 'synthetic-0011999' and not [o for o in s.path.iterdir() if o.name.startswith('.')]

def test_two_at_once_in_one_place(place, tmp_path):
    args = 'astrovader-catalogue',place/'run',place/'survey',tmp_path/'c.parquet','--parts',rows,'--batch-size',10
    both = [Command(*args) for _ in range(2)]
    for p in both:
        _,err = p.communicate(timeout=120)
        assert p.returncode == 0, err
    assert is_whole(place, tmp_path/'c.parquet')

@contextmanager
def full_disk(most):
    "A limit on the size of a file is as good as a full disk"
    soft,hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

@pytest.mark.parametrize('out', ['c.parquet', 'c.csv', 'c.fits', 'parts.parquet', 'g'])
def test_full_disk_is_one_sentence(place, tmp_path, out):
    def make():
        if out == 'g': return write_generated(place/'run', tmp_path/out, 1000)
        return write_catalogue(place/'run', place/'survey', tmp_path/out, part_rows=1000 if out == 'parts.parquet' else None)
    with full_disk(20000), pytest.raises(BadInput, match='cannot be written.*make room'): make()
    assert {o.name for o in tmp_path.rglob('*') if o.is_file()} <= {'plan.json', '_plan.json'}
    assert make() and (len(Survey(tmp_path/out)) == 1000 if out == 'g' else len(read_table(tmp_path/out)) == n)

def test_hats_by_the_command(place, tmp_path, capsys):
    import lsdb
    astrovader_catalogue(place/'run', place/'survey', tmp_path/'c.parquet', parts=300, hats=tmp_path/'sky')
    assert '2,000 objects sorted by sky position' in capsys.readouterr().out
    got = lsdb.open_catalog(tmp_path/'sky').compute().set_index('object_id')
    want = read_table(place/'whole.parquet').set_index('object_id')
    assert sorted(got.index) == sorted(want.index)
    pd.testing.assert_frame_equal(pd.DataFrame(got[list(want)]).loc[want.index], want, rtol=1e-4, atol=1e-5, check_dtype=False, check_index_type=False)
    pack_arrays(np.zeros((3, 16, 16), np.uint8), tmp_path/'nowhere')
    with pytest.raises(BadInput, match='no columns of numbers called ra and dec'):
        astrovader_catalogue(place/'run', tmp_path/'nowhere', tmp_path/'d.parquet', hats=tmp_path/'none')
    assert not (tmp_path/'d.parquet').exists()

def test_hats_of_two_processes(place, shared, tmp_path):
    "Two that share a catalogue are refused before they begin; of two commands at once, one says that the catalogue is complete, and both find the same HATS"
    import lsdb
    call,((command,said),_) = shared
    command += '--hats',tmp_path/'sky'
    r = in_two('astrovader-catalogue', *command[1:])
    assert r.returncode and 'sky cannot be written by several processes; leave --hats out' in r.stderr and 'Traceback' not in r.stderr
    assert [file.name for file in tmp_path.iterdir()] == ['meet.py']
    both = call(lambda *args: [Command(*args) for _ in range(2)], 'together', *command)
    printed = [p.communicate(timeout=120) for p in both]
    assert [p.returncode for p in both] == [0, 0], printed
    assert ''.join(out for out,_ in printed).count(f'{said}: ') == 1 and all(f'{said} sorted by sky position' in out for out,_ in printed)
    assert is_whole(place, tmp_path/'c.parquet') and len(lsdb.open_catalog(tmp_path/'sky').compute()) == n and not hidden(tmp_path)

grow = '''
import resource,sys
from astrovader.infer import catalogue as c,generate as g
c.row_ranges.__defaults__ = 5000,
g._table_rows = 5000
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
run,out = sys.argv[1:]
for n in 10_000,100_000:
    made = g.write_generated(run, f'{out}/{n}', n)
    for suffix in 'parquet','fits','csv': c.write_catalogue(run, made, f'{out}/{n}.{suffix}')
    print('MB', peak())
'''
def test_memory_does_not_grow_with_the_rows(tmp_path):
    "100,000 rows of 130 numbers are 52 MB as float32, and several times that on their way through pandas"
    VaDE(Architecture(4, encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,), n_latent=32, n_components=32)).save(tmp_path/'run/model')
    r = subprocess.run([sys.executable, '-c', grow, tmp_path/'run', tmp_path], capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stderr
    small,large = (float(o.split()[1]) for o in r.stdout.splitlines() if o.startswith('MB'))
    print(f'{small:.0f} MB with 10,000 rows, {large:.0f} MB with 100,000')
    assert large < small + 60
    assert len(read_table(tmp_path/'100000.fits')) == 100_000
