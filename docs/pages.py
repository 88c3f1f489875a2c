"The site, from the notebooks: `python docs/pages.py` writes _docs, and _docs/index.html opens in any browser. Nothing is executed, and no network is needed."
import ast,gc,json,re,shutil,sys,tempfile
from pathlib import Path
from posixpath import dirname,join,normpath,relpath
from sphinx.cmd.build import main as sphinx
from astrovader.core import AstrovaderError,require,atomic_path

root = Path(__file__).parents[1]

# A notebook as it is shown

def directives(src): return {m[1]: m[2].strip() for m in re.finditer(r'^#\|\s*(\w+):?(.*)$', src, flags=re.M)}

def exports(nb):
    "The module that a notebook exports, or None"
    return next((d['default_exp'] for c in nb['cells'] if 'default_exp' in (d := directives(''.join(c['source'])))), None)

def heading(nb):
    "A notebook's title and subtitle"
    title,_,sub = ''.join(nb['cells'][0]['source']).partition('\n')
    return title.removeprefix('# ').strip(),sub.strip().removeprefix('> ')

def defined(src):
    "What exported code defines; a method that is patched in, as Class.method"
    for o in ast.parse(src).body:
        if not isinstance(o, (ast.FunctionDef, ast.ClassDef)) or o.name.startswith('_'): continue
        patched = any(ast.unparse(d).startswith('patch') for d in o.decorator_list)
        yield f'{ast.unparse(o.args.args[0].annotation)}.{o.name}' if patched else o.name

def markdown(src): return dict(cell_type='markdown', metadata={}, source=src)

def shown(nb):
    "The cells that a reader sees, without nbdev's directives; exported code is tagged, and what it defines can be linked to"
    module,seen = exports(nb),set()
    for c in nb['cells']:
        src = ''.join(c['source'])
        if c['cell_type'] == 'markdown': yield markdown(src)
        if c['cell_type'] != 'code' or (d := directives(src)).keys() & {'hide', 'default_exp'}: continue
        names = {f'code-astrovader.{module}.{o}'.lower() for o in defined(src)} if 'export' in d else set()
        yield from (markdown(f'({o})=') for o in sorted(names-seen))
        seen |= names
        yield {**c, 'metadata': dict(tags=['export']*('export' in d)), 'source': re.sub(r'^#\|.*\n?', '', src, flags=re.M)}

# nbs/ and the repository's root become one folder of pages

def place(path): return normpath(path).removeprefix('nbs/')

def relink(md, page):
    "Links and pictures of `page`, a path in the repository, as the site has them; and the files that they name"
    files = []
    def _f(m):
        if re.match(r'[a-z]+:|#|/', m[2]): return m[0]
        file,mark,part = m[2].partition('#')
        files.append(normpath(join(dirname(page), file)))
        return m[1]+relpath(place(files[-1]), dirname(place(page)) or '.')+mark+part+m[3]
    return re.sub(r'(<img [^>]*src=")([^"]+)(")', _f, re.sub(r'(\]\()([^)\s]+)(\))', _f, md)),files

def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')

def stage(page, out, cells):
    "Write `cells` of `page` into its place under `out`, and copy what they link to that is no page"
    for i,c in enumerate(cells):
        c['id'] = f'cell-{i}'
        if c['cell_type'] != 'markdown': continue
        c['source'],files = relink(c['source'], page)
        for o in files:
            if Path(o).suffix in ('.ipynb', '.md') or not (root/o).is_file(): continue
            (out/place(o)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root/o, out/place(o))
    nb = dict(cells=cells, metadata=dict(kernelspec=dict(display_name='python3', language='python', name='python3')), nbformat=4, nbformat_minor=5)
    write(out/place(page), json.dumps(nb) if page.endswith('.ipynb') else cells[0]['source'])

# The order of reading

def tree(caption, pages): return '\n'.join(['```{toctree}', ':hidden:', f':caption: {caption}', '', *pages, '```'])

def notebooks(pattern):
    "Those notebooks, by their paths, in order"
    found = sorted(p.relative_to(root).as_posix() for p in root.glob('nbs/'+pattern) if p.name[0] not in '._')
    return {o: json.loads((root/o).read_text(encoding='utf-8')) for o in found}

