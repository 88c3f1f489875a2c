"A Sphinx extension: the reference gets the comments beside parameters, and a name in backticks leads to it from anywhere in the site."
import re
from functools import cache
from docutils import nodes
from fastcore.docments import docments
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

# The reference, whose docstrings and comments are one line of Markdown each

def rst(text):
    "A line of Markdown as reStructuredText: code and mathematics stay, and all else is text"
    def _f(part):
        if part[:1] == '`': return rf'\ `{part}`\ '
        if part[:1] == '$' and len(part) > 1: return rf'\ :math:`{part[1:-1]}`\ '
        return re.sub(r'([\\*|_`])', r'\\\1', part)
    return ''.join(map(_f, re.split(r'(`[^`]+`|\$[^$]+\$)', ' '.join(text.split()))))

def parameters(app, what, name, obj, options, lines):
    "Docstring, a link to the code in its notebook, and what every parameter is"
    label = f'code-{name}'.lower()
    code = f' :ref:`[code] <{label}>`' if label in app.env.code_labels else ''
    docs = docments(obj, args_kwargs=True) if what in ('function', 'class', 'method') else {}
    told = rst(' '.join(lines)) if what != 'module' else '' # the page says that already
    lines[:] = [(told+code).strip(), '', *(f':{"returns" if k == "return" else f"param {k}"}: {rst(v)}' for k,v in docs.items() if v), '']

def leave_out(app, what, name, obj, skip, options):
    "Of modules functions and classes, of classes what has a docstring"
    return skip or not ((callable(obj) or isinstance(obj, property)) and (obj.__doc__ or what == 'module'))

def find_labels(app):
    "The targets that docs/pages.py put before the code of the notebooks"
    found = (re.findall(r'"\((code-[\w.]+)\)="', p.read_text(encoding='utf-8')) for p in app.srcdir.rglob('*.ipynb'))
    app.env.code_labels = set(sum(found, []))

# Names in backticks

def spellings(name, kind):
    "What prose calls an object"
    parts = name.split('.')
    own = '.'.join(parts[-2:] if kind in ('method', 'property', 'attribute') else parts[-1:])
    command = [own.replace('_', '-')] if kind == 'function' and own.startswith('astrovader_') else []
    return {name, '.'.join(parts[1:]), own, *command} - {''}

@cache
def by_spelling(domain):
    "Every spelling that means one object, and that object's name"
    found = {}
    for name,o in domain.objects.items():
        for s in spellings(name, o.objtype) if o.objtype != 'module' else {name}: found.setdefault(s, set()).add(name)
    return {s: next(iter(names)) for s,names in found.items() if len(names) == 1}

class LinkNames(SphinxPostTransform):
    "Link what stands in backticks, alone or called, to the reference"
    default_priority = 400
    def run(self):
        domain = self.env.domains.python_domain
        names = by_spelling(domain)
        for node in list(self.document.findall(nodes.literal)):
            name = names.get(re.sub(r'\(.*\)$', '', node.astext()))
            if not name or isinstance(node.parent, (nodes.reference, nodes.title)): continue
            o = domain.objects[name]
            link = make_refnode(self.app.builder, self.env.docname, o.docname, o.node_id, node.deepcopy(), name)
            node.parent.replace(node, link)

def setup(app):
    app.connect('builder-inited', find_labels)
    app.connect('autodoc-process-docstring', parameters)
    app.connect('autodoc-skip-member', leave_out)
    app.add_post_transform(LinkNames)
    return dict(parallel_read_safe=False, parallel_write_safe=True)
