"Speed of one GPU in encoding, generation and training, as a share of the device's measured ceilings; and the time of the paper's 350 epochs, extrapolated from some epochs of each phase. All of it calls the functions that users call. Runs on a CPU at toy sizes."
import resource,tempfile,time,torch
import numpy as np,pandas as pd
from fastai.callback.core import Callback
from functools import partial
from pathlib import Path
from astrovader.infer.catalogue import catalogue
from astrovader.model.device import at_precision
from astrovader.infer.generate import generate
from astrovader.train.learner import vade_learner
from astrovader.train.phases import get_preset,plan
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from common import alternate,ceiling,finish,flops,parser,rates,wait,working_dtype

def survey_of(d, n, size):
    "A survey of `n` images, in which up to 500 simulated galaxies repeat."
    xs = sky(min(n, 500), size)[0]
    return pack_arrays((xs[np.arange(i, min(i+2000, n))%len(xs)] for i in range(0, n, 2000)), Path(d)/'survey')

# Encoding and generating

def compiled(model):
    "The same model, with its networks compiled by torch.compile."
    model = at_precision(model, model.bf16)
    def compiled_net(net):
        function = torch.compile(net)
        def run(x):
            with torch.autocast(model.device.type, torch.bfloat16, enabled=model.bf16): return function(x)
        return run
    model.fused = {net: compiled_net(net) for net in (model.encoder, model.decoder)}
    return model

def inference(model, survey, a):
    "A table of images per second: of the networks alone, with all data on the device; of a whole catalogue; and of generation with the bytes on the host."
    n,bf16 = min(a.n_inference, len(survey)),get_preset(a.preset).bf16
    model = at_precision(model.to(a.device).eval(), bf16, n)
    models = {'': model} | ({', compiled': compiled(model)} if a.compile else {})
    xs = torch.from_numpy(survey.images(slice(0, a.batch))).to(a.device)/255
    zs = torch.randn(len(xs), model.arch.n_latent, device=a.device)
    k = max(1, n//len(xs))
    @torch.no_grad()
    def many(f, x): return [f(x) for _ in range(k)]
    runs = {f'{what}{how}': (getattr(m, f), x) for how,m in models.items() for what,f,x in (('encode', 'encode', xs), ('generate', 'decode', zs))}
    alone = alternate({k: partial(many, *o) for k,o in runs.items()}, a.rounds, a.device)
    whole = alternate(dict(catalogue=lambda: catalogue(model, survey, batch=a.batch, device=a.device, bf16=bf16)), a.rounds, a.device)
    drawn = alternate({'generate, to bytes': lambda: generate(model, n, batch=a.batch, device=a.device, bf16=bf16)}, a.rounds, a.device)
    return pd.concat([rates(alone, k*len(xs)), rates(whole, len(survey)), rates(drawn, n)])

# Training

class Early(Callback):
    "Records when each epoch begins, before the other callbacks."
    order = 14
    def __init__(self, device): self.device,self.at = device,[]
    def now(self):
        wait(self.device)
        self.at.append(time.perf_counter())
    def before_epoch(self): self.now()
    def after_fit(self): self.now()

class Late(Early):
    "Records when the initialisation of the mixture is over, and the device's time for every `every` training batches."
    order = 16
    def __init__(self, device, every): self.device,self.every,self.at,self.marks = device,every,[],[]
    def mark(self):
        if torch.device(self.device).type != 'cuda': return time.perf_counter()
        e = torch.cuda.Event(enable_timing=True)
        e.record()
        return e

    def before_train(self): self.marks.append([self.mark()])
    def after_batch(self):
        if self.training and (self.iter+1)%self.every == 0: self.marks[-1].append(self.mark())

    def seconds(self):
        "The seconds of each group of batches, by epoch."
        def between(a, b): return b-a if isinstance(a, float) else a.elapsed_time(b)/1e3
        wait(self.device)
        return [[between(a, b) for a,b in zip(o, o[1:])] for o in self.marks]

def stretch(survey, a, d):
    "Train some epochs of every phase; returns the model, the seconds of each epoch, those of the mixture's initialisation, and images per second in training steps."
    torch.manual_seed(a.seed)
    p = dict(epochs_alpha=a.epochs, epochs_anneal=a.epochs, epochs_static=a.epochs, n_periods=1)
    learn = vade_learner(survey, a.preset, Path(d)/'run', a.seed, a.device, **p)
    data = learn.dls.train.dataset
    every = max(1, min(a.every, len(learn.dls.train)))
    learn.add_cbs([early := Early(a.device), late := Late(a.device, every)])
    learn.fit_phases()
    init = late.at[a.epochs]-early.at[a.epochs]
    t = pd.DataFrame(dict(phase=learn.history.phase, seconds=np.diff(early.at)))
    t.loc[a.epochs, 'seconds'] -= init
    took = [o for x in late.seconds()[1:] for o in x] # without the first epoch, which warms up
    per_s = every*learn.dls.train.bs/np.array(took)
    train = dict(per_s=np.median(per_s), slowest=per_s.min(), fastest=per_s.max())
    return learn.model,t,dict(init_s=init, images=len(data), batches=len(learn.dls.train), on_device=data.held is not None), train

def extrapolate(t, found, a):
    "Seconds of the preset's whole schedule with the paper's number of images; prints the sum."
    scale,preset = a.n_paper/found['images'],get_preset(a.preset)
    n = pd.Series([o.epochs for o in plan(preset)], [o.name for o in plan(preset)]).groupby(level=0, sort=False).sum()
    s = t[1:].groupby('phase', sort=False).seconds.median() # without the first epoch, which warms up
    total = scale*(n*s).sum() + found['init_s']
    terms = ' + '.join(f'{n[o]} x {s[o]:.3g} s ({o})' for o in n.index)
    print(f"{a.n_paper:,}/{found['images']:,} x ({terms}) + {found['init_s']:.3g} s for the mixture = {total:,.0f} s = {total/60:,.1f} minutes")
    return dict(seconds=total, epochs={k: int(v) for k,v in n.items()}, epoch_seconds=s.to_dict(), scale=scale)

# The table

def peak(device):
    "The largest memory use in GB, of the device or of this process."
    if torch.device(device).type == 'cuda': return torch.cuda.max_memory_allocated(device)/1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6

def profiled(learn, path):
    "Write a table of the operations in a few training steps by their time."
    from torch.profiler import ProfilerActivity,profile
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA]*torch.cuda.is_available()
    with profile(activities=kinds) as prof: learn.fit(1)
    by = 'self_cuda_time_total' if torch.cuda.is_available() else 'self_cpu_time_total'
    Path(path).write_text(prof.key_averages().table(sort_by=by, row_limit=30))

