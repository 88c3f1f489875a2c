"The explorer in a real browser: what it shows against the catalogue, selections and labels as files, keys, a phone's width, hostile ids, and nothing fetched."
import base64,io,json,re
from pathlib import Path
import numpy as np,pandas as pd,pytest,torch
from PIL import Image
from matplotlib.colors import to_hex
from astrovader.analysis.latent import decoded,similar
from astrovader.analysis.maps import latent_map
from astrovader.cli import astrovader_explore,astrovader_name
from astrovader.core import BadInput
from astrovader.data.classes import read_labels
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer.catalogue import catalogue
from astrovader.infer.names import Names,names_file
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.show.colours import palette
from astrovader.show.explorer import explore
from astrovader.show.image_plots import display_stretch
from astrovader.show.sprites import thumbnails
from astrovader.tables import numbered,read_table

hostile = '</script><b id="evil">x</b>', 'a,"b"', '=1+1', 'Ärger 😀', "'; alert(1)//"
n = 160

class Place: "A survey, its catalogue, and a page"

def teach(model, x):
    "Some steps of an autoencoder, so that reconstructions differ"
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for i in range(40):
        some = x[i % 5::5]
        (model.decode(model.encode(some)[0]) - some).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    model.requires_grad_(False).eval()

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    place = Place()
    place.folder = tmp_path_factory.mktemp('explorer')
    r = np.random.default_rng(0)
    ids = np.array([*hostile, *(f'gal-{i:03d}' for i in range(len(hostile), n))])
    table = pd.DataFrame(dict(object_id=ids, ra=r.uniform(0, 360, n), dec=r.uniform(-90, 90, n), smooth_fraction=r.uniform(0, 1, n).round(3),
        kind=r.choice(['disc', '<i>odd</i>', ''], n), dr7=r.integers(2**60, 2**61, n)))
    place.survey = pack_arrays(sky(n, 32, 1)[0], place.folder/'survey', table)
    torch.manual_seed(0)
    widths = dict(encoder_filters=(8,), encoder_kernels=(3,), decoder_filters=(8,), decoder_kernels=(3,))
    place.model = VaDE(Architecture(32, n_latent=4, n_components=10, **widths), place.survey.packing)
    teach(place.model, torch.tensor(place.survey.images(slice(None)))/255)
    cat = catalogue(place.model, place.survey)
    z = numbered(cat, 'z')
    centres = torch.tensor(z[r.permutation(n)[:10]])
    place.model.mixture.set_(torch.full((10,), .1), centres, torch.full((10, 4), float(z.var(0).mean())/4))
    place.table, place.cat = table, catalogue(place.model, place.survey)
    place.explorer = explore(place.cat, place.survey, place.model, latent_map(place.cat, 'pca'))
    place.file = place.explorer.save(place.folder/'explore.html')
    return place

@pytest.fixture
def opened(browser, place):
    "Open a page; at the end nothing may stand in its console, and nothing may have been fetched"
    said,contexts = [],[]
    def f(file=place.file, width=1200, height=800, touch=False, context=None):
        context = context or browser.new_context(viewport=dict(width=width, height=height), has_touch=touch, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.on('console', lambda m: said.append(m.text) if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: said.append(str(e)))
        page.on('request', lambda r: said.append(f'fetched {r.url[:80]}') if not r.url.startswith(('file:', 'data:', 'blob:')) else None)
        page.goto(Path(file).as_uri())
        page.wait_for_function('document.documentElement.dataset.ready', timeout=60_000)
        return page
    yield f
    for context in set(contexts): context.close()
    assert said == []

# Where things are on the screen

_pixel = '''row => { const view = Object.values(Bokeh.index.roots ?? Bokeh.index)[0], box = document.getElementById("figure").getBoundingClientRect()
    return [box.left + view.frame.x_scale.compute(explorer.store.x[row]), box.top + view.frame.y_scale.compute(explorer.store.y[row])] }'''
def pixel(page, row): return page.evaluate(_pixel, row)
def alone(page):
    "A galaxy with no other nearby on the screen"
    at = np.array([pixel(page, row) for row in range(n)])
    distance = np.hypot(*(at[:,None]-at).transpose(2, 0, 1)) + 1e9*np.eye(n)
    return int(distance.min(1).argmax())

def pixels(page, selector, index=0):
    "What a canvas shows, in grey"
    url = page.evaluate('([s, i]) => document.querySelectorAll(s)[i].toDataURL()', [selector, index])
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(',')[1]))).convert('L')).astype(float)

