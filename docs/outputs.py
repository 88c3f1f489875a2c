"Runs notebooks and stores their outputs: `python docs/outputs.py nbs/model/31_mixture.ipynb ...`. With --check, compares the kinds of outputs with those stored, and changes nothing."
import argparse,base64,io,json,re,subprocess,sys,tempfile
from pathlib import Path
import numpy as np,nbdev.test
from execnb.shell import CaptureShell
from nbdev.config import get_config
from PIL import Image

# Pictures: nearly grey pixels keep a scale of greys and all others share 96 colours, which makes files small

def _palette(pixels, coloured, n_greys):
    "The palette image of RGB pixels"
    index = np.rint(pixels.mean(2)/255*(n_greys-1)).astype(np.uint8)
    table = np.linspace(0, 255, n_greys).round().astype(int).repeat(3).tolist()
    if coloured.any():
        quantised = Image.fromarray(pixels[coloured][None]).quantize(96, dither=Image.Dither.NONE)
        index[coloured] = n_greys + np.asarray(quantised)[0]
        table += quantised.getpalette()[:96*3]
    picture = Image.fromarray(index)
    picture.putpalette(table)
    return picture

def small(png):
    "A PNG in base64 with a palette: 160 greys, or 64 where it is large, and 96 colours"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(''.join(png)))).convert('RGB'))
    coloured = np.ptp(pixels.astype(int), axis=2) > 24
    for n_greys in 160,64:
        _palette(pixels, coloured, n_greys).save(file := io.BytesIO(), 'png', optimize=True)
        if file.tell() < 120_000: break
    return base64.b64encode(file.getvalue()).decode()

# Outputs

_progress = re.compile(r'[\w ]+: \d+/\d+\n?')
_temporary = re.compile(re.escape(tempfile.gettempdir()) + r'/tmp\w+/?')

def kept(output, picture=small):
    "An output as it is stored, its PNG made smaller, without the names of temporary folders; None for warnings, progress and empty text"
    if output['output_type'] == 'stream':
        lines = ''.join(output['text']).splitlines(keepends=True)
        lines = [_temporary.sub('', line) for line in lines if not _progress.fullmatch(line)]
        return {**output, 'text': lines} if output['name'] == 'stdout' and ''.join(lines).strip() else None
    data = output.get('data', {})
    if 'image/png' in data: return {**output, 'data': {'image/png': picture(data['image/png'])}}
    return output if {'text/html', 'text/plain'} & set(data) else None

def kind(output):
    "'text', 'table' or 'figure'"
    data = output.get('data', {})
    return 'figure' if 'image/png' in data else 'table' if 'text/html' in data else 'text'

def kinds(cell): return sorted({kind(output) for output in cell['outputs']})

# Notebooks

def is_hidden(cell): return bool(re.search(r'^#\|\s*hide', ''.join(cell['source']), flags=re.M))

def executed(path, slow=False, picture=small):
    "The notebook with the outputs of a run by nbdev-test, or None where a cell fails; cells that nbdev-test skips keep theirs"
    skipped = [] if slow else get_config(path.parent).tst_flags.split()
    ran = []
    class Shell(CaptureShell):
        def __init__(self, path, **kwargs): super().__init__(path, mpl_format='png', **kwargs)
        def run_all(self, nb, **kwargs):
            super().run_all(nb, **kwargs)
            ran.append(nb)
    nbdev.test.CaptureShell = Shell
    ok,_ = nbdev.test.test_nb(path, skip_flags=skipped, basepath=get_config(path.parent).config_path)
    if not ok: return None
    outputs = {cell.id: cell.get('outputs', []) for cell in ran[0].cells}
    nb = json.loads(path.read_text(encoding='utf-8'))
    for cell in nb['cells']:
        if cell['cell_type'] != 'code': continue
        found = [] if is_hidden(cell) else [kept(json.loads(json.dumps(output)), picture) for output in outputs[cell['id']]]
        cell['outputs'] = [output for output in found if output]
    return nb

def permitted(cell):
    "The kinds of outputs that a cell may give: those stored, and the one of a line such as `#| or text`, where they depend on the run"
    others = re.findall(r'^#\|\s*or (text|table|figure|nothing)$', ''.join(cell['source']), flags=re.M)
    return [kinds(cell)] + [[other] if other != 'nothing' else [] for other in others]

def differences(stored, nb):
    "A line for each visible cell whose stored outputs are missing or of another kind"
    for cell,now in zip(stored['cells'], nb['cells']):
        if cell['cell_type'] != 'code' or kinds(now) in permitted(cell): continue
        first = next((line for line in ''.join(cell['source']).splitlines() if not line.startswith('#|')), '')
        yield f"the cell {first[:60]!r} gives {', '.join(kinds(now)) or 'nothing'}, and {', '.join(kinds(cell)) or 'nothing'} is stored"

def refresh(path, check=False, slow=False):
    "Run one notebook; store its outputs, or compare their kinds"
    nb = executed(path, slow, picture=str if check else small)
    if nb is None: sys.exit(f'{path} does not run; its outputs stay as they were.')
    if check:
        wrong = list(differences(json.loads(path.read_text(encoding='utf-8')), nb))
        if wrong: sys.exit('\n'.join([f'{path}: run python docs/outputs.py {path}, look at it, and commit it:', *wrong]))
    else:
        path.write_text(json.dumps(nb), encoding='utf-8')
        subprocess.run([Path(sys.executable).parent/'nbdev-clean', '--fname', path], check=True)
    print(f'{path}: Success.')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('notebooks', nargs='+', type=Path)
    parser.add_argument('--check', action='store_true')
    parser.add_argument('--slow', action='store_true', help='run the cells that begin with #| slow, too')
    args = parser.parse_args()
    for notebook in args.notebooks: refresh(notebook.absolute(), args.check, args.slow)
