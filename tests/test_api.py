"What users import: names from the top, loaded when they are first used, and the flat module names of version 0.1."
import subprocess,sys
import astrovader
from side_by_side import run

top = 'Survey', 'pack', 'vade_learner', 'VaDE', 'open_model', 'catalogue', 'generate', 'report', 'explore'

def fresh(code):
    "Run some lines in a process of their own"
    r = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stderr
    return r.stdout.strip()

def with_libraries(folder, code):
    "Run some lines in a process of their own that has imported the libraries, but nothing of this package"
    (folder/'lines.py').write_text(f'import sys,warnings\nwarnings.simplefilter("ignore")\nassert not [o for o in sys.modules if o.startswith("astrovader")]\n{code}\nprint("done")')
    r = run(folder/'lines.py')
    assert r.returncode == 0 and r.stdout.endswith('done\n'), r.stderr

def test_importing_astrovader_loads_none_of_its_libraries():
    heavy = 'torch', 'fastai', 'numpy', 'pandas', 'matplotlib', 'sklearn', 'astropy'
    assert fresh(f'import astrovader,sys; print([name for name in {heavy} if name in sys.modules])') == '[]'

def test_names_from_the_top_are_those_of_their_modules(tmp_path):
    "In a process of its own: a flat name of version 0.1, once imported, takes the place of a function of the same name"
    with_libraries(tmp_path, """import astrovader
from importlib import import_module
for name in astrovader.__all__:
    assert getattr(astrovader, name) is getattr(import_module(f'astrovader.{astrovader._module_of[name]}'), name), name
    assert name in dir(astrovader), name""")

def test_the_contract_is_at_the_top(): assert set(top) <= set(astrovader.__all__)

moved = dict(VaDE='vade model.vade', vade_learner='learner train.learner', Survey='survey data.survey', open_model='catalogue model.inference',
    pack='survey data.pack', catalogue='catalogue infer.catalogue', generate='generate infer.generate', report='report show.report', sky='synth data.synth',
    galaxies='synth data.truth', votes='synth data.truth', kinds='synth data.truth')

def test_flat_names_of_the_first_version_work(tmp_path):
    lines = ['from importlib import import_module as m', 'import astrovader']
    for name,(old,new) in {k: v.split() for k,v in moved.items()}.items():
        lines += [f'import astrovader.{old}', f'from astrovader.{old} import {name} as found', f'assert found is m("astrovader.{new}").{name} is astrovader.{old}.{name}, "{name}"']
    with_libraries(tmp_path, '\n'.join(lines))

def test_a_function_and_the_flat_name_of_its_module_get_along(tmp_path):
    orders = [['from astrovader import catalogue', 'from astrovader.catalogue import open_model'], ['from astrovader.catalogue import open_model',
        'from astrovader import catalogue'], ['import astrovader.catalogue', 'from astrovader import catalogue']]
    code = 'import sys\n'
    for order in orders:
        call = 'try: catalogue("nowhere", "nowhere")\nexcept Exception as e: assert type(e).__name__ == "BadSurvey", e\nelse: assert 0'
        forget = 'for name in [o for o in sys.modules if o.startswith("astrovader")]: del sys.modules[name]'
        code += '\n'.join([*order, call, forget, 'del catalogue', ''])
    with_libraries(tmp_path, code)

def test_what_is_not_there_is_an_ordinary_error():
    assert fresh('import astrovader\ntry: astrovader.nothing\nexcept AttributeError as e: print(e)') == "module 'astrovader' has no attribute 'nothing'"
    assert fresh('try: import astrovader.nothing\nexcept ModuleNotFoundError as e: print(e)') == "No module named 'astrovader.nothing'"
