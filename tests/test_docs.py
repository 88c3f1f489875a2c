"The site: built as `make docs` builds it, complete, with nothing hidden in sight and nothing fetched from elsewhere."
import importlib.util,json,re,shutil,subprocess,sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote
import pytest

root = Path(__file__).parents[1]

def loaded(name):
    spec = importlib.util.spec_from_file_location(name, root/f'docs/{name}.py')
    spec.loader.exec_module(m := importlib.util.module_from_spec(spec))
    return m

def build(out, project=root):
    "`make docs` without make: its exit status, and what it said"
    r = subprocess.run([sys.executable, project/'docs/pages.py', out], cwd=project, capture_output=True, text=True, timeout=300)
    return r.returncode, r.stdout+r.stderr

class Page(HTMLParser):
    "What a page holds: ids, links, what a browser loads by itself, its text, and its text but code"
    def __init__(self, path):
        super().__init__()
        self.ids,self.links,self.loads,self.words,self.in_code = set(),[],[],[],0
        self.feed(path.read_text(encoding='utf-8'))
        self.text,self.prose = ''.join(o for o,_ in self.words),''.join(o for o,code in self.words if not code)
    def handle_starttag(self, tag, attrs):
        o = dict(attrs)
        self.ids.add(o.get('id'))
        self.in_code += tag in ('pre', 'code')
        if tag == 'a': self.links.append(o.get('href', ''))
        elif tag != 'math': self.loads += [v for k,v in attrs if k in ('src', 'href', 'data', 'srcset', 'poster', 'action') and v]
    def handle_endtag(self, tag): self.in_code -= tag in ('pre', 'code')
    def handle_data(self, data): self.words.append((data, self.in_code))

def notebooks():
    "The place of every notebook's page, and its cells"
    for p in sorted(root.glob('nbs/**/*.ipynb')):
        if p.name[0] in '._' or '.ipynb_checkpoints' in p.parts: continue
        yield p.relative_to(root/'nbs').with_suffix('.html').as_posix(), json.loads(p.read_text(encoding='utf-8'))['cells']

def elsewhere(link): return re.match(r'[a-z]+:|//', link) and not link.startswith('data:')

# The checks of a site, each of which gives what is wrong

def broken(pages):
    "Links of pages to pages or places in them that are not there"
    for path,page in pages.items():
        for link in page.links:
            file,_,part = unquote(link).partition('#')
            there = (path.parent/file).resolve() if file else path
            if elsewhere(link): continue
            if not there.exists() or part and there in pages and part not in pages[there].ids: yield f'{path.name}: {link}'

def fetched(site, pages):
    "What a browser would fetch from elsewhere to show the site"
    yield from (f'{p.name}: {o}' for p,page in pages.items() for o in page.loads if elsewhere(o))
    for p in site.rglob('*.css'): yield from re.findall(r'url\(\s*["\']?(?:https?:)?//[^)]*|@import[^;]*', p.read_text(encoding='utf-8'))

def unlike(path, page, cells):
    "Cells that are in sight and should not be, and the reverse"
    for c in cells:
        src = ''.join(c['source'])
        if c['cell_type'] != 'code': continue
        hidden,code = re.search(r'^#\|\s*(hide|default_exp)\b', src, flags=re.M),re.sub(r'^#\|.*\n?', '', src, flags=re.M).strip('\n')
        if code and len(code) > 40 and (code in page.text) == bool(hidden): yield f'{path}: {code[:60]}'

def navigation(path):
    "The links of the navigation beside a page, to files; those of them that are the current page; and the branches that are open"
    tree = re.search(r'<div class="sidebar-tree">.*?</div>', path.read_text(encoding='utf-8'), flags=re.S)[0]
    def files(pattern): return [(path.parent/o).resolve() if o != '#' else path.resolve() for o in re.findall(pattern+r'href="([^"]+)"', tree)]
    opened = re.findall(r'<li class="[^"]*current[^"]*"><a [^>]*>[^<]*</a><input aria-label="([^"]*)" checked=""', tree)
    return SimpleNamespace(links=files('<a [^>]*'), current=files('current-page"><a class="current [^>]*'), open=opened)

def figures(cells):
    return sum('image/png' in o.get('data', {}) for c in cells if not ''.join(c['source']).startswith('#| hide') for o in c.get('outputs', []))

