"README.md from nbs/index.ipynb, without Quarto, and the docstring of each package from the README.md of its notebooks: `make readme`."
import json,posixpath,re,sys
from pathlib import Path

head = '<!-- Made from nbs/index.ipynb by docs/readme.py: change the notebook. -->\n'

def relink(md):
    "Links and pictures that the notebook names relative to nbs/, relative to the repository's root instead"
    def _f(m):
        if re.match(r'[a-z]+:|#|/', m[2]): return m[0]
        return m[1]+posixpath.normpath('nbs/'+m[2])+m[3]
    return re.sub(r'(<img [^>]*src=")([^"]+)(")', _f, re.sub(r'(\]\()([^)\s]+)(\))', _f, md))

def code(cell):
    "A code cell as fenced Python without nbdev's directives and without its output"
    src = ''.join(cell['source'])
    if re.search(r'^#\|\s*(hide|default_exp|export)', src, flags=re.M): return ''
    return f"```python\n{re.sub(r'^#[|].*?$', '', src, flags=re.M).strip()}\n```"

def readme(nb):
    "The text of README.md for the notebook `nb`; consecutive code cells are joined"
    parts = []
    for c in nb['cells']:
        p = relink(''.join(c['source']).strip()) if c['cell_type'] == 'markdown' else code(c)
        if parts and p.startswith('```python') and parts[-1].startswith('```python'):
            parts[-1] = parts[-1].removesuffix('```') + '\n' + p.removeprefix('```python\n')
        elif p: parts.append(p)
    return head+'\n'+'\n\n'.join(parts)+'\n'

def paragraph(md):
    "The text under the title of a package's README.md"
    return md.partition('\n\n')[2].strip()

if __name__ == '__main__':
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    nb = json.loads((root/'nbs/index.ipynb').read_text(encoding='utf-8'))
    (root/'README.md').write_text(readme(nb), encoding='utf-8')
    for file in root.glob('nbs/*/README.md'):
        (root/'astrovader'/file.parent.name/'__init__.py').write_text(f'"""{paragraph(file.read_text(encoding="utf-8"))}"""\n', encoding='utf-8')
