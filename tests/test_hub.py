"A shared model goes to a Hub and comes back: against a server on this machine that answers as the Hugging Face Hub does, and answers wrongly."
import base64,hashlib,json,os,re,shutil,socket
from http.server import BaseHTTPRequestHandler,ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote,urlsplit
import numpy as np,pytest,torch
from astrovader.core import AstrovaderError,BadInput,BadModel,read_json
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer.generate import generate
from astrovader.infer.verify import verify
from astrovader.model.compact import expanded
from astrovader.infer.names import Names,names_of
from astrovader.model.inference import model_digest,open_model
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE,load_weights
from astrovader.runs import packaged_models,packing_of

pytest.importorskip('huggingface_hub')
from astrovader.share.hub import check_shared,pull,push,share

class Handler(BaseHTTPRequestHandler):
    "Repositories of models as dicts of files; large files go by LFS, as on the Hub"
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def body(self): return self.rfile.read(int(self.headers.get('Content-Length') or 0))
    def say(self, content, status=200, **headers):
        if not isinstance(content, bytes): content = json.dumps(content).encode()
        self.send_response(status)
        for name,value in dict({'Content-Length': len(content)}, **{k.replace('_', '-'): v for k,v in headers.items()}).items(): self.send_header(name, str(value))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(content)

    def missing(self, repo, what='RepoNotFound'): self.say(dict(error=f'{repo} not found'), 404, X_Error_Code=what, X_Error_Message='not found')
    def sha(self, files): return hashlib.sha1(repr(sorted((n, hashlib.sha1(o).hexdigest()) for n,o in files.items())).encode()).hexdigest()

    def do_GET(self):
        s,path = self.server,unquote(urlsplit(self.path).path)
        s.log.append(f'{self.command} {path}')
        if s.status: return self.say(dict(error='not now'), s.status)
        if m := re.fullmatch(r'/api/models/([^/]+/[^/]+)(?:/revision/(.+))?', path):
            if m[1] not in s.repos: return self.missing(m[1])
            files = s.repos[m[1]]
            if m[2] not in (None, 'main', self.sha(files)): return self.missing(m[2], 'RevisionNotFound')
            return self.say(dict(id=m[1], modelId=m[1], sha=self.sha(files), private=False, tags=[], siblings=[dict(rfilename=name) for name in files]))
        m = re.fullmatch(r'/([^/]+/[^/]+)/resolve/([^/]+)/(.+)', path)
        if not m or m[1] not in s.repos: return self.missing(path)
        content = s.repos[m[1]].get(m[3])
        if content is None: return self.missing(m[3], 'EntryNotFound')
        self.say(content, ETag=f'"{hashlib.sha256(content).hexdigest()}"', X_Repo_Commit=self.sha(s.repos[m[1]]), Accept_Ranges='bytes')
    do_HEAD = do_GET

    def do_POST(self):
        s,path,body = self.server,urlsplit(self.path).path,self.body()
        s.log.append(f'POST {path}')
        if self.headers.get('Authorization') != 'Bearer secret': return self.say(dict(error='log in'), 401)
        if path == '/api/validate-yaml': return self.say(dict(errors=[], warnings=[]))
        if path == '/api/repos/create':
            asked = json.loads(body)
            repo = f'{asked.get("organization") or "me"}/{asked["name"]}'
            if repo in s.repos: return self.say(dict(error='exists', url=f'{s.url}/{repo}'), 409)
            s.repos[repo] = {'.gitattributes': b'*.safetensors filter=lfs\n'}
            return self.say(dict(url=f'{s.url}/{repo}', name=repo))
        repo = re.search(r'/([^/]+/[^/]+?)(?:\.git/|/preupload|/commit)', path.removeprefix('/api/models'))[1]
        if path.endswith('/objects/batch'):
            found = json.loads(body)['objects']
            return self.say(dict(transfer='basic', objects=[dict(oid=o['oid'], size=o['size'], actions=dict(upload=dict(href=f'{s.url}/lfs/{o["oid"]}', header={}))) for o in found]))
        if '/preupload/' in path:
            files = json.loads(body)['files']
            return self.say(dict(files=[dict(path=o['path'], uploadMode='lfs' if o['path'].endswith('.safetensors') else 'regular', shouldIgnore=False, oid=None) for o in files]))
        for line in map(json.loads, body.splitlines()):
            if line['key'] == 'file': s.repos[repo][line['value']['path']] = base64.b64decode(line['value']['content'])
            if line['key'] == 'lfsFile': s.repos[repo][line['value']['path']] = s.lfs[line['value']['oid']]
        sha = self.sha(s.repos[repo])
        self.say(dict(commitUrl=f'{s.url}/{repo}/commit/{sha}', commitOid=sha, commitMessage='', success=True, hookOutput=''))

    def do_PUT(self):
        content = self.body()
        assert hashlib.sha256(content).hexdigest() == self.path.split('/')[-1]
        self.server.lfs[self.path.split('/')[-1]] = content
        self.say(b'')

