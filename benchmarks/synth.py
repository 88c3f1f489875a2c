"Simulated images a second, and how many times that is what one-galaxy-at-a-time Sersic2D models reach in the same run."
import argparse,time
import numpy as np
from astropy.convolution import Moffat2DKernel,convolve_fft
from astropy.modeling.models import Sersic2D
from astrovader.core import provenance,write_json
from astrovader.data.synth import galaxies,render,sky,stretch

def one_by_one(truth, size):
    "The baseline: bulge and disk of each galaxy from a model of its own on a grid twice as fine, blurred and averaged; no arms, stars or noise."
    c = (np.arange(2*size)+.5)/2 - size/2
    x,y = np.meshgrid(c, c)
    out = np.empty((len(truth), 1, size, size), np.float32)
    for im,o in zip(out, truth.itertuples()):
        pa = np.radians(o.orientation)
        b = Sersic2D(1, o.bulge_r_eff, o.bulge_n, o.x_0, o.y_0, 1-o.bulge_axis_ratio, pa)(x, y)
        light = o.flux*o.bulge_fraction*b/b.sum()
        if o.kind != 'elliptical':
            d = Sersic2D(1, o.r_eff, o.sersic_n, o.x_0, o.y_0, 1-o.axis_ratio, pa)(x, y)
            light += o.flux*(1-o.bulge_fraction)*d/d.sum()
        psf = Moffat2DKernel(o.psf_fwhm/np.sqrt(2**(1/3)-1), 3, x_size=33, y_size=33)
        light = convolve_fft(light, psf, boundary='wrap', normalize_kernel=True)
        im[0] = light.reshape(size, 2, size, 2).sum((1, 3))/o.arcsec_per_px**2
    return stretch(out)

def rate(f, n):
    "Images a second, wall-clock."
    t = time.perf_counter()
    f(n)
    return n/(time.perf_counter()-t)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--n', type=int, default=2000, help='images that each repetition simulates')
    p.add_argument('--size', type=int, default=64, help='side of the images in pixels')
    p.add_argument('--bands', type=int, default=1, help='1 or 3')
    p.add_argument('--repeats', type=int, default=3, help='repetitions, in turn with the baseline; the median counts')
    p.add_argument('--json', help='write the result to this file')
    a = p.parse_args()
    truth = galaxies(max(a.n//20, 50), a.size)
    render(truth[:4], a.size, a.bands)
    got = [(rate(lambda n: sky(n, a.size, bands=a.bands), a.n), rate(lambda n: one_by_one(truth, a.size), len(truth))) for _ in range(a.repeats)]
    ours,base = np.median(got, axis=0)
    out = dict(benchmark='synth', n=a.n, size=a.size, bands=a.bands, images_per_s=ours, baseline='one Sersic2D model at a time',
        baseline_images_per_s=base, ratio=ours/base, ratios=[o/b for o,b in got], seconds_for_10000=1e4/ours, **provenance())
    print(f"{ours:.0f} images/s, {out['ratio']:.1f} times one model at a time ({base:.0f} images/s); 10,000 images take {1e4/ours:.0f} s")
    if a.json: write_json(a.json, out)

if __name__ == '__main__': main()