def is_alike(shown, images, row, of=None):
    "Is what a canvas shows the image `row`, more than any other?"
    thumbs = thumbnails(images, len(shown), display_stretch(images if of is None else of))[...,0].astype(float)
    return int(abs(thumbs - shown).mean((1, 2)).argmin()) == row

def downloaded(page, act, folder):
    with page.expect_download() as download: act()
    file = folder/download.value.suggested_filename
    download.value.save_as(file)
    return file

# Tests

def test_hover_shows_and_click_pins(opened, place):
    page = opened()
    row = alone(page)
    page.mouse.move(*pixel(page, row), steps=3)
    page.wait_for_selector('#tip:not([hidden])')
    page.wait_for_function('document.querySelector("#tip canvas").width > 8')
    page.wait_for_timeout(200)
    assert place.cat.object_id[row] in page.inner_text('#tip')
    assert is_alike(pixels(page, '#tip canvas'), place.survey.images(slice(None)), row)
    page.mouse.move(*[v+60 for v in pixel(page, row)], steps=2)
    page.mouse.click(*pixel(page, row))
    page.wait_for_function(f'explorer.hand === {row}')
    assert page.is_visible('#galaxy') and page.inner_text('.id') == place.cat.object_id[row]

def test_the_galaxy_in_hand_is_that_of_the_catalogue(opened, place):
    page, row = opened(), 20
    page.evaluate(f'explorer.pin({row})')
    page.wait_for_timeout(300)
    text, p = page.inner_text('#galaxy'), numbered(place.cat, 'p')[row]
    first, second = np.argsort(-p, kind='stable')[:2]
    assert f'component {first}' in text and f'second-best is component {second} with {p[second]:.3f}' in text
    images = place.survey.images(slice(None))
    assert is_alike(pixels(page, '#galaxy canvas'), images, row)
    assert is_alike(pixels(page, '#galaxy canvas', 1), decoded(place.model, numbered(place.cat, 'z')), row, images)
    near = page.eval_on_selector_all('#galaxy .thumbs button', 'all => all.map(b => Number(b.dataset.row))')
    assert near == similar(place.cat, [row], 8, mixture=place.model.mixture).row.tolist()
    links = page.eval_on_selector_all('.links a', 'all => all.map(a => a.href)')
    assert [re.search(r'//([^/]+)', link)[1] for link in links] == ['www.legacysurvey.org', 'aladin.cds.unistra.fr', 'simbad.cds.unistra.fr']
    assert f'ra={place.table.ra[row]:.5f}'[:-1] in links[0]

def test_no_second_component_is_named_where_its_probability_does_not_show(opened, place, tmp_path):
    cat = place.cat.copy()
    for c in range(10): cat[f'p_{c}'] = cat[f'p_{c}'].where(cat.index > 0, np.float32(1 if c == 4 else 1e-9))
    cat['component'] = cat.component.where(cat.index > 0, 4)
    page = opened(explore(cat, place.survey, place.model, latent_map(cat, 'pca')).save(tmp_path/'sure.html'))
    page.evaluate('explorer.pin(0)')
    page.wait_for_timeout(300)
    text = page.inner_text('#galaxy')
    assert 'with probability 1.000' in text and 'second-best' not in text
    assert page.locator('#galaxy .bars .track').count() == 1

def test_probabilities_and_columns_arrive_exactly(opened, place):
    page = opened()
    columns = page.evaluate('[...explorer.store.columns.values()].map(c => [c.name, c.names ?? null, Array.from(c.values, v => Number.isFinite(v) ? v : null)])')
    found = {name: np.array(values, float) if names is None else np.array([*names, ''])[np.array(values)] for name,names,values in columns}
    for name in 'p_max', 'recon_error', 'z_3', 'q_9': assert np.allclose(found[name], place.cat[name], rtol=1e-6)
    assert (found['kind'] == place.table.kind).all() and np.allclose(found['ra'], place.table.ra, rtol=0, atol=1e-12)
    assert np.allclose(page.evaluate(f'Array.from({{length: {n}}}, (_, i) => explorer.store.probabilities(i))'), numbered(place.cat, 'p'), atol=1e-5)