def test_site(tmp_path):
    site = tmp_path/'site'
    code,said = build(site)
    if code: pytest.fail(said[-6000:], pytrace=False)
    assert said.splitlines()[-1].startswith('Open ') and said.endswith('site/index.html\n') and [p.name for p in tmp_path.iterdir()] == ['site']
    pages = {p.resolve(): Page(p) for p in site.rglob('*.html')}
    def page(path): return pages[(site/path).resolve()]
    assert list(broken(pages)) == [] and list(fetched(site, pages)) == []
    nbs = dict(notebooks())
    assert sorted(nbs.keys()-set(page('index.html').links)) == ['index.html'], 'every notebook is in the navigation'
    trees = {path: navigation(site/path) for path in nbs}
    assert all(tree.links == trees['index.html'].links for tree in trees.values()), 'every page has the whole navigation'
    assert {path: tree.current for path,tree in trees.items()} == {path: [(site/path).resolve()]*(path != 'index.html') for path in nbs}
    assert trees['model/32_vade.html'].open == ['Toggle navigation of model'] and trees['paper/02_clusters.html'].open == []
    assert [o for path,cells in nbs.items() for o in unlike(path, page(path), cells)] == []
    assert not [path for path in nbs if '#|' in page(path).text or 'nbdev_export()' in page(path).text]
    assert {k: figures(v) for k,v in nbs.items()} == {k: len([o for o in page(k).loads if re.search(r'_images/[0-9a-f]{64}\.png', o)]) for k in nbs}
    assert '<math display="block"><mtable' in (site/'train/40_phases.html').read_text(encoding='utf-8')
    assert not [p.name for p,o in pages.items() if re.search(r'\$\$|\\(frac|mathcal|mathrm|sum|tilde)\b', o.prose)]
    assert {'astrovader.core.atomic_path', 'astrovader.core.BadImage'} <= page('reference/core.html').ids
    assert 'atomic_path(path, folder: bool = False)' in page('reference/core.html').text and 'The file or folder to write' in page('reference/core.html').text
    assert '00_core.html#code-astrovader-core-atomic-path' in ' '.join(page('reference/core.html').links)
    assert 'reference/core.html#astrovader.core.atomic_path' in page('00_core.html').links
    assert 'astrovader.model.vade' in page('py-modindex.html').text and 'bhattacharyya' in (site/'searchindex.js').read_text(encoding='utf-8')

def tiny(folder, index):
    "A project with the front page alone"
    shutil.copytree(root/'docs', folder/'docs', ignore=shutil.ignore_patterns('__pycache__'))
    for f in 'CONTRIBUTING.md', 'CHANGELOG.md', 'benchmarks/README.md': (folder/f).parent.mkdir(exist_ok=True)
    for f in 'CONTRIBUTING.md', 'CHANGELOG.md', 'benchmarks/README.md': (folder/f).write_text('# A page\n')
    shutil.copy(root/'settings.ini', folder)
    (folder/'nbs').mkdir()
    (folder/'nbs/index.ipynb').write_text(json.dumps(dict(cells=[dict(cell_type='markdown', metadata={}, source=index)])))
    return folder

def test_faults_are_named_and_nothing_is_written(tmp_path):
    project = tiny(tmp_path/'bad', '# A title\n\n[gone](gone.ipynb), $\\nosuch$ and ![](images/gone.png)')
    code,said = build(tmp_path/'site', project)
    assert code and 'gone.ipynb' in said and 'nosuch' in said and 'images/gone.png' in said and 'The site is not written' in said
    assert [p.name for p in tmp_path.iterdir()] == ['bad']

def test_site_takes_the_place_of_a_site_alone(tmp_path):
    project = tiny(tmp_path/'good', '# A title\n\n$$ a^2 \\tag{3} $$')
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine/thesis.tex').write_text('mine')
    code,said = build(tmp_path/'mine', project)
    assert code and 'is no site' in said and (tmp_path/'mine/thesis.tex').read_text() == 'mine'
    for _ in range(2): assert build(tmp_path/'site', project)[0] == 0
    assert '<mtext>(3)</mtext>' in (tmp_path/'site/index.html').read_text()

def test_checks_see_what_they_are_for(tmp_path):
    (tmp_path/'a.html').write_text('<script src="https://cdn/x.js"></script><img src="//b/c.png"><a href="gone.html">a</a><a href="#no">b</a>')
    (tmp_path/'a.css').write_text('@font-face{src:url(https://fonts/a.woff)}')
    page = Page(tmp_path/'a.html')
    assert len(list(fetched(tmp_path, {tmp_path/'a.html': page}))) == 3 and len(list(broken({tmp_path/'a.html': page}))) == 2
    page.text = src = 'print("a line that is long enough to look for")'
    def cell(head): return [dict(cell_type='code', source=head+src)]
    assert list(unlike('a', page, cell('#| hide\n'))) and not list(unlike('a', page, cell('#| export\n')))

@pytest.mark.parametrize('page, md, there', [('nbs/index.ipynb', '[a](../CONTRIBUTING.md#figures)', '[a](CONTRIBUTING.md#figures)'),
    ('CONTRIBUTING.md', '[a](nbs/00_core.ipynb)', '[a](00_core.ipynb)'), ('nbs/paper/a.ipynb', '[a](../../LICENSE)', '[a](../LICENSE)'),
    ('benchmarks/README.md', '[a](../nbs/model/33_losses.ipynb)', '[a](../model/33_losses.ipynb)'), ('nbs/a.ipynb', '[a](https://a.org/b.md)', '[a](https://a.org/b.md)')])
def test_links_lead_from_the_new_place(page, md, there): assert loaded('pages').relink(md, page)[0] == there

def test_comments_of_parameters_are_plain_text(): assert loaded('names').rst('2**8 of `x`') == r'2\*\*8 of \ ``x``\ '
