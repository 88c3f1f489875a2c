"Runs notebooks and keeps the figures, tables and short answers that a reader wants: `python docs/figures.py nbs/31_mixture.ipynb ...`. Progress and long listings are dropped, and pictures become small."
import base64,io,json,subprocess,sys
import numpy as np
from pathlib import Path
from PIL import Image

def drawn(x, coloured, greys):
    "Pixels as a PNG with so many greys and at most 96 colours"
    which, table = np.rint(x.mean(2)/255*(greys-1)).astype(np.uint8), np.linspace(0, 255, greys).round().astype(int).repeat(3).tolist()
    if coloured.any():
        few = Image.fromarray(x[coloured][None]).quantize(96, dither=Image.Dither.NONE)
        which[coloured], table = greys + np.asarray(few)[0], table + few.getpalette()[:96*3]
    out = Image.fromarray(which)
    out.putpalette(table)
    out.save(f := io.BytesIO(), 'png', optimize=True)
    return f.getvalue()

def small(png):
    "A PNG in base64 with 160 greys, or 64 where it would be large"
    x = np.asarray(Image.open(io.BytesIO(base64.b64decode(''.join(png)))).convert('RGB'))
    coloured = np.ptp(x.astype(int), axis=2) > 24
    got = drawn(x, coloured, 160)
    return base64.b64encode(got if len(got) < 150_000 else drawn(x, coloured, 64)).decode()

def kept(o):
    "An output as it is committed, or None"
    if o['output_type'] == 'stream': return o if o['name'] == 'stdout' and len(''.join(o['text']).splitlines()) <= 6 else None
    data = o.get('data', {})
    if 'image/png' in data: return {**o, 'data': {'image/png': small(data['image/png'])}}
    return o if o['output_type'] in ('execute_result', 'display_data') and set(data) & {'text/html', 'text/plain'} else None

def refresh(path):
    "Run a notebook, and write it back with the outputs that are kept"
    before,bins = path.read_text(encoding='utf-8'),Path(sys.executable).parent
    if subprocess.run([bins/'nbdev-test', '--save', path]).returncode:
        path.write_text(before, encoding='utf-8')
        sys.exit(f'{path} does not run; its figures stay as they were.')
    nb = json.loads(path.read_text(encoding='utf-8'))
    for c in nb['cells']:
        hidden = '#| hide' in ''.join(c['source'])
        if c['cell_type'] == 'code': c['outputs'] = [] if hidden else [k for o in c['outputs'] if (k := kept(o))]
    path.write_text(json.dumps(nb), encoding='utf-8')
    subprocess.run([bins/'nbdev-clean', '--fname', path], check=True)

if __name__ == '__main__':
    for o in sys.argv[1:]: refresh(Path(o))
