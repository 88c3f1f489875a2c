"Wheel and sdist: built, the same, complete in what they declare, and installed where nothing of this checkout is seen."
import ast,os,re,shutil,subprocess,sys,sysconfig,tarfile,venv,zipfile
from configparser import ConfigParser
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path
import pytest
from packaging.requirements import Requirement

root = Path(__file__).parents[1]
ini = ConfigParser(delimiters=['='], interpolation=None)
ini.read(root/'settings.ini', encoding='utf-8')
scripts = [l.split('=')[0].strip() for l in ini['DEFAULT']['console_scripts'].splitlines() if l.strip()]

def run(*args, cwd):
    env = {k: v for k,v in os.environ.items() if not k.startswith('PYTHON')}
    return subprocess.run(list(map(str, args)), cwd=cwd, env=env, capture_output=True, text=True, timeout=300)

def build(kind, src, out):
    r = run(sys.executable, '-m', 'build', '--no-isolation', f'--{kind}', '--outdir', out, src, cwd=out.parent)
    assert r.returncode == 0, r.stdout[-3000:]+r.stderr[-3000:]
    return next(out.iterdir())

@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    "A copy of what is in this checkout and not ignored, so that building leaves nothing behind here"
    copy = tmp_path_factory.mktemp('build')/'src'
    skip = shutil.ignore_patterns('.git', '.venv', '__pycache__', '*.egg-info', 'build', 'dist', 'demo', 'example', '_docs', '_proc', '.pytest_cache',
        '.ipynb_checkpoints')
    shutil.copytree(root, copy, ignore=skip)
    return copy

@pytest.fixture(scope='module')
def wheel(checkout): return build('wheel', checkout, checkout.parent/'wheel')

@pytest.fixture(scope='module')
def sdist(checkout): return build('sdist', checkout, checkout.parent/'sdist')

@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    "An empty environment with the wheel in it, which borrows the libraries of the running one but not this checkout"
    env = tmp_path_factory.mktemp('env')
    venv.create(env, with_pip=False)
    r = run(sys.executable, '-m', 'pip', '--python', env/'bin/python', 'install', '-q', '--no-index', '--no-deps', wheel, cwd=env)
    assert r.returncode == 0, r.stderr
    site = Path(run(env/'bin/python', '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))', cwd=env).stdout.strip())
    (site/'borrowed.pth').write_text(sysconfig.get_path('purelib')+'\n')
    return env

def contents(wheel):
    with zipfile.ZipFile(wheel) as z: return {n: z.read(n) for n in z.namelist() if not n.endswith('RECORD')}

def test_wheel_holds_every_module_and_the_licence(wheel):
    held = contents(wheel)
    assert {n for n in held if n.endswith('.py')} == {p.relative_to(root).as_posix() for p in root.glob('astrovader/**/*.py')}
    assert {n for n in held if '/assets/' in n} == {p.relative_to(root).as_posix() for p in root.glob('astrovader/show/assets/*')}
    assert any(n.endswith('LICENSE') for n in held)

def test_wheel_holds_models_of_three_megabytes_at_most(wheel):
    held = {n: o for n,o in contents(wheel).items() if n.startswith('astrovader/models/')}
    assert held.keys() == {p.relative_to(root).as_posix() for p in root.glob('astrovader/models/**/*') if p.is_file()}
    weights = [len(o) for n,o in held.items() if n.endswith('.safetensors')]
    assert weights and sum(weights) <= 3_000_000 and {'astrovader/models/sdss/README.md', 'astrovader/models/sdss/model/model.json'} <= held.keys()
    assert not [n for n,o in held.items() if b'/tmp/' in o or b'/home/' in o] and {Path(n).suffix for n in held} <= {'.safetensors', '.json', '.md', '.csv'}

