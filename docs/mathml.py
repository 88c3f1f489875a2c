"A Sphinx extension: mathematics as MathML, which browsers draw themselves, without scripts, fonts or a network."
from html import escape
from docutils import nodes
from math_core import LatexError,LatexToMathML
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

to_mathml = LatexToMathML(fancy_error=False).convert_with_local_state

def latex(node):
    "The LaTeX of a node; an equation with a \\tag needs an environment that numbers it"
    tex = node.astext().strip()
    return rf'\begin{{equation}}{tex}\end{{equation}}' if r'\tag' in tex and r'\begin' not in tex else tex

def mathml(node, block):
    "The MathML of a node, or its LaTeX and a warning that says what is wrong with it"
    try: return to_mathml(latex(node), displaystyle=block)
    except LatexError as e:
        logging.getLogger(__name__).warning('%r is not drawn: %s', node.astext(), e, location=node, type='mathml')
        return f'<code>{escape(node.astext())}</code>'

def inline(self, node):
    self.body.append(mathml(node, False))
    raise nodes.SkipNode

def display(self, node):
    self.body.append(self.starttag(node, 'div', '', CLASS='math'))
    self.body.append(mathml(node, True))
    if node['number']:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, 'Link to this equation')
        self.body.append('</span>')
    self.body.append('</div>\n')
    raise nodes.SkipNode

def setup(app):
    app.add_html_math_renderer('mathml', (inline, None), (display, None))
    return dict(parallel_read_safe=True, parallel_write_safe=True)
