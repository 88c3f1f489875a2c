"The report in a real browser: sections that fold on a phone and not on a desk, links that open them, and wide contents that scroll within the page."
import re
from pathlib import Path
from types import SimpleNamespace
import numpy as np,pandas as pd,pytest
from astrovader.data.synth import sky
from astrovader.show.image_plots import plot_galaxies
from astrovader.show.report import Page,html_page,render_sections
from astrovader.show.sections import Figure,Omission,Section,Table,sections

def _numbers(summary, _):
    wide = pd.DataFrame(np.arange(40).reshape(2, 20)/7, columns=[f'a long name {i}' for i in range(20)])
    yield Table('wide', wide.assign(same=1.5), 'A wide table.')
    yield '<p id="inside">inside</p>'

@pytest.fixture
def page_file(tmp_path, monkeypatch):
    "A page of three sections, one of which has nothing to show"
    images = sky(12, 32)[0]
    shown = dict(first=Section('The components', None, lambda *_: [Figure('galaxies', plot_galaxies(images, 12), 'Galaxies.')]),
        numbers=Section('Training', None, _numbers), none=Section('Known classes', None, lambda *_: [Omission('No <classes>.')]))
    for name in list(sections): monkeypatch.delitem(sections, name)
    for name,section in shown.items(): monkeypatch.setitem(sections, name, section)
    body = '<h1>A page</h1>' + render_sections(SimpleNamespace(names=None), Page(tmp_path))
    (tmp_path/'index.html').write_text(html_page('A page', body), encoding='utf-8')
    return tmp_path/'index.html'

def test_sections_without_contents_are_left_out(page_file):
    html = page_file.read_text(encoding='utf-8')
    assert re.findall('<h2><label[^>]*>(.*?)</label>', html) == ['The components', 'Training', 'Left out']
    assert '<li>No &lt;classes&gt;.</li>' in html and '>same<' not in html and 'in every row: same 1.500' in html
    assert re.findall('<a href="#([^"]*)">', html) == re.findall('<section id="([^"]*)">', html)

def test_a_phone_folds_and_opens(browser, page_file):
    page = browser.new_page(viewport=dict(width=390, height=780))
    page.goto(Path(page_file).as_uri())
    assert page.is_visible('#The-components img') and not page.is_visible('#inside')
    page.click('#Training h2 label')
    assert page.is_visible('#inside')
    page.click('#Training h2 label')
    assert not page.is_visible('#inside')
    page.click('nav.contents a[href="#Training"]')
    assert page.is_visible('#inside')
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    assert page.evaluate('document.querySelector("#Training .wide").scrollWidth') > 600
    page.close()

def test_the_desk_shows_everything(browser, page_file):
    page = browser.new_page(viewport=dict(width=1400, height=900))
    page.goto(Path(page_file).as_uri())
    assert page.is_visible('#inside') and not page.is_visible('.fold') and page.is_visible('#Left-out li')
    page.close()

def test_a_shadow_shows_that_a_table_goes_on(browser, page_file):
    "The right edge is darker than the page before scrolling and not after it"
    np_image = pytest.importorskip('PIL.Image')
    import io
    page = browser.new_page(viewport=dict(width=390, height=780))
    page.goto(Path(page_file).as_uri()+'#inside')
    def edge():
        image = np.asarray(np_image.open(io.BytesIO(page.locator('#Training .wide').screenshot())).convert('L')).astype(int)
        return np.median(image[:,-2])
    before = edge()
    page.evaluate('document.querySelector("#Training .wide").scrollLeft = 1e5')
    page.wait_for_timeout(100)
    assert before < 245 and edge() > before + 5
    page.close()
