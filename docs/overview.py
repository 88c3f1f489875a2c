"nbs/images/overview.png, the picture in README: galaxies, their reconstructions, the components and synthetic galaxies of a run. `python docs/overview.py demo/run demo/survey` after `make demo`."
import sys
import matplotlib.pyplot as plt,numpy as np
from pathlib import Path
from astrovader.infer.catalogue import catalogue
from astrovader.model.inference import open_model,to_model
from astrovader.infer.generate import generate
from astrovader.show.colours import palette
from astrovader.show.image_plots import display_stretch,montage
from astrovader.data.survey import Survey

def panel(ax, rows, title, stretch, colours=None):
    "Rows of galaxies under a title, with the number of its component beside each"
    h,n = rows[0].shape[-1]+2,len(rows)
    ax.imshow(montage(stretch(np.concatenate(rows)), ncols=len(rows[0])), interpolation='nearest')
    ax.set_title(title, fontsize=9, loc='left')
    ax.axis('off')
    for c in range(n if colours else 0): ax.text(-8, h*(c+.5), c, color=colours[c], weight='bold', fontsize=8, ha='right', va='center')

def filled(x, n):
    "Up to `n` images, and black ones where there are fewer"
    return np.concatenate([x, np.zeros((n-len(x), *x.shape[1:]), x.dtype)])

def overview(run, survey, out, n=7):
    "Draw the picture"
    model,survey = open_model(run, 'cpu'),Survey(survey)
    cat = catalogue(model, survey)
    k = model.arch.n_components
    rows = [cat.index[cat.component==c][np.argsort(-cat.p_max[cat.component==c].to_numpy(), kind='stable')] for c in range(k)]
    x = np.concatenate([filled(survey.images(rows[c][max(0, min(20, len(rows[c])-2)):][:2]), 2) for c in range(k)])
    recon = model.decode(model.encode(to_model(x, model))[0]).clamp(0, 1).numpy()
    fig,axs = plt.subplots(1, 3, figsize=(9, 4.8), layout='constrained')
    pairs = [np.stack([x[2*c]/255, recon[2*c], x[2*c+1]/255, recon[2*c+1]]) for c in range(k)]
    stretch = display_stretch(x)
    panel(axs[0], pairs, 'galaxies, and their reconstructions', stretch)
    panel(axs[1], [filled(survey.images(rows[c][:n]), n) for c in range(k)], 'most probable members of each component', stretch, palette(k))
    panel(axs[2], [generate(model, n, component=c, seed=c)[0] for c in range(k)], 'synthetic galaxies of each component', stretch, palette(k))
    fig.savefig(out, dpi=100)

if __name__ == '__main__': overview(sys.argv[1], sys.argv[2], *(sys.argv[3:] or [Path(__file__).parents[1]/'nbs/images/overview.png']))