def test_sdist_makes_the_same_wheel(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as t: t.extractall(tmp_path, filter='data')
    again = contents(build('wheel', next(tmp_path.iterdir()), tmp_path/'wheel'))
    assert again == contents(wheel)

def test_sdist_holds_what_its_own_tests_need(sdist):
    with tarfile.open(sdist) as t: held = {n.split('/', 1)[-1] for n in t.getnames()}
    kept = ['settings.ini', 'constraints.txt', 'Makefile', 'LICENSE', 'CHANGELOG.md', 'CITATION.cff', 'CONTRIBUTING.md', 'benchmarks/README.md']
    kept += [p.relative_to(root).as_posix() for d in ('nbs', 'tests', 'docs') for p in root.glob(d+'/**/*') if p.suffix in ('.ipynb', '.py', '.png', '.css')]
    assert not [o for o in kept if o not in held and not re.search(r'/(\.ipynb_checkpoints|example)/', o)]

def metadata(wheel): return Parser().parsestr(next(v for k,v in contents(wheel).items() if k.endswith('METADATA')).decode())

def test_metadata_is_that_of_settings_ini(wheel):
    got,want = metadata(wheel),ini['DEFAULT']
    assert (got['Name'], got['Version'], got['Summary']) == (want['lib_name'], want['version'], want['description'])
    assert (got['License-Expression'], got['Requires-Python']) == (want['license'], '>='+want['min_python'])
    assert got.get_payload().strip() == (root/'README.md').read_text(encoding='utf-8').strip()
    extras = {k.removesuffix('_requirements') for k in want if k.endswith('_requirements')}
    assert set(got.get_all('Provides-Extra')) == extras
    entry = next(v for k,v in contents(wheel).items() if k.endswith('entry_points.txt')).decode()
    assert '[nbdev]\nastrovader = astrovader._modidx:d' in entry and all(f'{s} = ' in entry for s in scripts)

# Needed by a library that we call, or to read what we write, and never imported by name
by_way_of = dict(pyarrow=r'to_parquet|read_parquet', lsdb=r'import hats')

def imported():
    "The distributions that the exported modules import, anywhere in them"
    names = set()
    for p in root.glob('astrovader/**/*.py'):
        for o in ast.walk(ast.parse(p.read_text(encoding='utf-8'))):
            if isinstance(o, ast.Import): names |= {a.name.split('.')[0] for a in o.names}
            if isinstance(o, ast.ImportFrom) and not o.level: names.add(o.module.split('.')[0])
    names -= {'astrovader', *sys.stdlib_module_names}
    found = packages_distributions()
    return {canonical(found.get(n, [n])[0]) for n in names}

def canonical(name): return re.sub(r'[-_.]+', '-', name).lower()

def declared(wheel):
    "The requirements of the wheel itself, and those of its extras that the package has a use for"
    reqs = [Requirement(o) for o in metadata(wheel).get_all('Requires-Dist')]
    extra = {canonical(r.name) for r in reqs if r.marker and not re.search('"(dev|docs|bench)"', str(r.marker))}
    return {canonical(r.name) for r in reqs if not r.marker}, extra

def test_what_is_imported_is_declared(wheel):
    core,extra = declared(wheel)
    assert sorted(imported()-core-extra) == [], 'declare these in settings.ini, and pin them in constraints.txt'

def test_what_is_declared_is_imported(wheel):
    core,extra = declared(wheel)
    source = '\n'.join(p.read_text(encoding='utf-8') for p in root.glob('astrovader/**/*.py'))
    used = imported() | {k for k,v in by_way_of.items() if re.search(v, source)}
    assert sorted((core | extra)-used) == [], 'no module needs these: take them out of settings.ini'

def test_package_is_the_installed_one(installed, tmp_path):
    r = run(installed/'bin/python', '-c', 'import astrovader.core as c; print(c.__file__, c.provenance()["versions"]["astrovader"])', cwd=tmp_path)
    assert r.returncode == 0, r.stderr
    file,version = r.stdout.split()
    assert Path(file).is_relative_to(installed) and version == ini['DEFAULT']['version']

@pytest.mark.parametrize('script', scripts)
def test_command_runs_from_an_empty_folder(installed, tmp_path, script):
    r = run(installed/'bin'/script, '--help', cwd=tmp_path)
    assert r.returncode == 0 and r.stdout.startswith(f'usage: {script} ') and 'positional arguments' in r.stdout, r.stdout+r.stderr
    assert not list(tmp_path.iterdir())
