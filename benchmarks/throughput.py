"Images per second in encoding, generation and training on this processor: astrovader in bfloat16, the same networks in plain torch, and plain Keras models of the same architecture in float32 and mixed_bfloat16, measured in turn in one run; also as shares of the processor's measured ceiling."
import json,os,subprocess,sys,time
import pandas as pd,torch
from pathlib import Path
from astrovader.hardware import has_bf16
from astrovader.model.device import at_precision,set_precision
from astrovader.model.losses import VaDELoss
from astrovader.train.phases import get_preset
from astrovader.model.vade import VaDE
from common import ceiling,cores,finish,flops,parser,working_dtype

# The baseline

class Keras:
    "The process of keras_baseline.py."
    def __init__(self, python, **asked):
        env = os.environ | dict(TF_CPP_MIN_LOG_LEVEL='3', CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS=str(asked['threads']))
        self.p = subprocess.Popen([python, str(Path(__file__).with_name('keras_baseline.py'))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.versions = json.loads(self.ask(json.dumps(asked)))
    def ask(self, line):
        self.p.stdin.write(line+'\n')
        self.p.stdin.flush()
        answer = self.p.stdout.readline()
        if not answer: raise SystemExit('The process with Keras ended; run it with --python of an environment where TensorFlow works.')
        return answer
    def __call__(self, what): return float(self.ask(what))
    def close(self):
        self.p.stdin.close()
        self.p.wait()

def has_keras(python): return subprocess.run([python, '-c', 'import importlib.util as u, sys; sys.exit(not u.find_spec("tensorflow"))']).returncode == 0

# Ours

class Torch:
    "A `VaDE` at one precision: 'float32', 'autocast' for bfloat16 by torch's autocast, or 'astrovader' for bfloat16 by `FusedCPUNet`."
    def __init__(self, arch, how, batch, train_batch):
        torch.manual_seed(0)
        model,how = VaDE(arch).to(memory_format=torch.channels_last),(how != 'float32', 10**9*(how == 'astrovader'))
        self.model,self.learns = at_precision(model, *how, batch),at_precision(model, *how, train_batch)
        self.loss,self.opt = VaDELoss(model),torch.optim.Adam(model.parameters(), 3e-4, fused=True)
        self.loss.weights = dict(gaussian_kl=0., mixture_kl=.3)
        size = arch.bands,arch.size,arch.size
        self.x,self.y,self.z = torch.rand(batch, *size),torch.rand(train_batch, *size),torch.randn(batch, arch.n_latent)
    def step(self):
        loss = self.loss(self.learns(self.y), self.y)
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
    def __call__(self, what):
        run = dict(encode=lambda: self.model.encode(self.x), generate=lambda: self.model.decode(self.z), train=self.step)[what]
        with torch.set_grad_enabled(what == 'train'):
            t = time.perf_counter()
            run()
            return time.perf_counter()-t

def measure(preset, a, top):
    "Rows of one preset; each implementation runs once in every round."
    arch = get_preset(preset).arch
    scale = 1 if arch.size >= 128 else 8
    batch,train_batch,work = a.batch*scale,a.train_batch*scale,flops(arch)
    precisions = ('float32', 'autocast', 'astrovader') if has_bf16('cpu') else ('float32',)
    who = {f'torch {o}' if o != 'astrovader' else o: Torch(arch, o, batch, train_batch) for o in precisions}
    policies = ('float32', 'mixed_bfloat16') if has_bf16('cpu') else ('float32',)
    plain = json.loads(json.dumps(vars(arch)))
    if a.python: who |= {f'keras {o}': Keras(a.python, arch=plain, batch=batch, train_batch=train_batch, threads=a.threads, policy=o) for o in policies}
    rows = []
    for what in a.what:
        for f in who.values(): f(what), f(what)
        took = pd.DataFrame([{k: f(what) for k,f in who.items()} for _ in range(a.rounds)])
        rate = (train_batch if what == 'train' else batch)/took
        for k in who:
            r = rate[k]
            row = dict(preset=preset, what=what, who=k, per_s=r.median(), slowest=r.min(), fastest=r.max(), of_ceiling=r.median()*work[what]/top)
            rows.append(row | {f'x {o}': (r/rate[o]).median() for o in who if o.startswith('keras')})
    for o in who.values():
        if isinstance(o, Keras): o.close()
    versions = next((o.versions for o in who.values() if isinstance(o, Keras)), {})
    return rows,versions

def main():
    p = parser(__doc__, device=False)
    p.add_argument('--presets', nargs='+', default=['full', 'small'], help="'full' has the paper's sizes")
    p.add_argument('--batch', type=int, default=128, help='images at a time in encoding and generating; eight times as many for small images')
    p.add_argument('--train-batch', type=int, default=180, help='images in a training step, likewise')
    p.add_argument('--threads', type=int, default=cores(), help='threads of each')
    p.add_argument('--python', default=sys.executable, help='the Python whose Keras is the baseline; empty for none')
    p.add_argument('--what', nargs='+', default=['encode', 'generate', 'train'], help='what to measure')
    p.add_argument('--quick', action='store_true', help='three rounds, smaller batches')
    a = p.parse_args()
    if a.quick: a.rounds,a.batch,a.train_batch = 3,64,60
    if not a.python or not has_keras(a.python):
        print("Keras is not installed here, so there is no baseline: pip install 'astrovader[bench]', or name another Python with --python.")
        a.python = None
    torch.set_num_threads(a.threads)
    set_precision()
    if not has_bf16('cpu'): print('This processor does not compute in bfloat16, so only float32 is measured.')
    top = ceiling('cpu', scale=a.ceiling_scale)
    rows,versions = [],{}
    for o in a.presets:
        more,versions = measure(o, a, top['conv'])
        rows += more
    print(f"ceiling in {str(working_dtype()).removeprefix('torch.')}: {top['matmul']:,.0f} GFLOP/s in a matrix product, {top['conv']:,.0f} in a convolution")
    finish(rows, a, 'throughput', ceiling=top, baseline=versions)

if __name__ == '__main__': main()