@pytest.fixture
def hub(monkeypatch, tmp_path):
    import huggingface_hub.constants as constants
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
    monkeypatch.setattr(constants, 'HF_TOKEN_PATH', str(tmp_path/'no-token'))
    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    s.repos,s.lfs,s.log,s.status = {},{},[],None
    s.url = f'http://127.0.0.1:{s.server_port}'
    Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.shutdown()
    s.server_close()

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A run with a model, a history and names, without a training"
    folder = tmp_path_factory.mktemp('hub')
    survey = pack_arrays(sky(60, 16, 0)[0], folder/'survey')
    torch.manual_seed(0)
    widths = dict(encoder_filters=(32, 32), encoder_kernels=(3, 3), decoder_filters=(32, 32), decoder_kernels=(3, 3))
    model = VaDE(Architecture(16, n_latent=6, n_components=3, **widths), survey.packing)
    model.reference = dict(z=torch.randn(5, 6))
    model.save(folder/'run/model', seed=0, survey=dict(source='/home/me/images', name='survey', n_train=58, n_valid=2))
    Names(('disc', 'elliptical'), [[3, 1], [1, 2], [1, 9]]).save(folder/'run/model/names.json', model=model_digest(open_model(folder/'run', 'cpu')))
    (folder/'run/history.csv').write_text('epoch,loss\n1,2.5\n')
    (folder/'run/checkpoint').mkdir()
    return folder/'run'

@pytest.fixture(scope='module')
def shared(run): return share(run, run.parent/'shared', compact=True, survey=run.parent/'survey')

def files(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())
def asked(hub): return dict(endpoint=hub.url, token='secret')

def test_there_and_back(hub, shared, tmp_path):
    push(shared, 'me/shapes', **asked(hub))
    push(shared, 'me/shapes', **asked(hub))
    assert sorted(hub.repos['me/shapes']) == ['.gitattributes', *files(shared)] and len(hub.lfs) == 2
    out = pull('me/shapes', tmp_path/'pulled', endpoint=hub.url)
    assert files(out) == files(shared) == ['README.md', 'history.csv', 'model/model.json', 'model/names.json', 'model/reference.safetensors', 'model/weights.safetensors']
    assert all((out/name).read_bytes() == (shared/name).read_bytes() for name in files(out)) and verify(out) == 1
    assert np.array_equal(generate(out, 5)[0], generate(shared, 5)[0])
    assert [p.name for p in tmp_path.iterdir()] == ['pulled']

def test_names_and_reference_go_with_the_model(run, shared):
    one,other = open_model(run, 'cpu'),open_model(shared, 'cpu')
    assert model_digest(one) != model_digest(other) and np.array_equal(names_of(other).concentration, names_of(one).concentration)
    assert other.reference['z'].equal(one.reference['z'])

def test_nothing_of_this_computer_is_shared(shared):
    text = ''.join((shared/name).read_text(errors='ignore') for name in files(shared))
    assert '/home/me' not in text and '/tmp' not in text and os.uname().release not in text
    assert 'survey' in read_json(shared/'model/model.json')['survey']['name']

def test_compact_weights_are_within_half_a_step(run, shared):
    exact,stored = load_weights(run/'model/weights.safetensors'),load_weights(shared/'model/weights.safetensors')
    found = expanded(stored)
    assert found.keys() == exact.keys() and any(o.dtype == torch.int8 for o in stored.values())
    for name,value in exact.items():
        step = stored.get(f'{name}.step')
        apart = (found[name]-value).abs()
        if step is not None: assert (apart.flatten(1) <= .5001*step[:,None]).all() and apart.max() > 0
        elif stored[name].dtype == torch.float16: assert (apart <= value.abs()*2**-11 + 1e-7).all()
        else: assert found[name].equal(value)

@pytest.mark.parametrize('change, why', [
    (lambda repo: repo.update({'model/weights.safetensors': repo['model/weights.safetensors'][:-1] + b'?'}), 'me/shapes/model/weights.safetensors has changed'),
    (lambda repo: repo.update({'model/weights.safetensors': b'half'}), 'weights.safetensors is damaged'),
    (lambda repo: repo.update({'model/model.json': repo['model/model.json'].replace(b'"seed": 0', b'"seed": 1')}), 'model.json has changed'),
    (lambda repo: repo.update({'model/model.json': json.dumps({k: v for k,v in json.loads(repo['model/model.json']).items() if k not in ('checksum', 'weights_sha256')}).encode()}),
        'has no checksum of the weights'),
    (lambda repo: repo.update({'model/names.json': b'{'}), 'names.json is not readable'),
    (lambda repo: repo.update({'history.csv': b''}), 'history.csv'),
    (lambda repo: repo.update({'pytorch_model.bin': b'\x80\x04N.'}), 'pytorch_model.bin, in which code could hide'),
    (lambda repo: repo.update({'model/model.pkl': b'\x80\x04N.'}), 'model/model.pkl, in which code could hide'),
    (lambda repo: repo.pop('model/weights.safetensors'), 'has no model/weights.safetensors')])
