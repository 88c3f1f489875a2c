"Images a second that canonical framing takes on one core, stage by stage, against the survey framing of the same images, which only cuts and resizes."
import cProfile,io,os,pstats
os.environ.setdefault('OMP_NUM_THREADS', '1')
import time
import numpy as np,pandas as pd
from zipfile import ZipFile
from PIL import Image
from common import finish,parser
from astrovader.data.cutouts import Flag,Stretch,decode,to_grey
from astrovader.data.framing import Recipe
from astrovader.data.segment import find_sources
from astrovader.data.shape import Scene,fit_shape
from astrovader.data.synth import sky

def jpegs(src, n, size):
    "The bytes of `n` images: of a zip, or simulated."
    if src:
        with ZipFile(src) as z:
            names = sorted(o for o in z.namelist() if o.endswith('.jpg'))
            return [z.read(o) for o in names[::max(1, len(names)//n)][:n]]
    def one(x):
        Image.fromarray(x.transpose(1, 2, 0)).save(f := io.BytesIO(), 'JPEG', quality=90)
        return f.getvalue()
    return [one(x) for x in sky(n, size, bands=3)[0]]

def shapes(xs):
    "The part of canonical framing that finds the galaxy and measures it, without making its frame."
    for x in xs: fit_shape(Scene.from_pixels(x, stretched=True))

def stages(files, size):
    "Name to function, each over all the images."
    xs = [decode(o) for o in files]
    def pack(framing, bands, n):
        r = Recipe(size, bands, n, framing=framing, stretch=Stretch.galaxy() if framing == 'canonical' else Stretch())
        return lambda: [r(decode(o)) for o in files]
    return {'read the JPEG': lambda: [decode(o) for o in files], 'find the sources': lambda: [find_sources(to_grey(x)[0]) for x in xs],
        'and measure the galaxy': lambda: shapes(xs), **{f'{framing}, {bands}': pack(framing, bands, n)
            for framing in ('canonical', 'survey') for bands,n in (('grey', 1), ('rgb', 3))}}

def seconds(f):
    "Seconds of processor time."
    t = time.process_time()
    f()
    return time.process_time()-t

def profile(f, n, most=10):
    "The functions that take most time of their own, in microseconds an image, and the number of calls an image."
    p = cProfile.Profile()
    p.runcall(f)
    stats = pstats.Stats(p)
    own = sorted(((took, name, os.path.basename(file), calls) for (file,_,name),(_,calls,took,*_) in stats.stats.items()), reverse=True)
    return stats.total_calls/n, [dict(function=name, file=file, us_an_image=1e6*took/n, calls_an_image=calls/n) for took,name,file,calls in own[:most]]

def main():
    p = parser(__doc__, device=False)
    p.add_argument('--src', help='a zip of JPEGs; simulated galaxies without it')
    p.add_argument('--n', type=int, default=300, help='how many images')
    p.add_argument('--image', type=int, default=128, help='size of the simulated images')
    p.add_argument('--size', type=int, default=64, help='size they are framed to')
    args = p.parse_args()
    files = jpegs(args.src, args.n, args.image)
    runs = stages(files, args.size)
    for f in runs.values(): f()
    took = pd.DataFrame([{k: seconds(f) for k,f in runs.items()} for _ in range(args.rounds)])
    n,base = len(files),took['survey, grey'].median()
    rows = [dict(what=k, images_per_s=n/o.median(), slowest=n/o.max(), fastest=n/o.min(), ms_an_image=1e3*o.median()/n, times_survey_framing=o.median()/base)
        for k,o in took.items()]
    r = Recipe(args.size, framing='canonical', stretch=Stretch.galaxy())
    flags = np.array([r(decode(o))[2] for o in files])
    shares = {o.name.lower(): float(np.mean(flags & o.value > 0)) for o in Flag}
    calls,costly = profile(runs['canonical, grey'], n)
    print(pd.DataFrame(costly).round(2).to_string(index=False), f'\n{calls:.0f} calls an image for canonical, grey, of which these take most time')
    print('processor time of one core; the last four rows read the JPEG, frame and stretch it')
    finish(rows, args, 'framing', baseline='survey, grey', images=n, flags=shares, calls_an_image=calls, profile=costly)
    print(', '.join(f'{k} {v:.1%}' for k,v in shares.items() if v))

if __name__ == '__main__': main()
