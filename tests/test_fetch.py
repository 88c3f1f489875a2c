"Images from a sky service that answers late, half, wrongly or not at all; interrupted, resumed, and packed."
import io,os,re,signal,sys,time
from http.server import BaseHTTPRequestHandler,ThreadingHTTPServer
from threading import Lock,Thread
from urllib.parse import parse_qsl,urlsplit
import numpy as np,pandas as pd,pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from PIL import Image
from astrovader import fetch,pack
from astrovader.core import AstrovaderError,BadInput
from astrovader.data.cutouts import read_image
from astrovader.data.synth import sky
from astrovader.infer.verify import verify
from astrovader.tables import read_table,verify_table,write_table
from side_by_side import Command,run

fetching = sys.modules[fetch.__module__]
galaxies = np.moveaxis(sky(8, 64, seed=5, bands=3, artifacts=0.)[0], 1, -1)

def picture(i, size, fmt='jpg', blank=False):
    x = np.asarray(Image.fromarray(galaxies[i % 8]).resize((size, size)))
    file = io.BytesIO()
    if fmt == 'fits': fits.PrimaryHDU(np.full((3, size, size), np.nan, 'f4') if blank else np.moveaxis(x, -1, 0).astype('f4')).writeto(file)
    else: Image.fromarray(x*(not blank)).save(file, 'jpeg', quality=92)
    return file.getvalue()