def test_box_selects_what_lies_in_it(opened, place, tmp_path):
    page = opened()
    page.click('.bk-tool-icon-box-select')
    at = np.array([pixel(page, row) for row in range(n)])
    low, high = np.quantile(at, .2, axis=0), np.quantile(at, .7, axis=0)
    page.mouse.move(*low)
    page.mouse.down()
    page.mouse.move(*high, steps=5)
    page.mouse.up()
    page.wait_for_selector('#selection:not([hidden])')
    inside = {place.cat.object_id[row] for row in range(n) if ((low+2 < at[row]) & (at[row] < high-2)).all()}
    near = {place.cat.object_id[row] for row in range(n) if ((low-2 < at[row]) & (at[row] < high+2)).all()}
    ids = pd.read_csv(downloaded(page, lambda: page.click('#save-ids'), tmp_path)).object_id.tolist()
    assert inside and inside <= set(ids) <= near and len(ids) == len(set(ids))
    assert page.locator('#selection .thumbs button').count() == min(60, len(ids))

def test_lasso_selects(opened):
    page = opened()
    page.click('.bk-tool-icon-lasso-select')
    x,y = np.mean([pixel(page, row) for row in range(n)], axis=0)
    page.mouse.move(x-120, y-120)
    page.mouse.down()
    for corner in ((120, -120), (120, 120), (-120, 120), (-120, -120)): page.mouse.move(x+corner[0], y+corner[1], steps=4)
    page.mouse.up()
    page.wait_for_function('explorer.selection.length > 0')
    assert 'drawn on the map' in page.inner_text('#selection')

def test_a_saved_table_is_the_catalogue(opened, place, tmp_path):
    page = opened()
    page.evaluate('explorer.select(explorer.visible)')
    table = read_table(downloaded(page, lambda: page.click('#save-table'), tmp_path))
    assert table.object_id.astype(str).tolist() == place.cat.object_id.tolist()
    for name in 'p_max', 'p_3', 'recon_error', 'z_0': assert np.allclose(table[name], place.cat[name], rtol=1e-5, atol=2e-5)
    assert np.allclose(table.ra, place.table.ra, rtol=1e-13) and (table.kind.fillna('') == place.table.kind).all()
    assert (table.component == place.cat.component).all()

def test_search_by_id(opened, place):
    page = opened()
    page.keyboard.press('/')
    page.keyboard.type('gal-04')
    assert page.locator('#hits button').count() == 10
    page.keyboard.type('2')
    page.keyboard.press('Enter')
    assert page.inner_text('.id') == 'gal-042' and not page.is_visible('#hits')
    page.keyboard.press('/')
    page.fill('#query', 'nothing like this')
    assert 'No id contains this' in page.inner_text('#hits')

def test_labels_are_kept_saved_and_read_by_a_training(opened, place, tmp_path):
    page = opened()
    page.evaluate('explorer.pin(0)')
    page.keyboard.press('1')
    page.evaluate('explorer.select([1, 2, 3, 40])')
    page.keyboard.press('Shift+Digit2')
    page.evaluate('explorer.pin(40)')
    page.keyboard.press('0')
    again = opened(context=page.context)
    expected = {place.cat.object_id[0]: 'disc'} | {place.cat.object_id[i]: 'elliptical' for i in (1, 2, 3)}
    assert again.evaluate('Object.fromEntries(explorer.labels.byId)') == expected
    again.click('#tab-labels')
    file = downloaded(again, lambda: again.click('#save-labels'), tmp_path)
    assert pd.read_csv(file, keep_default_na=False).set_index('object_id').label.to_dict() == expected
    labels = read_labels(place.survey, file)
    assert dict(zip(labels.ids, np.array(labels.names)[labels.known])) == expected
    other = opened()
    assert other.evaluate('explorer.labels.byId.size') == 0
    other.click('#tab-labels')
    other.set_input_files('#read-labels', file)
    other.wait_for_function('explorer.labels.byId.size === 4')
    assert other.evaluate('Object.fromEntries(explorer.labels.byId)') == expected

