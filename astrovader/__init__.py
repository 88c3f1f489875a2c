"""Unsupervised galaxy morphology, and synthetic galaxies, with a variational autoencoder whose prior is a Gaussian mixture.

Names below load their module when they are first used, so `import astrovader` is immediate."""
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

__version__ = "0.1.0"

_module_of = dict(Survey='data.survey', fetch='data.fetch', pack='data.pack', pack_arrays='data.pack', sky='data.synth', VaDE='model.vade',
    vade_learner='train.learner', open_model='model.inference', catalogue='infer.catalogue', generate='infer.generate', report='show.report',
    explore='show.explorer')
__all__ = list(_module_of)

def __getattr__(name):
    if name not in _module_of: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_module_of[name]}'), name)

def __dir__(): return sorted({*globals(), *__all__})

# Modules of version 0.1, and those that took some of their names
_divided = dict(survey=['data.pack'], catalogue=['model.inference', 'infer.cluster'], learner=['train.checkpoint', 'model.inference'], synth=['data.truth'])

class _FlatName(ModuleType):
    "The name that a module had in version 0.1, such as `astrovader.vade` for `astrovader.model.vade`; called, it is the function of its own name."
    def __getattr__(self, name):
        if '_module' not in vars(self): raise AttributeError(name)
        if not hasattr(self._module, name):
            for place in _divided.get(self.__name__.rpartition('.')[2], []):
                if hasattr(module := import_module(f'{__name__}.{place}'), name): return getattr(module, name)
        return getattr(self._module, name)

    def __dir__(self): return dir(self._module)
    def __call__(self, *args, **kwargs): return getattr(self._module, self.__name__.rpartition('.')[2])(*args, **kwargs)

class _FlatNames:
    "Finds `astrovader.NAME` in the subpackage that holds a module NAME."
    @staticmethod
    def find_spec(fullname, path=None, target=None):
        package,_,name = fullname.rpartition('.')
        found = next(Path(__file__).parent.glob(f'*/{name}.py'), None) if package == __name__ else None
        return found and ModuleSpec(fullname, _FlatNames, origin=f'{package}.{found.parent.name}.{name}')

    @staticmethod
    def create_module(spec): return _FlatName(spec.name, f'The former name of `{spec.origin}`.')
    @staticmethod
    def exec_module(module): module._module = import_module(module.__spec__.origin)

sys.meta_path.append(_FlatNames)
