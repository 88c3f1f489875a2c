"The statistics of images against statmorph, on the same galaxies, and their speed."
import time,warnings
import numpy as np,pytest
from scipy import ndimage
from astrovader.analysis.image_statistics import image_statistics
from astrovader.data.synth import galaxies,render

names = ['concentration', 'asymmetry', 'smoothness', 'gini', 'm20']

def clumpy(n, size):
    "Galaxies with a clump beside the centre, which makes them asymmetric"
    images = render(galaxies(n, size, seed=11, companions=0, stars=0, artifacts=0), size).astype(np.float32)
    r, (v, u) = np.random.default_rng(0), np.mgrid[:size,:size]-size/2
    for image in images[:,0]:
        x,y = r.uniform(-1, 1, 2)*size/12
        share = r.uniform(.05, .3)*image[size//4:-size//4,size//4:-size//4].sum()
        image += share/(2*np.pi*(size/50)**2)*np.exp(-((u-x)**2+(v-y)**2)/2/(size/50)**2)
    return images

def by_statmorph(images):
    "Flags and statistics by statmorph"
    statmorph = pytest.importorskip('statmorph', reason='statmorph is not installed; it comes with the extra dev')
    rows = []
    for image in images[:,0].astype(float):
        image = image - np.median(np.concatenate([image[[0, -1]].ravel(), image[:,[0, -1]].ravel()]))
        smooth = ndimage.gaussian_filter(image, 2)
        labels, _ = ndimage.label(smooth > 3*smooth[:8].std())
        segment = np.int64(labels == labels[tuple(n//2 for n in image.shape)])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            found = statmorph.SourceMorphology(image, segment, 1, weightmap=np.full_like(image, .1), cutout_extent=3)
        rows.append([found.flag, *(getattr(found, name) for name in names)])
    return np.array(rows)

def test_agreement_with_statmorph():
    images = clumpy(24, 128)
    theirs, ours = by_statmorph(images), image_statistics(images)
    good = theirs[:,0] < 2
    assert good.sum() >= 15
    for name,values in zip(names, theirs[good,1:].T):
        difference = np.median(np.abs(ours[name][good]-values))
        print(f'{name}: median difference {difference:.4f}, median {np.median(values):.4f}, scatter {np.std(values):.4f}')
        assert difference < .05*np.median(np.abs(values)), name

def seconds(function, images):
    begin = time.process_time()
    function(images)
    return time.process_time()-begin

def test_many_times_faster_than_statmorph():
    images = clumpy(16, 64)
    image_statistics(images[:2])
    ratio = seconds(by_statmorph, images)/seconds(image_statistics, images)
    print(f'{ratio:.0f} times as fast as statmorph')
    assert ratio > 40
