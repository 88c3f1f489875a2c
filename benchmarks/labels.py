"How much a few labels tell: balanced accuracy against their number, by names of components, by a probe on the latents, and by a network that learns from the same labels alone; labels that were asked for beside random ones; and how often intervals cover what held-back votes say."
import os
os.environ.setdefault('OMP_NUM_THREADS', '1')
import argparse,torch
import numpy as np,pandas as pd
from sklearn.metrics import balanced_accuracy_score
from common import machine
from morphology import _taught,classes_of
from astrovader.analysis.naming import fit_probe,name_components,next_to_label
from astrovader.core import write_json
from astrovader.data.loaders import to_float
from astrovader.data.survey import Survey
from astrovader.infer.catalogue import catalogue
from astrovader.tables import numbered,read_table

fits = {'components': name_components, 'probe': fit_probe}

def fair(p, names, y):
    "Balanced accuracy, when every probability is divided by its mean."
    return float(balanced_accuracy_score(y, np.array(names, object)[(p/p.mean(0)).argmax(1)]))

def labels_for(cat, rows):
    "Labels of some rows of a catalogue, missing in the others."
    return cat.truth.where(cat.index.isin(rows))

def first_rows(cat, n, seed):
    "Random rows for labels, with two of every class at least, and those that are judged."
    order = np.random.default_rng(seed).permutation(len(cat))
    test, open_ = np.split(order, [min(1500, len(order)//2)])
    must = [row for name in cat.truth.unique() for row in open_[(cat.truth[open_] == name).to_numpy()][:2]]
    return [*dict.fromkeys([*must, *open_])][:n], test

def random_labels(cat, n, seed):
    "Scores of both ways with random labels."
    rows, test = first_rows(cat, n, seed)
    for way,fit in fits.items():
        found = fit(cat, labels_for(cat, rows))
        yield dict(way=way, labels=n, seed=seed, balanced=fair(found.probabilities(cat.iloc[test]), found.names, cat.truth[test]))

def asked_labels(cat, most, seed, batch=10):
    "Scores of both ways with ten random labels, and then those that are asked for, ten at a time."
    for way,fit in fits.items():
        rows, test = first_rows(cat, 10, seed)
        pool, found = cat.drop(index=test), fit(cat, labels_for(cat, rows))
        while len(rows) < min(most, len(pool)):
            asked = next_to_label(pool, found, batch, cat.object_id[rows])
            rows += cat.index[cat.object_id.isin(asked.object_id)].tolist()
            found = fit(cat, labels_for(cat, rows))
            score = fair(found.probabilities(cat.iloc[test]), found.names, cat.truth[test])
            if len(rows) in (20, 50, 100): yield dict(way=f'{way}, asked for', labels=len(rows), seed=seed, balanced=score)

def by_network(cat, images, n, seed, seen):
    "The score of a network that learns from the same labels."
    rows, test = first_rows(cat, n, seed)
    torch.manual_seed(seed)
    names = sorted(cat.truth.unique())
    codes = torch.from_numpy(pd.Categorical(cat.truth, names).codes.astype(np.int64))
    net = _taught(images[rows], codes[rows], len(names), max(1, round(seen/n)))
    with torch.no_grad(): p = torch.cat([net(to_float(part)).softmax(1) for part in images[test].split(250)]).double().numpy()
    return dict(way='network from scratch', labels=n, seed=seed, balanced=fair(p, names, cat.truth[test]))

def accuracy_of(found, rest, prefix):
    "The accuracy that names or a probe expect, the one that they have, and whether their interval holds it."
    right = (np.array(found.names)[found.probabilities(rest).argmax(1)] == rest.truth).mean()
    expected, least, most = found.accuracy(rest)
    return {f'{prefix}{name}': float(value) for name,value in dict(accuracy=least <= right <= most, expected=expected, right=right).items()}

def coverage(cat, n, seed, reference):
    "Fractions of 90% intervals that hold what the other votes say."
    order = np.random.default_rng([1, seed]).permutation(len(cat))
    rows, rest = order[:n], cat.iloc[order[n:]]
    if cat.truth[rows].nunique() < 2: return {}
    names = name_components(cat, labels_for(cat, rows))
    shares = pd.crosstab(numbered(rest, 'p').argmax(1), rest.truth, normalize='index')
    purity = names.purity()
    purity = purity[purity.component.isin(shares.index)]
    held = np.array([shares.loc[row.component, row.name_] for row in purity.rename(columns=dict(name='name_')).itertuples()])
    low, high = names.interval(rest)
    known = reference.probabilities(rest)[:,[reference.names.index(name) for name in names.names]]
    return dict(labels=n, purity=float(((purity.low <= held) & (held <= purity.high)).mean()), galaxy=float(((low <= known) & (known <= high)).mean()),
        width=float((purity.high-purity.low).mean()), **accuracy_of(names, rest, ''), **accuracy_of(fit_probe(cat, labels_for(cat, rows)), rest, 'probe_'))

def summary(each, by):
    "Means and standard deviations over sets of labels."
    t = pd.DataFrame(each).drop(columns='seed', errors='ignore')
    g = t.groupby(by, sort=False)
    out = g.mean().join(g.std().add_suffix("_sd")).reset_index()
    return out.assign(sets=g.size().to_numpy())

def bench(args):
    survey = Survey(args.survey)
    cat = catalogue(args.run, survey) if args.catalogue is None else read_table(args.catalogue)
    classes = classes_of(args, survey)
    ok = np.flatnonzero(~pd.isna(classes))
    cat = cat.iloc[ok].reset_index(drop=True).assign(truth=classes[ok].astype(str))
    reference = name_components(cat, cat.truth)
    covered = summary([o for seed in range(args.sets) for n in (20, 50, 100, 200) if n <= len(cat)//2 and (o := coverage(cat, n, seed, reference))], ['labels'])
    print(covered.round(3).to_string(index=False), flush=True)
    each = [o for seed in range(args.repeats) for n in args.labels for o in random_labels(cat, n, seed)]
    print(summary(each, ['way', 'labels']).round(3).to_string(index=False), flush=True)
    images = torch.from_numpy(survey.images(ok))
    each += [by_network(cat, images, n, seed, args.seen) for seed in range(args.networks) for n in args.labels]
    print(summary(each, ['way', 'labels']).round(3).to_string(index=False), flush=True)
    each += [o for seed in range(args.asked) for o in asked_labels(cat, 100, seed)]
    rows = summary(each, ['way', 'labels'])
    print(rows.round(3).to_string(index=False))
    settings = {name: value for name,value in vars(args).items() if name in ('labels', 'repeats', 'asked', 'sets', 'networks', 'seen')}
    records = lambda t: [{k: None if v != v else v for k,v in row.items()} for row in t.to_dict('records')]
    if args.json: write_json(args.json, dict(benchmark='labels', settings=settings, images=len(cat), classes=cat.truth.value_counts().to_dict(),
        rows=records(rows), coverage=records(covered), each=each, **machine()))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument('--table', required=True, help='votes under the names of Galaxy Zoo 2, with a column `image` of file names')
    p.add_argument('--survey', required=True, help='the survey of these images, such as morphology.py keeps in --out')
    p.add_argument('--run', required=True, help='a run on it')
    p.add_argument('--catalogue', help='its catalogue, where there is one')
    p.add_argument('--labels', type=int, nargs='+', default=[10, 20, 50, 100, 300, 1000], help='numbers of labels')
    p.add_argument('--repeats', type=int, default=10, help='random sets of labels for the curves')
    p.add_argument('--asked', type=int, default=10, help='sets of ten labels to which others are added by asking')
    p.add_argument('--sets', type=int, default=40, help='random sets of labels for the coverage')
    p.add_argument('--networks', type=int, default=2, help='of these, sets from which the network learns')
    p.add_argument('--seen', type=int, default=8000, help='images that a network sees in all')
    p.add_argument('--json', help='write the result to this file')
    args = p.parse_args()
    torch.set_num_threads(1)
    bench(args)

if __name__ == '__main__': main()