def test_fifty_labels_made_in_the_browser_name_the_components(opened, place, tmp_path):
    r = np.random.default_rng(1)
    component = (r.random(n)[:,None] > numbered(place.cat, 'p').cumsum(1)).sum(1)
    truth = np.where((component < 5) ^ (r.random(n) < .1), 'disc', 'elliptical')
    some,page = r.permutation(n)[:50],opened()
    for row in some:
        page.evaluate(f'explorer.pin({row})')
        page.keyboard.press('1' if truth[row] == 'disc' else '2')
    page.click('#tab-labels')
    file = downloaded(page, lambda: page.click('#save-labels'), tmp_path)
    place.model.save(tmp_path/'run/model')
    names = astrovader_name(tmp_path/'run', place.survey.path, file, tmp_path/'names')
    components = read_table(tmp_path/'names/components.csv')
    big = components[components.labels > 3]
    assert len(big) > 3 and (big.name == np.where(big.component < 5, 'disc', 'elliptical')).mean() > .7
    rest = np.setdiff1d(np.arange(n), some)
    right = (read_table(tmp_path/'names/catalogue.parquet').name[rest] == truth[rest]).mean()
    _,low,high = names.accuracy(place.cat.iloc[rest])
    assert low <= right <= high and high-low < .3, (low, right, high)
    assert not set(read_table(tmp_path/'names/next.csv').object_id.astype(str)) & set(place.cat.object_id[some])

def test_labels_are_taken_back(opened):
    page = opened()
    page.evaluate('explorer.pin(5)')
    for key in '1', '3': page.keyboard.press(key)
    labels = [page.evaluate('explorer.labels.byId.get(explorer.store.ids[5]) ?? null')]
    for _ in range(2):
        page.keyboard.press('z')
        labels.append(page.evaluate('explorer.labels.byId.get(explorer.store.ids[5]) ?? null'))
    assert labels == ['edge-on', 'disc', None]

def dark(page, row, reach):
    "Dark pixels of the map at some distance from a galaxy, of a screenshot in grey"
    x,y = pixel(page, row)
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    clip = dict(x=x-reach, y=y-reach, width=2*reach, height=2*reach)
    return (np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert('L')) < 70).sum()

_drawn = '([name, row]) => { const {x, y} = explorer[name].data, at = Array.from(x.keys()).filter(i => x[i] === explorer.store.x[row] && y[i] === explorer.store.y[row]); return at.length }'

def test_labelled_galaxies_are_larger_and_outlined(opened, place):
    page = opened()
    row = alone(page)
    page.evaluate('explorer.colourBy("p_max")')
    before = dark(page, row, 12)
    page.evaluate(f'explorer.label([{row}], "disc")')
    assert dark(page, row, 12) > before + 15
    sizes = page.evaluate('explorer.glyphs.map(([glyph]) => glyph.size.value ?? glyph.size)')
    assert sizes[1] > 1.5*sizes[0] and page.evaluate('explorer.outlined.data.x.length') == 1 and page.evaluate(_drawn, ['outlined', row]) == 1
    assert 'labelled' in page.inner_text('#hint')
    page.evaluate('explorer.colourBy("component"), explorer.zoom(.5)')
    page.wait_for_timeout(200)
    assert page.evaluate('explorer.outlined.data.colour') == [page.evaluate(f'explorer.style(explorer.store.component[{row}])[0]')]
    assert page.evaluate('explorer.glyphs[1][0].size.value ?? explorer.glyphs[1][0].size') > sizes[1]
    page.evaluate(f'explorer.filters.toggle(explorer.store.component[{row}]), explorer.refilter()')
    assert page.evaluate('explorer.outlined.data.x.length') == 0, 'a filter hides it'
    page.evaluate('explorer.filters.clear(), explorer.refilter(), explorer.undo()')
    assert page.evaluate('explorer.outlined.data.x.length') == 0 and 'labelled' not in page.inner_text('#hint')

def test_colours_are_those_of_the_figures(opened, place):
    page = opened()
    page.evaluate('explorer.colourBy("component")')
    shown = page.evaluate('explorer.points.data.colour')
    assert shown == [to_hex(palette(10)[c]) for c in place.cat.component] and page.evaluate('[...new Set(explorer.points.data.marker)]') == ['circle']