def reference(modules, out):
    "A page for every module, for which Sphinx asks the package, and one with the names of them all"
    listed = []
    for page,nb in modules.items():
        module,(title,sub) = exports(nb),heading(nb)
        told = f'{sub} [{title}](../{place(page)}) has the code, why it is as it is, and examples.'
        write(out/f'reference/{module}.md', f'# {module}\n\n{told}\n\n```{{eval-rst}}\n.. automodule:: astrovader.{module}\n```\n')
        names = [o for c in nb['cells'] if 'export' in directives(src := ''.join(c['source'])) for o in defined(src)]
        links = ', '.join(f'{{py:obj}}`~astrovader.{module}.{o}`' for o in dict.fromkeys(names) if '.' not in o)
        listed.append(f'[{module}]({module}.md)\n: {sub}\\\n  {links}')
    pages = [*map(exports, modules.values()), 'Index of names </genindex>', 'Index of modules </modindex>']
    head = '# Reference\n\nWhat every module offers, in the order in which data passes through them.'
    write(out/'reference/index.md', '\n\n'.join([head, *listed, tree('Modules', pages)]))

packages = 'data', 'model', 'train', 'infer', 'analysis', 'show', 'share'

def source(out):
    "Everything that Sphinx reads"
    first,tutorials,paper,ends = map(notebooks, ('index.ipynb', 'tutorials/*.ipynb', 'paper/*.ipynb', '[0-9]*.ipynb'))
    inside = {package: notebooks(f'{package}/[0-9]*.ipynb') for package in packages}
    modules = {page: nb for group in (ends, *inside.values()) for page,nb in group.items()}
    modules = dict(sorted(modules.items(), key=lambda item: Path(item[0]).name))
    trees = [tree(caption, map(place, pages)) for caption,pages in (('Tutorials', tutorials), ('The paper', paper)) if pages]
    beside = ['CONTRIBUTING.md', 'CHANGELOG.md', 'benchmarks/README.md']
    overviews = [f'nbs/{package}/README.md' for package,pages in inside.items() if pages]
    if modules: trees.append(tree('Modules', [*map(place, ends), *(f'{o.split("/")[1]} <{place(o)[:-3]}>' for o in overviews)]))
    trees += [tree('Reference', ['reference/index']), tree('The project', ['Benchmarks <benchmarks/README>', *beside[:2]])]
    for page,nb in (first|tutorials|paper|modules).items(): stage(page, out, [*shown(nb), *map(markdown, trees if page in first else [])])
    for page in beside: stage(page, out, [markdown((root/page).read_text(encoding='utf-8'))])
    for page in overviews:
        listed = tree('', [Path(o).name for o in inside[page.split('/')[1]]]).replace(':hidden:\n:caption: \n', ':maxdepth: 1\n')
        stage(page, out, [markdown((root/page).read_text(encoding='utf-8') + '\n' + listed + '\n')])
    reference({k: v for k,v in modules.items() if exports(v)}, out)

def build(out):
    "Write the site to the folder `out`, whole or not at all; a warning is an error"
    require(not out.exists() or (out/'objects.inv').exists(), f'{out} is there and is no site; name another folder, or remove it.')
    with tempfile.TemporaryDirectory() as tmp, atomic_path(out, folder=True) as new:
        source(src := Path(tmp)/'src')
        cmd = ['-q', '-W', '--keep-going', '-b', 'html', '-c', root/'docs', '-d', Path(tmp)/'doctrees', src, new]
        require(not sphinx([*map(str, cmd)]), 'The site is not written; mend what Sphinx names above, in the notebooks or in docs/.')
    return relpath(out/'index.html')

if __name__ == '__main__':
    print('Building the site, which takes up to a minute', flush=True)
    gc.disable() # what Sphinx makes lives until its end, and a fifth of the time went into looking through it
    try: print('Open', build(Path(sys.argv[1]) if len(sys.argv) > 1 else root/'_docs'))
    except AstrovaderError as e: sys.exit(str(e))
