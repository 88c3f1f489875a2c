"A Sphinx extension: the navigation beside the pages is made once, and each page opens its branch of it. The theme makes it anew for every page, from all names of the reference, which takes half the time of the site."
import re
from functools import cache
from furo.navigation import get_navigation_tree
from sphinx.environment.adapters.toctree import global_toctree_for_doc
from sphinx.util.osutil import relative_uri

@cache
def closed(builder):
    "The navigation as the front page has it, with no branch open"
    asked = dict(collapse=False, titles_only=True, maxdepth=-1, includehidden=True) # as the theme asks
    tree = global_toctree_for_doc(builder.env, builder.config.root_doc, builder, tags=builder.tags, **asked)
    return get_navigation_tree(builder.render_partial(tree)['fragment'])

def opened(tree, link):
    "That navigation with the entry that leads to `link` as the current one, and the branches around it open"
    before,entry,after = tree.partition(f'<a class="reference internal" href="{link}">')
    if not entry: return tree
    after,page = entry.replace('"reference', '"current reference', 1) + after,' current-page'
    for level in range(int(re.findall(r'<li class="toctree-l(\d+)', before)[-1]), 0, -1):
        item = f'<li class="toctree-l{level}'
        before,classes,inside = re.fullmatch(f'(.*){item}([^"]*)(.*)', before, flags=re.S).groups()
        if 'children' in classes: inside,after = (inside+after).replace('class="toctree-checkbox"', 'checked="" class="toctree-checkbox"', 1),''
        items,ul,others = (before+item).rpartition(f'<ul>\n{item}')
        before,after,page = items,ul.replace('<ul>', '<ul class="current">')+others+f' current{classes}{page}'+inside+after,''
    return before+after

def navigation(app, page, template, context, doctree):
    here = app.builder.get_target_uri(page)
    def link(m): return f'href="{m[1] if ":" in m[1] or m[1][0] == "#" else relative_uri(here, m[1]) or "#"}"'
    context['furo_navigation_tree'] = re.sub('href="([^"]+)"', link, opened(closed(app.builder), here))

# The theme makes no navigation where it finds no `toctree`
def setup(app):
    app.connect('html-page-context', lambda app, page, template, context, doctree: context.pop('toctree', None) and None, priority=400)
    app.connect('html-page-context', navigation, priority=600)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