def test_every_colour(opened, place):
    page = opened()
    names = page.eval_on_selector_all('#colour option', 'all => all.map(o => o.value)')
    assert {'component', 'p_max', 'p_entropy', 'outlier_rank', 'smooth_fraction', 'kind', 'labels', 'p_9'} <= set(names)
    for name in names:
        page.select_option('#colour', name)
        assert page.evaluate('explorer.points.data.colour.every(c => /^#[0-9a-f]{6}$/.test(c))'), name
    page.select_option('#colour', 'p_max')
    shown = page.evaluate('explorer.points.data.colour.map(c => explorer.store.meta.scale.indexOf(c))')
    p_max = place.cat.p_max.to_numpy()
    assert (np.diff(np.array(shown)[np.argsort(p_max)]) >= 0).all()
    page.select_option('#colour', 'component')
    styles = page.evaluate('explorer.points.data.colour.map((c, i) => c+explorer.points.data.marker[i])')
    assert len(set(zip(styles, place.cat.component))) == len(set(styles)) == place.cat.component.nunique()

def test_filters(opened, place):
    page = opened()
    page.click('#tab-filters')
    page.select_option('#add-filter', 'smooth_fraction')
    page.fill('[aria-label="smooth_fraction from"]', '0.5')
    page.press('[aria-label="smooth_fraction from"]', 'Enter')
    assert page.evaluate('explorer.visible') == np.flatnonzero(place.table.smooth_fraction >= .5).tolist()
    page.select_option('#add-filter', 'kind')
    page.click('.filter >> text="<i>odd</i>"')
    both = (place.table.smooth_fraction >= .5) & (place.table.kind != '<i>odd</i>')
    assert page.evaluate('explorer.visible') == np.flatnonzero(both).tolist()
    page.click('#legend .chip >> nth=0')
    assert page.evaluate('explorer.visible') == np.flatnonzero(both & (place.cat.component != 0)).tolist()
    assert page.evaluate('explorer.points.data.x.length') == (both & (place.cat.component != 0)).sum()
    page.click('text="Remove all filters"')
    assert page.evaluate('explorer.visible.length') == n

@pytest.mark.parametrize('order,column,ascending', [('probable', 'p_max', False), ('doubtful', 'p_entropy', False), ('odd', 'outlier_rank', False)])
def test_galleries(opened, place, order, column, ascending):
    page = opened()
    page.select_option('#order', order)
    rows = page.evaluate('[...document.querySelectorAll("#galleries .thumbs")].map(t => [...t.children].map(b => Number(b.dataset.row)))')
    values = np.array(page.evaluate(f'Array.from(explorer.store.columns.get("{column}").values)'))
    for shown in rows:
        c = place.cat.component[shown[0]]
        members = np.flatnonzero(place.cat.component == c)
        assert set(shown) <= set(members) and len(shown) == min(16, len(members))
        top = values[shown].round(4)
        assert (np.diff(top) <= 1e-4).all() and np.isclose(top[0], values[members].max(), atol=1e-4)

def test_keys_alone(opened):
    page = opened()
    page.keyboard.press('ArrowRight')
    walked = [page.evaluate('explorer.hand')]
    for key in 'ArrowLeft', 'ArrowUp', 'ArrowDown', 'j', 'k':
        page.keyboard.press(key)
        walked.append(page.evaluate('explorer.hand'))
    assert None not in walked and len(set(walked)) > 2 and walked[3] == walked[5]
    page.keyboard.press('s')
    assert page.evaluate('explorer.selection') == [walked[-1]]
    page.keyboard.press('c')
    assert page.evaluate('explorer.selection.length > 1 && explorer.selection.includes(explorer.hand)')
    before = page.evaluate('[explorer.figure.x_range.start, explorer.figure.x_range.end]')
    page.keyboard.press('+')
    assert np.ptp(page.evaluate('[explorer.figure.x_range.start, explorer.figure.x_range.end]')) < .8*np.ptp(before)
    page.keyboard.press('h')
    assert page.evaluate('[explorer.figure.x_range.start, explorer.figure.x_range.end]') == before
    page.keyboard.press('?')
    assert page.is_visible('#help') and 'find an id' in page.inner_text('#help')
    page.keyboard.press('Escape')
    assert not page.is_visible('#help')
    page.keyboard.press('g')
    page.keyboard.press('ArrowRight')
    assert page.is_visible('#galaxy') and page.evaluate('document.activeElement.id') == 'tab-galaxy'
    page.keyboard.press('Tab')
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.tagName') == 'BUTTON'

