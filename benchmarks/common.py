"What the benchmarks share: runs in turn and their medians, the machine and its ceiling, one table and one JSON file."
import argparse,os,platform,subprocess,time,torch
import pandas as pd
from pathlib import Path
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from astrovader.core import provenance,write_json
from astrovader.hardware import has_bf16
from astrovader.model.losses import VaDELoss
from astrovader.model.vade import VaDE

def parser(doc, device=True):
    "An `ArgumentParser` with what every benchmark has."
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument('--rounds', type=int, default=5, help='repetitions of each run, all in turn; the median counts')
    p.add_argument('--json', help='write the result to this file')
    p.add_argument('--ceiling-scale', type=float, default=1., help='size of the products that measure the ceiling, as a share of the usual; less than 1 for tests')
    if device: p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='where to compute')
    return p

def commit():
    "The commit of this checkout, with a plus where it has changes; None where it is none."
    def git(*args): return subprocess.run(['git', '-C', Path(__file__).parent, *args], capture_output=True, text=True, check=True).stdout.strip()
    try: return git('rev-parse', 'HEAD') + '+'*bool(git('status', '--porcelain', '--untracked-files=no', '--', '../astrovader', '.'))
    except (OSError, subprocess.CalledProcessError): return None

def processor():
    "The name of the processor."
    try: return next(o.split(':')[1].strip() for o in Path('/proc/cpuinfo').read_text().splitlines() if o.startswith('model name'))
    except (OSError, StopIteration): return platform.processor() or platform.machine()

def cores():
    "How many cores this process may use."
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()

def machine(device='cpu'):
    "What computed, with which versions, at which commit."
    cuda = torch.device(device).type == 'cuda'
    name = torch.cuda.get_device_name(device) if cuda else processor()
    return dict(device=name, cores=cores(), threads=torch.get_num_threads(), cuda=torch.version.cuda if cuda else None, commit=commit(), **provenance())

def wait(device='cpu'):
    "Until the device has done all that was asked of it."
    if torch.device(device).type == 'cuda': torch.cuda.synchronize(device)

def seconds(f, device='cpu'):
    "Seconds that `f` takes, wall-clock, until the device is done."
    wait(device)
    t = time.perf_counter()
    f()
    wait(device)
    return time.perf_counter()-t

def alternate(runs, rounds=5, device='cpu', warm=1):
    "Each of `runs`, name to function, once a round: a table of the median, the least and the most seconds, and all of them."
    for _ in range(warm):
        for f in runs.values(): f()
    took = pd.DataFrame([{k: seconds(f, device) for k,f in runs.items()} for _ in range(rounds)])
    return pd.DataFrame(dict(median=took.median(), least=took.min(), most=took.max(), all=[took[k].tolist() for k in took]), index=took.columns)

def rates(t, n):
    "Of a table of `alternate`: `n` of something in each run, so many a second."
    return pd.DataFrame(dict(per_s=n/t['median'], slowest=n/t['most'], fastest=n/t['least']))

def best(f, flop, device, budget=1.):
    "The most FLOP/s that `f`, worth `flop`, reached within some `budget` seconds."
    f()
    took, until = [], time.perf_counter()+budget
    while len(took) < 3 or time.perf_counter() < until: took.append(seconds(f, device))
    return flop/min(took)

def working_dtype(device='cpu', bf16=True):
    "bfloat16 if it is wanted and the device computes in it without emulation, otherwise float32."
    return torch.bfloat16 if bf16 and has_bf16(device) else torch.float32

def ceiling(device='cpu', dtype=None, scale=1.):
    "Measured GFLOP/s of a square matrix product, and of a 5x5 convolution of 64 planes to 64 at 128 px, channels last; their sides and times multiplied by `scale`."
    dtype = dtype or working_dtype(device)
    m,n = (8192, 128) if torch.device(device).type == 'cuda' else (2048, 8)
    m,side = max(1, round(m*scale)),max(1, round(128*scale))
    a,b = (torch.randn(m, m, device=device, dtype=dtype) for _ in range(2))
    x,w = (torch.randn(*shape, device=device, dtype=dtype).to(memory_format=torch.channels_last) for shape in ((n, 64, side, side), (64, 64, 5, 5)))
    with torch.no_grad():
        return dict(matmul=best(lambda: a@b, 2*m**3, device, scale)/1e9,
            conv=best(lambda: F.conv2d(x, w, padding=2), 2*n*side**2*64**2*25, device, scale)/1e9)

def flops(arch):
    "GFLOP of an image in encoding, decoding and a training step."
    def count(f):
        with FlopCounterMode(display=False) as c: f()
        return c.get_total_flops()/1e9
    m,x,z = VaDE(arch),torch.rand(1, arch.bands, arch.size, arch.size),torch.zeros(1, arch.n_latent)
    encode,generate = count(lambda: m.encoder(x)),count(lambda: m.decoder(z))
    return dict(encode=encode, generate=generate, catalogue=encode+generate, train=count(lambda: VaDELoss(m)(m(x), x).backward()))

def finish(rows, args, name, **more):
    "Print one table, and write it as JSON with the settings, the machine and whatever else is named where `--json` says."
    t = pd.DataFrame(rows)
    print(t.to_string(index=False, float_format=lambda v: f'{v:,.3g}' if abs(v) < 100 else f'{v:,.0f}', na_rep='-'))
    out = dict(benchmark=name, settings={k: v for k,v in vars(args).items() if k not in ('json', 'python', 'profile')}, rows=t.astype(object).where(t.notna(), None).to_dict('records'),
        **more, **machine(getattr(args, 'device', 'cpu')))
    if args.json: write_json(args.json, out)
    return out
