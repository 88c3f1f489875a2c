"Sphinx's settings for the site, which docs/pages.py builds: offline, nothing executed, mathematics as MathML."
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from sphinx.search.en import SearchEnglish

here = Path(__file__).parent
sys.path.insert(0, str(here))
ini = ConfigParser(delimiters=['='], interpolation=None)
ini.read(here.parent/'settings.ini', encoding='utf-8')

project,release = ini['DEFAULT']['lib_name'],ini['DEFAULT']['version']
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'mathml', 'names', 'navigation']
root_doc = 'index'
smartquotes_action = 'D' # Dashes alone, which Sphinx writes as two hyphens in lists of parameters

# Committed outputs are shown as they are; no scripts for widgets, which would come from elsewhere
nb_execution_mode = 'off'
nb_ipywidgets_js = {}
nb_merge_streams = True
myst_enable_extensions = ['dollarmath', 'amsmath', 'deflist', 'html_image']
myst_dmath_double_inline = True # equations within a paragraph or a list, as Jupyter has them
myst_heading_anchors = 4

# The reference: names.py adds the comments beside the parameters
autodoc_default_options = {'members': True, 'undoc-members': True}
autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
maximum_signature_line_length = 100
autodoc_inherit_docstrings = False
add_module_names = False
toc_object_entries_show_parents = 'hide'

highlight_language = 'text'
html_theme = 'furo'
pygments_dark_style = 'monokai'
html_title = f'{project} {release}'
html_static_path = [str(here/'site.css')]
html_css_files = ['site.css']
html_math_renderer = 'mathml'
html_show_copyright = html_show_sphinx = html_copy_source = False

# The index of words: each word is reduced to its stem once, not on every page
SearchEnglish.stem = cache(SearchEnglish.stem)