def test_a_phone(opened, place):
    page = opened(width=390, height=780, touch=True)
    for name in 'galleries', 'galaxy', 'selection', 'filters', 'labels':
        page.evaluate(f'explorer.hand = 7, explorer.panels.show("{name}")')
        assert page.evaluate('document.documentElement.scrollWidth') <= 390, name
    row = alone(page)
    page.touchscreen.tap(*pixel(page, row))
    page.wait_for_function(f'explorer.hand === {row}')
    assert page.is_visible('#tip') and page.inner_text('.id') == place.cat.object_id[row]

def test_texts_of_tables_are_texts(opened, place):
    page = opened()
    for row,id in enumerate(hostile):
        page.evaluate(f'explorer.pin({row})')
        assert page.inner_text('.id') == id
    page.evaluate('explorer.colourBy("kind"), explorer.label([0], "<img src=x>"), explorer.panels.show("labels")')
    assert page.locator('#evil, #legend i, img[src=x]').count() == 0 and '<i>odd</i>' in page.inner_text('#legend')

too_wide = 'id => [document.documentElement, document.getElementById(id)].some(e => e.scrollWidth > e.clientWidth)'
def in_order(page): return page.eval_on_selector_all('#selection .thumbs button', 'all => all.map(b => Number(b.dataset.row))')

@pytest.mark.parametrize('size', [dict(), dict(width=390, height=780, touch=True)], ids=['desktop', 'phone'])
def test_names_stand_beside_numbers(opened, place, tmp_path, size):
    place.model.save(tmp_path/'run/model')
    words,r = ('<b>odd</b>', 'smooth', 'a name of many words that goes on and on'),np.random.default_rng(0)
    names = Names(words, r.gamma(1, 5, (10, 3)) + .1, about=dict(labels={word: 9 for word in words}))
    names.save(tmp_path/'run/model'/names_file)
    old = place.cat[[name for name in place.cat if name != 'name']]
    page = opened(explore(old, place.survey, tmp_path/'run', place.explorer.map).save(tmp_path/'named.html'), **size)
    titles = [f'{c} · {name}' for c,name in enumerate(names.purity().name)]
    assert [text.strip() for text in page.locator('#legend .chip').all_inner_texts()] == titles
    headings = page.locator('#galleries h2').all_inner_texts()
    purity = names.purity().iloc[place.cat.component.min()]
    assert f'component {titles[place.cat.component.min()]}' in headings[0] and f'purity {purity["mean"]:.2f} [{purity.low:.2f}, {purity.high:.2f}]' in headings[0]
    for row in range(0, n, 40):
        page.evaluate(f'explorer.pin({row})')
        assert f'component {titles[place.cat.component[row]]}' in page.inner_text('#galaxy') and not page.evaluate(too_wide, 'galaxy')
    page.select_option('#colour', 'name')
    shown = page.evaluate('explorer.store.ids.map((_, row) => explorer.column("name").shown(row))')
    assert shown == np.array(words)[names.probabilities(place.cat).argmax(1)].tolist()
    assert len(page.evaluate('[...new Set(explorer.points.data.colour)]')) == len(set(shown)) > 1
    assert page.evaluate('explorer.labels.names') == list(words), 'keys give the names that the components have'
    for name in 'galleries', 'selection', 'filters', 'labels':
        page.evaluate(f'explorer.selection = [1, 2, 3], explorer.panels.show("{name}")')
        assert not page.evaluate(too_wide, name), name
    assert page.locator('#legend b, #panel h2 b').count() == 0 and '27 galaxies (9 <b>odd</b>' in page.evaluate('explorer.store.meta.about')

def test_a_table_chooses_the_galaxies_to_label(opened, place, tmp_path):
    rows = [40, 3, 77, 0, 12]
    chosen = pd.DataFrame(dict(object_id=place.cat.object_id[rows], gain=range(5)))
    chosen.to_csv(tmp_path/'next.csv', index=False)
    place.model.save(tmp_path/'run/model')
    page = opened(astrovader_explore(tmp_path/'run', place.survey.path, tmp_path/'a.html', select=tmp_path/'next.csv'))
    assert page.is_visible('#selection') and in_order(page) == rows and 'next.csv' in page.inner_text('#selection')
    for _ in rows:
        page.keyboard.press('2')
        page.keyboard.press('j')
    assert page.evaluate('[...explorer.labels.byId.keys()]') == chosen.object_id.tolist()
    page.evaluate('explorer.panels.show("selection")')
    file = downloaded(page, lambda: page.click('#save-ids'), tmp_path)
    again = opened(explore(place.cat, place.survey, map=place.explorer.map, select=file).save(tmp_path/'b.html'))
    assert in_order(again) == rows
    again.keyboard.press('x')
    (tmp_path/'more.csv').write_text('object_id,p\ngal-050,1\nnone,2\ngal-020,3\n')
    again.set_input_files('#read-ids', tmp_path/'more.csv')
    again.wait_for_function('explorer.selection.length === 2')
    assert in_order(again) == [50, 20] and again.inner_text('#status') == '2 galaxies selected; 1 id of more.csv not in this page'
    (tmp_path/'other.csv').write_text('a,b\n1,2\n')
    again.set_input_files('#read-ids', tmp_path/'other.csv')
    again.wait_for_function('document.getElementById("status").textContent.includes("no column object_id")')
    assert in_order(again) == [50, 20]