def test_what_is_wrong_in_a_repository_is_refused(hub, shared, tmp_path, change, why):
    push(shared, 'me/shapes', **asked(hub))
    change(hub.repos['me/shapes'])
    with pytest.raises(BadModel) as e: pull('me/shapes', tmp_path/'out', endpoint=hub.url)
    assert why in str(e.value) and str(tmp_path) not in str(e.value) and '\n' not in str(e.value) and str(e.value).endswith('.')
    assert list(tmp_path.iterdir()) == [] and not [o for o in hub.log if '.bin' in o or '.pkl' in o]

def test_wrong_names_and_refusals_are_one_sentence(hub, shared, tmp_path):
    push(shared, 'me/shapes', **asked(hub))
    words = {('me/gone', None): 'has no repository me/gone', ('me/shapes', 'v9'): 'no such revision', ('a/b/c', None): 'owner/name'}
    for (repo,revision),why in words.items():
        with pytest.raises(AstrovaderError) as e: pull(repo, tmp_path/'out', revision, endpoint=hub.url)
        assert why in str(e.value) and '\n' not in str(e.value), e.value
    with pytest.raises(AstrovaderError, match='log in with hf auth login'): push(shared, 'me/shapes', token='wrong', endpoint=hub.url)
    hub.status = 418
    with pytest.raises(AstrovaderError, match='HTTP 418.*try again later'): pull('me/shapes', tmp_path/'out', endpoint=hub.url)
    assert list(tmp_path.iterdir()) == []

def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with pytest.raises(AstrovaderError, match='cannot be reached.*check the network'): pull('me/shapes', tmp_path/'out', endpoint=f'http://127.0.0.1:{port}')
    assert list(tmp_path.iterdir()) == []

def test_a_newer_share_replaces_an_older_one(run, tmp_path):
    share(run, tmp_path/'out', compact=True)
    before = (tmp_path/'out/model/weights.safetensors').stat().st_size
    share(run, tmp_path/'out')
    assert (tmp_path/'out/model/weights.safetensors').stat().st_size > 2*before
    with pytest.raises(BadModel, match='a run of its own'): (tmp_path/'out/run.json').write_text('{}') and share(run, tmp_path/'out')

# Models that come with the package

@pytest.mark.parametrize('name', sorted(packaged_models()))
def test_a_packaged_model_is_whole_and_has_a_card(name, tmp_path):
    folder = packaged_models()[name]
    check_shared(folder)
    card = (folder/'README.md').read_text(encoding='utf-8')
    assert card.startswith('---\nlibrary_name: astrovader\nlicense: apache-2.0\n') and hashlib.sha256((folder/'model/weights.safetensors').read_bytes()).hexdigest() in card
    assert all(f'## {title}\n' in card for title in ('Use', 'Training', 'Results', 'Limits', 'Files', 'Licence'))
    images,table = generate(name, 4, detail='none')
    assert images.shape[1:] == (packing_of(name)['n_bands'], *[packing_of(name)['size']]*2) and images.std() > 1

def test_a_local_folder_of_the_name_comes_first(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, 'sdss')
    assert open_model('sdss', 'cpu').arch.size == 16 and packing_of('sdss')['size'] == 16
    shutil.rmtree('sdss/model')
    with pytest.raises(BadModel, match='no trained model'): open_model('sdss', 'cpu')
    shutil.rmtree('sdss')
    assert open_model('sdss', 'cpu').arch.size == 64

def test_a_folder_is_pulled_without_a_hub(shared, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('astrovader.share.hub._library', lambda: pytest.fail('the Hub was asked'))
    monkeypatch.chdir(shared.parent)
    out = pull(shared.name, tmp_path/'pulled') # a relative path
    assert files(out) == files(shared) and all((out/name).read_bytes() == (shared/name).read_bytes() for name in files(out)) and verify(out) == 1
    assert 'is a folder on this computer' in capsys.readouterr().out
    shutil.copytree(shared, tmp_path/'changed')
    weights = tmp_path/'changed/model/weights.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1] + b'?')
    with pytest.raises(BadModel) as e: pull(str(tmp_path/'changed'), tmp_path/'out')
    assert f'{tmp_path}/changed/model/weights.safetensors has changed' in str(e.value) and not (tmp_path/'out').exists()
    with pytest.raises(BadInput, match='no revisions'): pull(str(shared), tmp_path/'out', 'v1')
