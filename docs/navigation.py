"A Sphinx extension: the tree of all pages that stands beside each of them is made once; links and marks in it become each page's own."
import re
from functools import cache
from furo.navigation import get_navigation_tree
from sphinx.util.osutil import relative_uri

@cache
def whole(builder):
    "The tree as the front page has it, which is not in it itself"
    return get_navigation_tree(builder._get_local_toctree('index', collapse=False, titles_only=True, maxdepth=-1, includehidden=True))

entry = re.compile(r'<li class="toctree-l(\d+)( has-children)?"><a class="(reference internal" href=")([^"]*)(">.*?</a>)(<input aria-label="[^"]*")?', re.S)

def way(tree, page):
    "The entries that lead to a page, with its own"
    found = []
    for level,_,_,link,*_ in entry.findall(tree):
        found[int(level)-1:] = [link]
        if link == page: return found
    return []

def tree_of(builder, page):
    "The tree beside a page, whose way is marked and open"
    tree,here = whole(builder),builder.get_target_uri(page)
    current = way(tree, here)
    def _f(m):
        level,children,kind,link,title,box = (o or '' for o in m.groups())
        on,last = link in current,link == here
        return (f'<li class="toctree-l{level}{" current"*on}{children}{" current-page"*last}"><a class="{"current "*last}{kind}{relative_uri(here, link) or "#"}{title}'
            + box + ' checked=""'*bool(on and box))
    return entry.sub(_f, tree)

def leave_out(app, page, template, context, doctree):
    "The theme makes no tree"
    context.pop('toctree', None)

def put_in(app, page, template, context, doctree): context['furo_navigation_tree'] = tree_of(app.builder, page)

def setup(app):
    app.connect('html-page-context', leave_out, priority=400) # the theme does its work at 500
    app.connect('html-page-context', put_in, priority=600)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