def test_chosen_galaxies_are_in_a_sample(place, tmp_path):
    chosen = place.cat[::2]
    found = explore(place.cat, place.survey, map=place.explorer.map, most=100, select=chosen)
    meta = json.loads(re.search('id="meta">(.*?)</script>', found.html)[1])
    assert len(meta['ids']) <= 100 and [meta['ids'][row] for row in meta['select']['rows']] == chosen.object_id.tolist()
    with pytest.raises(BadInput, match='120 galaxies are selected, and the page has images of 100'): explore(place.cat, place.survey, most=100, select=place.cat[:120])

@pytest.mark.parametrize('ids,said', [(['gal-050', 'x'], '1 of the 2 ids of .*such as x'), (['x'], '1 of the 1 ids'), ([], 'has no ids')])
def test_unknown_ids_are_refused_and_nothing_is_written(place, tmp_path, ids, said):
    place.model.save(tmp_path/'run/model')
    pd.DataFrame(dict(object_id=ids)).to_csv(tmp_path/'ids.csv', index=False)
    with pytest.raises(BadInput, match=said): astrovader_explore(tmp_path/'run', place.survey.path, tmp_path/'a.html', select=tmp_path/'ids.csv')
    assert not (tmp_path/'a.html').exists()

def test_a_sample_above_tiles(opened, place, tmp_path):
    found = explore(place.cat, place.survey, map=place.explorer.map, most=100)
    page = opened(found.save(tmp_path/'sample.html'))
    assert page.evaluate('[explorer.store.n, explorer.store.meta.n_total]') == [100, n]
    assert sum(page.evaluate('explorer.store.meta.counts')) == n
    first = page.evaluate('explorer.tiles.data.url.length')
    for _ in range(12): page.keyboard.press('+')
    page.wait_for_timeout(400)
    assert first > 0 and page.evaluate('explorer.tileKey').startswith('component/4/')
    page.evaluate('explorer.goHome(), explorer.colourBy("p_max")')
    page.wait_for_timeout(200)
    assert page.evaluate('explorer.tileKey').startswith('count/')
    page.evaluate('explorer.filters.toggle(0), explorer.refilter()')
    assert page.evaluate('explorer.tiles.data.url.length') == 0, 'tiles cannot be filtered'
    assert '100 galaxies are points with images' in page.evaluate('explorer.store.meta.about')

def test_a_notebook_shows_it(browser, place, tmp_path):
    (tmp_path/'notebook.html').write_text(f'<!doctype html><meta charset="utf-8">{place.explorer._repr_html_()}', encoding='utf-8')
    page = browser.new_page()
    page.goto((tmp_path/'notebook.html').as_uri())
    frame = page.frame_locator('iframe')
    frame.locator('html[data-ready]').wait_for(timeout=60_000)
    assert frame.locator('#galleries .thumbs canvas').count() > 20
    page.close()

def test_without_a_model_and_with_one_galaxy(opened, place, tmp_path):
    page = opened(explore(place.cat[:1], place.survey).save(tmp_path/'one.html'))
    page.evaluate('explorer.pin(0)')
    page.keyboard.press('ArrowUp')
    page.keyboard.press('j')
    assert page.locator('#galaxy canvas').count() == 1 and 'reconstruction' not in page.inner_text('.pair')

def test_pages_load_nothing_and_are_the_same_each_time(place):
    assert "default-src 'none'" in place.explorer.html and place.explorer.html.count('</body>') == 1
    again = explore(place.cat, place.survey, place.model, latent_map(place.cat, 'pca'))
    assert again.html == place.explorer.html