class Handler(BaseHTTPRequestHandler):
    "Answers request number n for object i with the n-th word of its script, the last word from there on"
    def log_message(self, *_): pass
    def handle_one_request(self):
        try: super().handle_one_request()
        except ConnectionError: self.close_connection = True

    def do_GET(self):
        server,query = self.server,dict(parse_qsl(urlsplit(self.path).query))
        i = int(float(query['ra']))
        with server.lock:
            server.log.append((time.monotonic(), i, self.path))
            server.busy += 1
            server.most_busy = max(server.busy, server.most_busy)
            words = server.script.get(i, ['image'])
            word = words.pop(0) if len(words) > 1 else words[0]
        fmt = 'fits' if 'fits' in urlsplit(self.path).path or query.get('format') == 'fits' else 'jpg'
        try: self.reply(word, i, int(query.get('size') or query['width']), fmt)
        finally:
            with server.lock: server.busy -= 1

    def reply(self, word, i, size, fmt):
        time.sleep(self.server.delay)
        content = picture(i, size, fmt)
        if word == 'image': self.send(content)
        elif word == 'blank': self.send(picture(i, size, fmt, blank=True))
        elif word == 'empty': self.send(b''.join(card.ljust(80) for card in (b'SIMPLE  =                    T', b'BITPIX  =                    8',
            b'NAXIS   =                    0', b'END')).ljust(2880))
        elif word == 'small': self.send(picture(i, size//2, fmt))
        elif word == 'page': self.send(b'<!doctype html><head><style>p {}</style></head>\n<p>Down for <b>repair</b></p>', kind='text/html')
        elif word == 'slow': time.sleep(1.2) or self.send(content)
        elif word == 'half': self.send(content[:len(content)//2], announced=len(content))
        elif word == 'unannounced half': self.send(content[:len(content)//2], announced=None)
        elif word == 'drip': self.drip(content)
        elif word == 'nothing': self.close_connection = True
        else: self.send(b'not now', 'text/plain', int(word[:3]), retry=word[4:])

    def send(self, content, kind='image/jpeg', status=200, announced=0, retry=''):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        if announced is not None: self.send_header('Content-Length', str(announced or len(content)))
        if retry: self.send_header('Retry-After', retry)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def drip(self, content):
        "A byte now and then, so that no single wait is long"
        self.send_response(200)
        self.end_headers()
        for i in range(8): self.wfile.write(content[i:i+1]) and time.sleep(.2)

class SkyServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    def handle_error(self, *_): pass
    def asked(self, i): return sum(number == i for _,number,_ in self.log)

@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    s = SkyServer(('127.0.0.1', 0), Handler)
    s.script,s.log,s.lock,s.busy,s.most_busy,s.delay = {},[],Lock(),0,0,0.
    s.url = f'http://127.0.0.1:{s.server_port}/cutout.{{format}}'
    Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.shutdown()
    s.server_close()

def catalogue(n): return pd.DataFrame(dict(object_id=[f'g{i}' for i in range(n)], RA=np.arange(n)+.25, Dec=np.linspace(-60, 60, n), petroR90_r=5.+np.arange(n)))
quick = dict(size=64, wait=.05, per_second=50, timeout=1.)
def names(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())
def images(folder): return [name for name in names(folder) if name.endswith(('.jpg', '.fits')) and name[0] != '.']
def failures(folder): return dict(read_table(folder/'failed.csv')[['object_id', 'reason']].to_numpy())

# One request

def test_what_may_pass_is_tried_again(server, tmp_path):
    words = '503', '500', 'slow', 'half', 'unannounced half', 'drip', 'nothing', '429', '408', '502'
    server.script = {i: [word, 'image'] for i,word in enumerate(words)}
    found = fetch(catalogue(len(words)), tmp_path/'out', **quick, url=server.url)
    assert len(found) == len(words) and not (tmp_path/'out/failed.csv').exists()
    assert [server.asked(i) for i in range(len(words))] == [2]*len(words)
    for i,path in enumerate(found.path): assert (tmp_path/'out'/path).read_bytes() == picture(i, 64)

def test_the_time_that_a_server_asks_for_is_waited_by_all(server, tmp_path):
    server.script[0] = ['429 2', 'image']
    fetch(catalogue(12), tmp_path/'out', **quick | dict(per_second=10), n_at_once=2, url=server.url)
    times = [t-server.log[0][0] for t,_,_ in server.log]
    assert not [t for t in times if .9 < t < 1.9] and len(times) == 13, times

def test_a_wait_of_hours_is_left_to_the_next_call(server, tmp_path):
    server.script[0] = ['503 7200', 'image']
    assert len(fetch(catalogue(2), tmp_path/'out', **quick, url=server.url)) == 1
    assert 'HTTP 503' in failures(tmp_path/'out')['g0'] and len(fetch(catalogue(2), tmp_path/'out', **quick, url=server.url)) == 2

def test_what_will_not_pass_is_listed_with_its_reason(server, tmp_path, capsys):
    server.script = {0: ['page'], 1: ['404'], 2: ['blank'], 3: ['small'], 4: ['500'], 5: ['half'], 6: ['403']}
    table = catalogue(11)
    table.loc[7, 'petroR90_r'] = -9999.
    table.loc[8, 'RA'] = np.nan
    table.loc[9, 'Dec'] = 95.
    assert fetch(table, tmp_path/'out', **quick, tries=3, url=server.url).object_id.to_list() == ['g10']
    found = failures(tmp_path/'out')
    words = ["no image: 'Down for repair'", 'HTTP 404', 'no coverage', '32 x 32 pixels, where 64 x 64', 'HTTP 500', 'broke off after', 'HTTP 403',
        'the width is no', 'the position is', 'the position is']
    assert not [(reason, word) for reason,word in zip(found.values(), words, strict=True) if word not in reason]
    assert [server.asked(i) for i in range(10)] == [1, 1, 1, 1, 3, 3, 1, 0, 0, 0]
    said = capsys.readouterr().out
    assert '1 images fetched' in said and '10 failed, 1 for lack of coverage, 9 for reasons such as' in said
    addresses = read_table(tmp_path/'out/failed.csv').url
    assert addresses[0].startswith(server.url.split('{')[0]) and pd.isna(addresses[9])

def test_no_more_at_once_than_allowed(server, tmp_path):
    server.delay = .05
    start = time.monotonic()
    fetch(catalogue(24), tmp_path/'out', **quick | dict(per_second=20), n_at_once=3, url=server.url)
    assert server.most_busy <= 3 and time.monotonic()-start > 23/20

def test_a_service_that_is_down_is_left_alone(server, tmp_path):
    server.script = {i: ['503'] for i in range(5, 90)}
    with pytest.raises(AstrovaderError, match='20 images in a row could not be fetched from http.*repeat the same command'):
        fetch(catalogue(90), tmp_path/'out', **quick | dict(wait=0), tries=1, n_at_once=2, url=server.url)
    assert len(server.log) < 40 and len(images(tmp_path/'out')) == 5
    server.script = {}
    assert len(fetch(catalogue(90), tmp_path/'out', **quick, url=server.url)) == 90

def test_nobody_there(tmp_path):
    with pytest.raises(BadInput, match='none of the 2 images could be fetched, the first because the connection failed'):
        fetch(catalogue(2), tmp_path/'out', **quick, tries=2, url='http://127.0.0.1:9/')

# Services

@pytest.mark.parametrize('options, query', [(dict(), r'getjpeg\?ra=3.25&dec=\S+&scale=0.64&width=64&height=64$'),
    (dict(service='legacy', format='fits', bands='grz', width='1 arcmin'), r'cutout.fits\?ra=3.25&\S*layer=ls-dr10&pixscale=0.9375&size=64&bands=grz$'),
    (dict(service='legacy', width=64*u.arcsec, layer='sdss'), r'cutout.jpg\?ra=3.25&\S*layer=sdss&pixscale=1&size=64$'),
    (dict(service='hips', width='4.5 petroR90_r', format='fits'), r'hips2fits\?hips=CDS%2FP%2FDSS2%2Fcolor&width=64&height=64&fov=0.01&projection=TAN&\S*format=fits$')])
def test_each_service_is_asked_in_its_way(server, tmp_path, options, query):
    place = dict(legacy='cutout.{format}', hips='hips2fits').get(options.get('service'), 'getjpeg')
    found = fetch(catalogue(4), tmp_path/'out', **quick, **options, url=f'http://127.0.0.1:{server.server_port}/{place}')
    asked = next(path for _,i,path in server.log if i == 3)
    assert re.search(query, asked), asked
    assert read_image(tmp_path/'out'/found.path[3]).shape == (3, 64, 64)
    scale = {'arcmin': 60/64, 'petro': 36/64}
    assert found.arcsec_per_px[3] == pytest.approx(next((s for k,s in scale.items() if k in str(options.get('width'))), 1. if options else .64))

def test_pictures_know_their_scale_and_where_north_is(server, tmp_path):
    fetch(catalogue(3), tmp_path/'out', 'legacy', width='32 arcsec', **quick, url=server.url)
    index = pack(tmp_path/'out/catalogue.parquet', tmp_path/'survey', 16, n_workers=0).index()
    assert index.pixel_scale.to_list() == [.5]*3 and index.north.to_list() == [180]*3 and index.mirrored.to_list() == [1]*3

def test_fits_without_coverage_and_cut_short(server, tmp_path):
    server.script = {0: ['blank'], 1: ['unannounced half', 'image'], 2: ['empty'], 4: ['page']}
    found = fetch(catalogue(5), tmp_path/'out', 'legacy', format='fits', **quick, url=server.url)
    assert found.object_id.to_list() == ['g1', 'g3'] and [server.asked(i) for i in range(5)] == [1, 2, 1, 1, 1]
    assert list(failures(tmp_path/'out').values())[:2] == ['no coverage']*2

# Catalogues

@pytest.mark.parametrize('suffix', ['csv', 'fits', 'parquet', 'ecsv'])
def test_catalogues_of_every_format(server, tmp_path, suffix):
    table = catalogue(3).rename(columns=dict(object_id='OBJID', RA='RAJ2000', Dec='DEJ2000')).assign(OBJID=[587722981747785929+i for i in range(3)])
    if suffix == 'ecsv': Table.from_pandas(table).write(tmp_path/'c.ecsv')
    else: write_table(table, tmp_path/f'c.{suffix}')
    found = fetch(tmp_path/f'c.{suffix}', tmp_path/'out', **quick, url=server.url)
    assert found.object_id.to_list() == [f'58772298174778593{i-1}' if i else '587722981747785929' for i in range(3)]
    assert found.ra.to_list() == [.25, 1.25, 2.25] and names(tmp_path/'out') == sorted([*found.path, 'catalogue.parquet', 'fetch.json'])

def test_ids_that_are_no_file_names(server, tmp_path):
    ids = ['a/b', '../up', '.hidden', '100%', 'NGC 4038', 'J12:30', 'a%2Fb', 'ü'*150, 'x.jpg', 'ngc 4038']
    found = fetch(catalogue(10).assign(object_id=ids, path='theirs', kind='spiral'), tmp_path/'out', **quick, url=server.url)
    assert found.path[:4].to_list() == ['a%2Fb.jpg', '%2E./up.jpg'.replace('/', '%2F'), '%2Ehidden.jpg', '100%25.jpg']
    assert len(set(found.path.str.lower())) == 10 and all((tmp_path/'out'/path).is_file() for path in found.path) and os.listdir(tmp_path) == ['out']
    survey = pack(tmp_path/'out/catalogue.parquet', tmp_path/'survey', size=32, n_workers=0)
    index = survey.index()
    assert index.object_id.to_list() == [name.removesuffix('.jpg') for name in ids]
    assert {'ra', 'dec', 'arcsec_per_px', 'kind', 'path_table', 'petroR90_r'} <= set(index.columns) and index.dec[9] == 60

def test_many_objects_lie_in_subfolders(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, '_per_folder', 4)
    found = fetch(catalogue(10), tmp_path/'out', **quick, url=server.url)
    assert found.path[9] == '0002/g9.jpg' and len(pack(tmp_path/'out/catalogue.parquet', tmp_path/'survey', size=32, n_workers=0)) == 10

# Refusals

table = catalogue(3)
wrong = """
fetch(table, out, 'galex') | the service 'galex' is not known; use one of sdss, legacy, hips
fetch(table, out, size=63) | 64 to 2048 pixels on a side, and the size is 63
fetch(table, out, size=2049) | 64 to 2048
fetch(table, out, 'legacy', size=3001) | 1 to 3000
fetch(table, out, 'hips', size=8000, width='1 deg') | 1 to 7071
fetch(table, out, size=0) | size is 0
fetch(table, out, size='big') | size is 'big'
fetch(table, out, format='fits') | sdss has no format 'fits'; use jpg
fetch(table, out, 'legacy', format='png') | use jpg or fits
fetch(table, out, layer='ls-dr9') | sdss has no layers
fetch(table, out, 'hips', bands='g', width='1 deg') | no choice of bands
fetch(table, out, 'hips') | give a width
fetch(table, out, width='25.6') | give an angle
fetch(table, out, width=25.6) | the width is 25.6
fetch(table, out, width='5 petroR50_r') | neither an angle above 0 nor a column
fetch(table, out, width='-5 arcsec') | neither an angle
fetch(table, out, width=5*u.kg) | neither an angle
fetch(table, out, n_at_once=17) | at most 16
fetch(table, out, n_at_once=0) | n_at_once is 0
fetch(table, out, tries=0) | tries is 0
fetch(table, out, per_second=0) | per_second is 0
fetch(table, out, per_second=1000) | per_second is 1000
fetch(table, out, timeout=0) | timeout is 0
fetch(table, out, url='ftp://sky') | let it begin with https://
fetch(table, out, url='') | let it begin with https://
fetch(table, out, id_column='name') | no column 'name'
fetch(table, '') | an empty name
fetch('nowhere.csv', out) | does not exist
fetch(None, out) | a table is
fetch(table.drop(columns='RA'), out) | no column ra
fetch(table.drop(columns='Dec'), out) | no column dec
fetch(table.assign(RA='east'), out) | column 'RA' of the catalogue holds no numbers
fetch(table.drop(columns='object_id'), out) | is a position and no id
fetch(table.assign(object_id='g'), out) | has the id 'g' more than once
fetch(table.assign(object_id=['a', None, 'b']), out) | no id in row 1
fetch(table[:0], out) | the catalogue has no rows
"""

@pytest.mark.parametrize('line', wrong.strip().splitlines())
def test_a_wrong_call_is_a_sentence(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call,words = line.split(' | ')
    with pytest.raises(AstrovaderError) as e: eval(call, dict(fetch=fetch, table=table, out='out', u=u))
    assert words in str(e.value) and '\n' not in str(e.value), e.value
    assert not list(tmp_path.iterdir())

def test_another_request_is_refused_and_a_damaged_file_fetched_again(server, tmp_path):
    found = fetch(catalogue(4), tmp_path/'out', **quick, url=server.url)
    changes = dict(service='legacy'), dict(width='30 arcsec'), dict(size=128)
    for change in changes:
        with pytest.raises(BadInput, match=f'was begun with another.*{next(iter(change))}'): fetch(catalogue(4), tmp_path/'out', **quick | change, url=server.url)
    for other in (catalogue(5), catalogue(4).assign(RA=5.)):
        with pytest.raises(BadInput, match='another.* catalogue'): fetch(other, tmp_path/'out', **quick, url=server.url)
    whole = (tmp_path/'out/g1.jpg').read_bytes()
    (tmp_path/'out/g1.jpg').write_bytes(whole[:500])
    server.log.clear()
    assert fetch(catalogue(4).assign(votes=1), tmp_path/'out', **quick, url=server.url).path.to_list() == found.path.to_list()
    assert [i for _,i,_ in server.log] == [1] and (tmp_path/'out/g1.jpg').read_bytes() == whole
    assert verify_table(tmp_path/'out/catalogue.parquet') == 1 and 'votes' in read_table(tmp_path/'out/catalogue.parquet')
    assert verify(tmp_path/'out') == 1
    (tmp_path/'out/g2.jpg').write_bytes(whole[:500])
    with pytest.raises(AstrovaderError, match='g2.jpg: cannot be read'): verify(tmp_path/'out')

def test_a_request_that_brought_nothing_is_forgotten(server, tmp_path):
    server.script = {i: ['404'] for i in range(3)}
    with pytest.raises(BadInput, match='none of the 3'): fetch(catalogue(3), tmp_path/'out', 'legacy', layer='ls-dr99', **quick, url=server.url)
    assert names(tmp_path/'out') == ['failed.csv', 'fetch.json'] and len(failures(tmp_path/'out')) == 3
    server.script = {}
    assert len(fetch(catalogue(3), tmp_path/'out', 'legacy', **quick, url=server.url)) == 3
    assert 'failed.csv' not in names(tmp_path/'out')

def test_a_folder_with_something_else_is_refused(server, tmp_path):
    (tmp_path/'notes.txt').write_text('mine')
    for out in (tmp_path, tmp_path/'notes.txt'):
        with pytest.raises(BadInput): fetch(catalogue(2), out, **quick, url=server.url)
    assert names(tmp_path) == ['notes.txt'] and not server.log

# The command

def wait_for(condition):
    end = time.monotonic()+60
    while not condition() and time.monotonic() < end: time.sleep(.01)

@pytest.fixture
def place(tmp_path):
    write_table(catalogue(60), tmp_path/'c.csv')
    return tmp_path

def test_command_and_pack(server, place):
    server.script = {5: ['404'], 6: ['blank']}
    r = run('astrovader-fetch', 'c.csv', 'images', '--size', 64, '--per-second', 50, '--url', server.url, cwd=place)
    assert r.returncode == 0 and not r.stderr, r.stderr
    assert 'images: 58 images fetched' in r.stdout and '2 failed, 1 for lack of coverage, 1 for reasons such as HTTP 404' in r.stdout and 'images/failed.csv' in r.stdout
    r = run('astrovader-pack', 'images/catalogue.parquet', 'survey', '--size', 32, '--n-workers', 0, cwd=place)
    assert r.returncode == 0 and '58 images packed' in r.stdout, r.stderr

def test_command_that_fetches_nothing(server, place):
    server.script = {i: ['404'] for i in range(60)}
    r = run('astrovader-fetch', 'c.csv', 'images', '--size', 64, '--per-second', 50, '--url', server.url, cwd=place)
    assert r.returncode == 1 and r.stderr.startswith('astrovader: none of the 60 images') and r.stderr.count('\n') == 1

@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_command_goes_on(server, place, number, status):
    server.delay = .1
    server.script = {i: ['slow', 'image'] for i in range(20, 60)}
    args = 'c.csv', 'images', '--size', 64, '--per-second', 50, '--url', server.url
    process = Command('astrovader-fetch', *args, cwd=place)
    wait_for(lambda: len(images(place/'images')) > 12)
    process.send_signal(number)
    start = time.monotonic()
    out,err = process.communicate(timeout=60)
    assert process.returncode == status and time.monotonic()-start < 20, err
    if number != signal.SIGKILL: assert err.count('\n') == 1 and 'the same command resumes from here' in err and 'stopped' in out, (out, err)
    before = images(place/'images')
    whole = {name: (place/'images'/name).read_bytes() for name in before}
    assert 12 < len(before) < 60 and all(content == picture(int(name[1:-4]), 64) for name,content in whole.items())
    server.script,server.delay = {},0.
    server.log.clear()
    r = run('astrovader-fetch', *args, cwd=place)
    assert r.returncode == 0 and f'60 images fetched, {len(before)} of them before' in r.stdout, r.stderr
    assert len(server.log) == 60-len(before) and len(images(place/'images')) == 60
    assert not [name for name in os.listdir(place/'images') if name.startswith('.')]

def test_leftovers_of_a_kill_are_removed(server, tmp_path):
    fetch(catalogue(2), tmp_path/'out', **quick, url=server.url)
    (tmp_path/'out/.g1.jpg.tmp-01234567').mkdir()
    (tmp_path/'out/.g1.jpg.tmp-01234567/g1.jpg').touch()
    fetch(catalogue(2), tmp_path/'out', **quick, url=server.url)
    assert not [name for name in os.listdir(tmp_path/'out') if name.startswith('.')]

def test_two_at_once(server, place):
    server.delay = .1
    args = 'c.csv', 'images', '--size', 64, '--per-second', 50, '--url', server.url
    process = Command('astrovader-fetch', *args, cwd=place)
    wait_for(lambda: (place/'images/g0.jpg').exists())
    with pytest.raises(AstrovaderError, match='is being written by another process'):
        fetch(place/'c.csv', place/'images', size=64, url=server.url)
    process.communicate(timeout=60)
    assert process.returncode == 0 and len(images(place/'images')) == 60