def main():
    p = parser(__doc__)
    p.add_argument('--preset', default='full', help="what is trained; 'full' has the paper's sizes, in bfloat16")
    p.add_argument('--n', type=int, default=164_600, help='images in the survey, those that validate too')
    p.add_argument('--n-paper', type=int, default=159_600, help='images that the paper trained on, for the extrapolation')
    p.add_argument('--n-inference', type=int, default=100_000, help='images that each repetition encodes and generates, or all there are')
    p.add_argument('--size', type=int, default=128, help='side of the images in pixels')
    p.add_argument('--batch', type=int, default=1024, help='images at a time in encoding and generating')
    p.add_argument('--epochs', type=int, default=3, help='epochs of each phase that are timed, the first of all apart')
    p.add_argument('--every', type=int, default=50, help='training steps that are timed together')
    p.add_argument('--seed', type=int, default=0, help='of the training')
    p.add_argument('--compile', action='store_true', help='encode and generate with networks through torch.compile too')
    p.add_argument('--profile', help='write what some training steps spend their time on to this file')
    a = p.parse_args()
    dtype = working_dtype(a.device, get_preset(a.preset).bf16)
    with tempfile.TemporaryDirectory() as d:
        survey = survey_of(d, a.n, a.size)
        model,t,found,train = stretch(survey, a, d)
        memory,table = dict(training=peak(a.device)), inference(model, survey, a)
        if a.profile: profiled(vade_learner(pack_arrays(survey.images(slice(0, 4000)), Path(d)/'few'), a.preset, device=a.device), a.profile)
    table.loc['train'] = train
    top,work = ceiling(a.device, dtype, a.ceiling_scale),flops(model.arch)
    print(f"{found['images']:,} images to train on, {'on the device' if found['on_device'] else 'read as they are needed'}; "
        f"ceilings: matmul {top['matmul']:,.0f} GFLOP/s, convolution {top['conv']:,.0f} GFLOP/s")
    whole = extrapolate(t, found, a)
    rows = [dict(what=k, images_per_s=r.per_s, slowest=r.slowest, fastest=r.fastest, gflop=(g := work.get(k.split(',')[0])),
        percent_of_conv=g and 100*g*r.per_s/top['conv'], percent_of_matmul=g and 100*g*r.per_s/top['matmul']) for k,r in table.iterrows()]
    finish(rows, a, 'gpu', ceiling=top, memory_gb=memory | dict(all=peak(a.device)), stretch=found | dict(epochs=t.to_dict('records')), schedule=whole)

if __name__ == '__main__': main()
