"How real the galaxies are that a model draws: trainings by seeds, with the detail model and without it, and the share of time that it takes. What is finished stays in --out, and the same command goes on from there."
import os
os.environ.setdefault('OMP_NUM_THREADS', '1')
import argparse,time,torch
import matplotlib.pyplot as plt,numpy as np
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from common import machine
from morphology import survey_of
from astrovader.analysis.realism import realism
from astrovader.core import read_json,write_json
from astrovader.data.pack import pack
from astrovader.infer.generate import generate
from astrovader.model.vade import VaDE
from astrovader.share.keras import import_keras
from astrovader.show.image_plots import display_stretch,montage
from astrovader.train.learner import begin

def trained(args, survey, seed):
    "The folder of a run, trained now or before, with the seconds of processor time that it took."
    folder = args.out/'runs'/f'{args.preset}-detail-{seed}-{args.epochs_detail}'
    if not (folder/'model').exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(folder.with_suffix('.log'), 'a') as f, redirect_stdout(f):
            learn = begin(survey, folder, args.preset, seed, (folder/'run.json').exists(), 'cpu', epochs_detail=args.epochs_detail)
            start, first = time.process_time(), learn.first_epoch
            learn.fit_phases()
        write_json(folder/'time.json', dict(cpu_s=time.process_time()-start, epochs=len(learn.rows)-first))
    return folder

def published(args):
    "The run of the weights that the paper's authors published, and a survey of images in their framing."
    run, images = args.out/'runs/published', args.out/'surveys/published'
    import_keras(args.published, run)
    with redirect_stdout(StringIO()): survey = pack(args.published_images, images, 128, bands='grey', grey='luma', stretch='per_image', n_workers=1)
    return run, survey

def encoded(run, made, sure=.9):
    "The share of drawn galaxies whose component the encoder finds, among those of which it is sure."
    model = VaDE.load(run/'model')
    images, table = made
    x = torch.from_numpy(images).float()/255
    p = torch.cat([model.mixture.posterior(model.encode(part)[0]) for part in x.split(250)])
    is_sure = p.amax(1) > sure
    found = (p.argmax(1).numpy() == table.component)[is_sure.numpy()]
    return dict(recovered=float(found.mean()) if len(found) else None, sure=float(is_sure.float().mean()))

def speed(run, n=128):
    "Galaxies drawn in a second of one core, with detail, and decoded alone."
    def rate(detail):
        start = time.process_time()
        generate(run, n, detail=detail, device='cpu', bf16=True)
        return n/(time.process_time()-start)
    rate('none')
    return dict(drawn_per_s=rate('model'), decoded_per_s=rate('none'))

def measures(run, survey, n, seed, detail):
    "What `realism` measures, and how often the component of a draw is found."
    found = realism(run, survey, n, seed, detail=detail, device='cpu')
    rows = found.distances[found.distances.component == 'all'].set_index('statistic').distance.to_dict()
    made = generate(run, 1000, seed=seed, detail=detail, device='cpu', bf16=True)
    return dict(seed=seed, detail=detail, tests=found.tests.to_dict('records'), statistics=rows, verdict=found.verdict, **encoded(run, made))

def card(args, survey, seed, detail):
    "The measures of one training, computed now or before."
    path = args.out/f'realism-{args.preset}-{seed}-{args.epochs_detail}-{detail}.json'
    if not path.exists():
        run = trained(args, survey, seed)
        write_json(path, dict(model=args.preset, **measures(run, survey, args.n, seed, detail), **read_json(run/'time.json'), **(speed(run) if detail == 'model' else {})))
    return read_json(path)

def figure(run, path, n=9):
    "Galaxies of every component: decoded means, and draws with detail."
    k = VaDE.load(run/'model').arch.n_components
    fig, axs = plt.subplots(1, 2, figsize=(7.2, 3.6*k/n), layout='constrained')
    for ax,(detail,title) in zip(axs, {'none': 'decoded means', 'model': 'drawn with detail'}.items()):
        images = np.concatenate([generate(run, n, component=c, seed=c, detail=detail, device='cpu')[0] for c in range(k)])
        ax.imshow(montage(display_stretch(images)(images), ncols=n))
        ax.set_title(title, fontsize=9, loc='left').axes.axis('off')
    fig.savefig(path, dpi=100)

def text(each):
    "A row of the table."
    values = {row['test']: row for row in each['tests']}
    names = 'mean distance', 'mean distance, morphology', 'AUC, trees', 'AUC, network', 'memorised share'
    said = [f'{name} {values[name]["value"]:.3f} (floor {values[name]["floor"]:.3f})' for name in names if name in values]
    if each['recovered'] is not None: said.append(f'component recovered in {each["recovered"]:.1%} of the {each["sure"]:.0%} that are sure')
    return f'{each["model"]}, seed {each["seed"]}, detail {each["detail"]}: {", ".join(said)}'

def main(args):
    survey = survey_of(args, 'all', 'canonical', 'rgb')
    each = [card(args, survey, seed, detail) for seed in range(args.seeds) for detail in ('none', 'model')]
    if args.published: each.append(dict(model='published', **measures(*published(args), args.n, 0, 'none')))
    for one in each: print(text(one), flush=True)
    for one in each:
        if 'drawn_per_s' not in one: continue
        rate, relative = one['drawn_per_s'], one['drawn_per_s']/one['decoded_per_s']
        print(f'{rate:.0f} galaxies a second and core with detail, {relative:.3f} times as many as decoded means')
    if args.figure: figure(trained(args, survey, 0), args.figure)
    settings = dict(preset=args.preset, epochs_detail=args.epochs_detail, n=args.n, seeds=args.seeds, size=args.size)
    if args.json: write_json(args.json, dict(benchmark='realism', settings=settings, **machine(), rows=each))

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--votes', required=True, help='a zip of JPEGs')
    parser.add_argument('--unlabelled', nargs='*', default=[], help='zips of more images')
    parser.add_argument('--out', type=Path, default=Path('realism'), help='where surveys, runs and results are kept')
    parser.add_argument('--preset', default='morphology', help='preset of the trainings')
    parser.add_argument('--epochs-detail', type=int, default=20, help='epochs of the detail phase')
    parser.add_argument('--seeds', type=int, default=3, help='trainings, with seeds 0, 1, ...')
    parser.add_argument('--n', type=int, default=2000, help='galaxies of each kind that are compared')
    parser.add_argument('--size', type=int, default=64, help='height and width of the framed images, in pixels')
    parser.add_argument('--published', help='the HDF5 weights that the authors of the paper published, to be measured too')
    parser.add_argument('--published-images', help='a zip of images in their framing')
    parser.add_argument('--figure', help='draw galaxies of the first training into this file')
    parser.add_argument('--json', help='write the results into this file')
    main(parser.parse_args())
