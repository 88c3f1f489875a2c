"The package's metadata, read from settings.ini: it stands there and nowhere else."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages,setup

here = Path(__file__).parent
cfg = ConfigParser(delimiters=['='], interpolation=None)
cfg.read(here/'settings.ini', encoding='utf-8')
o = cfg['DEFAULT']
def lines(key): return [l.strip() for l in o[key].splitlines() if l.strip()]

setup(name=o['lib_name'], version=o['version'], description=o['description'], author=o['author'], license_expression=o['license'],
    long_description=(here/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    keywords=o['keywords'].split(), classifiers=lines('classifiers'), python_requires='>='+o['min_python'],
    packages=find_packages(include=[o['lib_name']+'*']), install_requires=lines('requirements'), package_data={'astrovader.show': ['assets/*'], 'astrovader': ['models/**/*']},
    extras_require={k.removesuffix('_requirements'): lines(k) for k in o if k.endswith('_requirements')},
    entry_points=dict(console_scripts=lines('console_scripts'), nbdev=[f"{o['lib_name']} = {o['lib_name']}._modidx:d"]))
