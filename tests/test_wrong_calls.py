"Wrong calls from Python: each is refused by one sentence, with a word of it here."
import importlib
import numpy as np,pytest,torch
import matplotlib.pyplot as plt
from astrovader import tables
from astrovader.core import AstrovaderError
from astrovader.data.cutouts import Stretch
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer import catalogue as catalogues
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE

@pytest.fixture(scope='module')
def at(tmp_path_factory):
    "A survey, a model and its catalogue, in memory and on disk"
    class At: pass
    at = At()
    at.folder = tmp_path_factory.mktemp('calls')
    images, truth = sky(40, 16, 0, companions=.5)
    at.survey = pack_arrays(images, at.folder/'survey', truth[['object_id']])
    torch.manual_seed(0)
    widths = dict(encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,))
    at.model = VaDE(Architecture(16, n_latent=3, n_components=3, **widths), at.survey.packing)
    at.model.save(at.folder/'run/model')
    at.run = at.folder/'run'
    at.cat = catalogues.catalogue(at.run, at.survey, at.folder/'cat.parquet')
    at.cat['component'] = np.arange(40) % 3
    at.images = at.survey.images(slice(0, 6))
    at.p, at.z, at.labels = tables.numbered(at.cat, 'p'), tables.numbered(at.cat, 'z'), at.cat.component.to_numpy()
    at.kinds = ['morphological', 'companion', 'corrupt']
    at.out = at.folder/'out'
    return at

modules = {name: importlib.import_module(f'astrovader.{name}') for name in '''analysis.components analysis.health analysis.latent analysis.metrics analysis.outliers analysis.route
    analysis.consensus analysis.naming infer.names analysis.matching analysis.reliability analysis.shares analysis.image_statistics analysis.two_samples analysis.realism analysis.shift
    analysis.silhouettes analysis.summary analysis.votes infer.catalogue infer.cluster infer.generate infer.hats infer.conditions infer.stamps infer.fields infer.example infer.posterior train.seeds train.tune show.component_plots show.image_plots show.latent_plots
    show.statistics_plots show.trust_plots show.realism_plots show.realism_page show.report show.explorer analysis.maps show.sprites show.density_tiles'''.split()}
names = dict(tables=tables, np=np, Stretch=Stretch) | {name.split('.')[1]: module for name,module in modules.items()}

calls = '''
tables.read_table(5) | a table is a file
tables.read_table(at.folder/'none.csv') | does not exist
tables.read_table(at.folder) | not a table in parts
tables.read_table(at.folder/'cat.parquet', 5) | has no column 5
tables.read_table([1, 2]) | this is
tables.write_table(at.p, at.folder/'a.csv') | this is a ndarray
tables.write_table(None, at.folder/'a.csv') | this is a NoneType
tables.write_table(at.cat, 5) | the name of a file
tables.write_table(at.cat, at.folder/'a.txt') | let it end in
tables.write_table(at.cat, at.folder) | let it end in
tables.write_table(at.cat, at.folder/'a.csv', meta=5) | the provenance is
tables.write_tables([at.cat], at.folder/'a.csv', {}, 40, 9) | Arrow tables
tables.write_tables([], at.folder/'a.csv', {}, 0, 9) | no tables
tables.write_tables(5, at.folder/'a.csv', {}, 0, 9) | Arrow tables
tables.numbered(at.p, 'p') | this is a ndarray
tables.numbered(at.cat, 'y') | no columns y_0
tables.verify_table(5) | a table is a file
tables.verify_table(at.folder/'none.parquet') | does not exist
tables.part_files(5) | a folder
catalogue.catalogue(5, at.survey) | the model is
catalogue.catalogue(at.folder/'none', at.survey) | no trained model
catalogue.catalogue(at.run, 5) | the survey is
catalogue.catalogue(at.run, at.cat) | the survey is a DataFrame
catalogue.catalogue(at.run, at.folder/'none') | does not exist
catalogue.catalogue(at.run, at.survey, scaling='much') | scaling
catalogue.catalogue(at.run, at.survey, scaling=5) | give a text
catalogue.catalogue(at.run, at.survey, temperature='hot', scaling='tempered') | give a number
catalogue.catalogue(at.run, at.survey, draw_seed=-1) | seed
catalogue.catalogue(at.run, at.survey, draw_seed=.5) | give a whole number
catalogue.catalogue(at.run, at.survey, batch='x') | give a whole number
catalogue.catalogue(at.run, at.survey, batch=0) | at least 1
catalogue.catalogue(at.run, at.survey, device='tpu') | device
catalogue.catalogue(at.run, at.survey, device=5) | device
catalogue.catalogue(at.run, at.survey, at.folder/'a.txt') | let it end in
catalogue.catalogue(at.run, at.survey, 5) | the name of a file
catalogue.catalogue(at.run, at.survey, bf16='yes') | True or False
catalogue.write_catalogue(at.run, at.survey, at.folder/'a.csv', part_rows=5) | .parquet
catalogue.write_catalogue(at.run, at.survey, at.folder/'a.parquet', part_rows=0) | at least 1
catalogue.write_catalogue(at.run, at.survey, at.folder/'a.parquet', part_rows='x') | give a whole number
catalogue.write_catalogue(at.run, at.survey, None) | the name of a file
cluster.catalogue_on_dask(at.run, at.survey, at.folder/'a.parquet', 'scheduler:8786') | the client is
cluster.catalogue_on_dask(at.run, at.survey, at.folder/'a.parquet', None) | the client is a NoneType
generate.generate(None) | the model is None
generate.generate(at.run, 'many') | give a whole number
generate.generate(at.run, 0) | at least one
generate.generate(at.run, 5, component=3) | 0 to 2
generate.generate(at.run, 5, component=1.5) | give a whole number
generate.generate(at.run, 5, temperature=-1) | positive number
generate.generate(at.run, 5, seed='x') | give a whole number
generate.write_generated(at.run, 5) | out is
generate.write_generated(at.run, at.out, 5, shard_rows=0) | at least 1
generate.write_generated(at.run, at.folder/'survey', 5) | something else
generate.draw(5, 3) | the model is
generate.draw(at.model, 3, first=-1) | from 0
hats.write_hats(at.folder/'cat.parquet', 5, at.out) | the survey is
hats.write_hats(at.folder/'cat.parquet', at.survey, at.out) | ra and dec
hats.write_hats(at.cat, at.survey, at.out) | a Parquet catalogue
hats.write_hats(at.folder/'cat.parquet', at.survey, at.out, rows=0) | at least one row
hats.sky_columns(5) | the survey is
example.example(run=at.run) | name both
example.example(folder=at.folder/'new', n='x') | give a whole number
example.example(folder=at.folder/'new', epochs=5) | epochs
silhouettes.silhouette('x', at.labels) | does not exist
silhouettes.silhouette(at.z, at.labels[:3]) | the shapes are
silhouettes.silhouette(at.z[0], at.labels) | the shapes are
silhouettes.silhouette([[1, 2], [3]], [0, 1]) | lists of equal length
silhouettes.silhouette_sample(at.z, at.labels, n='x') | give a whole number
silhouettes.silhouette_sample(at.z, at.labels, n=0) | at least one
silhouettes.simplified_silhouette(at.z, at.labels, means='x') | means
silhouettes.simplified_silhouette(at.z, at.labels, nearest='x') | is not known
metrics.occupancy(at.p) | this is a ndarray
metrics.occupancy(at.cat[['object_id']]) | has no column component, p_max
metrics.occupancy(at.cat, mixture=5) | the mixture is
metrics.occupancy(at.cat, thresholds='x') | thresholds
metrics.occupancy(at.cat[:0]) | no rows
metrics.responsibility_matrix('x') | does not exist
metrics.responsibility_matrix(at.p, at.labels[:3]) | one each
metrics.responsibility_matrix(at.p, ['a']*40) | whole numbers
metrics.extremes(at.cat.recon_error, 500) | ask for fewer
metrics.extremes('x') | no array of numbers
metrics.extremes(at.cat.recon_error, 2, skip='x') | skip
metrics.named_after(at.p, 'most') | is not known
metrics.named_after('x') | counts
metrics.chance_information('x') | counts
metrics.table_agreement('x') | counts
metrics.agreement(at.labels, at.labels[:3]) | one of each
metrics.agreement(5, 5) | one of each
metrics.clustering_accuracy(at.labels, None) | one of each
components.members(at.folder/'none.csv', 0) | does not exist
components.members(at.cat, 'first') | give a whole number
components.members(at.cat, 9) | from 0 to 2
components.members(at.cat, 0, 0) | at least one
components.members(at.cat, 0, by='chance') | random
components.members(at.cat, 0, mixture=at.p) | the mixture is a ndarray
components.component_table(at.run, at.survey, at.p) | this is a ndarray
components.component_table(5, at.survey, at.cat) | the model is
components.component_table(at.run, at.survey, at.cat, n='x') | give a whole number
components.component_table(at.run, at.survey, at.cat, n=0) | at least one
components.split(at.cat) | has no column objects
components.split(5) | this is
components.second_labels(at.cat, at.kinds[:2]) | need a kind each
components.second_labels(at.cat, 5) | need a kind each
components.second_labels(at.cat, at.kinds, of='x') | is not known
components.choose_k('x') | does not exist
components.choose_k(at.z, 0) | offer fewer
components.choose_k(at.z, threshold='x') | give a number
route.shortest_tour('x') | finite numbers
route.shortest_tour(at.z, start='x') | give a whole number
health.nuisances(at.cat) | has no column
health.cells_of(at.cat[['p_0']], 1) | at least 2
health.cells_of(at.cat[['object_id']]) | numbers
health.measure(at.survey, [99]) | among the 40
health.measure(at.survey, 'x') | among the 40
health.measure(5) | the survey is
health.leakage(at.labels, at.cat) | has no column
health.class_probabilities(at.p, [0, 9, 0], 2) | from 0 to 1
health.class_probabilities(at.p, ['a'], 2) | from 0 to 1
health.calibration_error(['a'], [1]) | numbers
health.calibration(at.p, [1, 2]) | one class per object
health.calibration('x', [1]) | does not exist
health.component_health(at.cat, None) | the mixture is None
health.latent_health(at.cat, None) | the model is None
health.latent_health(at.cat, at.model, 5) | the survey is
health.health(at.run, at.survey, at.cat, classes=5) | one class per object
latent.decoded(at.model, 'x') | does not exist
latent.decoded(at.model, at.p[:,:2]) | latents of this model must be of shape
latent.decoded(5, at.z) | the model is
latent.decoded(at.model, at.z, 0) | at least 1
latent.traversal(at.run, 'x') | does not exist
latent.traversal(at.run, at.z, quantiles=5) | two from 0 to 1
latent.traversal(at.run, at.z, quantiles='ab') | two from 0 to 1
latent.similar(at.cat, 'nobody') | exactly once
latent.similar(at.cat, None) | exactly once
latent.similar(at.cat, 0, 500) | fewer than there are
latent.similar(at.cat, 0, metric='x') | is not known
latent.interpolate('x') | no array of numbers
latent.interpolate(at.z, -1) | 0 or more
latent.tour(at.run, at.cat, start=9) | no galaxies to begin with
latent.tour(at.run, at.p) | this is a ndarray
latent.painted('x') | images
latent.painted(at.images[0]) | images
shift.shift(at.run, at.survey) | name the survey of its training
shift.shift(at.run, at.survey, at.survey) | the reference has 40
shift.shift(at.run, 5) | survey
shift.shift(at.run, at.survey, at.survey, n=5) | at least 100
shift.shift(at.run, at.survey, at.survey, alpha=0) | alpha is
latent.deblend(at.run, at.survey, at.cat, 5) | kinds
latent.deblend(at.run, at.survey, at.cat, at.kinds[:1]) | kinds does not contain
latent.deblend(at.run, at.survey, at.cat, at.kinds, n_steps=1) | at least 2
latent.deblend_many(at.run, at.survey, at.cat, at.kinds, n=0) | at least 1
latent.deblend_many(at.run, at.survey, at.cat, at.kinds, by='x') | measure of similarity
latent.deblending_quantiles(at.cat) | has no column by
outliers.outliers(at.run, at.p) | this is a ndarray
outliers.outliers(at.run, at.cat, n=0) | at least
votes.class_counts(at.labels, ['a']*3) | one of each
votes.class_counts(at.labels, ['a']*40, level=5) | between 0 and 1
votes.class_counts(at.labels, ['a']*40, k='x') | component
votes.class_counts(None, ['a']) | component
votes.component_names(at.labels, ['a']*40, vote='x') | is not known
votes.agreement_table(at.labels, ['a']*40, n_boot='x') | give a whole number
votes.over_represented('x', [True]) | does not exist
votes.over_represented(at.p, ['a']*40) | True
votes.ranking(at.p, [True]) | one answer per galaxy
votes.ranking(at.p, 5) | True, False or missing
votes.ranking(at.cat, [True]*20+[False]*20, components='x') | numbers from 0
votes.ranking(at.cat, [True]*20+[False]*20, level='x') | give a number
summary.Summary(5, at.survey) | the model is
summary.Summary(at.run, at.cat) | the survey is a DataFrame
summary.Summary(at.run, at.survey, seed='x') | give a whole number
summary.read_history(5) | the model is
summary.known_classes(5) | this is
summary.votes_of(at.cat) | no votes
summary.component_cautions(at.cat, at.p, at.p) | has no column
image_plots.palette(-1) | components
image_plots.as_floats('x') | no array of numbers
image_plots.as_floats(at.images[0]) | shape
image_plots.display_stretch(at.images, 500) | percentile
image_plots.display_stretch(None) | no array of numbers
image_plots.montage(at.images, 0) | at least
image_plots.montage(at.images[:0]) | at least one image
image_plots.plot_galaxies('x') | no array of numbers
image_plots.plot_galaxies(at.images, 0) | at least
image_plots.plot_galaxies(at.images[:0]) | at least one image
image_plots.plot_galaxies(at.images, title=5) | give a text
image_plots.plot_pairs(at.images, at.images[:2]) | do not pair
image_plots.plot_pairs(at.images, at.images, 0) | at least
image_plots.plot_reconstructions(at.images, at.images, 0) | at least
image_plots.plot_reconstructions(at.images, at.images, limit=-1) | limit
image_plots.plot_components(at.images, [0, 1]) | as many components
image_plots.plot_components(at.images, ['a']*6) | integers from 0
image_plots.plot_components(at.images, [0]*6, k='x') | give a whole number
image_plots.plot_components(at.images, [0]*6, components=[5]) | component
image_plots.plot_components(at.images, [0]*6, ncols=0) | at least
image_plots.plot_component_blocks(at.images, [0]*6, px=0) | at least
image_plots.plot_component_blocks(at.images, [0]*6, across=0) | at least
image_plots.plot_second_labels(at.images, [0]*6, [0], 3) | second labels
image_plots.plot_galaxy_rows([]) | at least one image
image_plots.plot_galaxy_rows(5) | rows
image_plots.shrink(at.images, 0) | at least
image_plots.png(5) | a figure
latent_plots.plot_tour(at.images, [0, 99], [0, 1]) | are not all among
latent_plots.plot_tour(at.images, 'x', [0]) | no array of numbers
latent_plots.plot_tour(at.images, [0, 1], [0, 1], ncols=0) | at least
latent_plots.plot_traversal(at.images, at.z) | a traversal must have
latent_plots.plot_traversal(at.images[None], [[0, 1]], across=0) | at least
latent_plots.plot_deblending(at.images, [1]) | do not match
statistics_plots.plot_history(5) | this is
statistics_plots.plot_history(at.cat) | has no column
statistics_plots.plot_occupancy(at.cat) | has no column
statistics_plots.plot_heat_map('x') | rows and columns
statistics_plots.plot_heat_map([['a', 'b']]) | numbers
statistics_plots.plot_responsibilities('x') | no array of numbers
statistics_plots.plot_responsibilities(at.p[:0]) | rows and columns
statistics_plots.plot_class_counts(at.cat) | has no column
statistics_plots.plot_agreement({}) | there is no
statistics_plots.plot_agreement(5) | not a table
statistics_plots.plot_ranking([at.cat]) | not a table
statistics_plots.plot_choice_of_k(at.cat) | has no column k
statistics_plots.plot_diagnostics(None) | this is a NoneType
component_plots.plot_component_kinds(at.cat, at.kinds) | has no column
component_plots.plot_leakage(at.cat) | has no column
posterior.gaussian_points('x') | give a whole number
posterior.gaussian_points(3, 100) | power of 2
posterior.averaged_responsibilities(at.model.mixture, at.z, at.z[:2]) | log-variances
posterior.averaged_responsibilities(at.model.mixture, 'x', at.z) | means
posterior.entropy('x') | does not exist
posterior.entropy([1, 2]) | numbers from 0 on
shares.shares(at.p) | this is a ndarray
shares.shares(at.cat.drop(columns='component')) | has no column component
shares.shares(at.cat, level=2) | the level is 2
shares.shares(at.cat, at.cat.assign(q_3=0.)) | of the same run
shares.shares(at.cat.assign(component=-1)) | from -1
reliability.reliability(at.p, ['a']*5) | one class per object
reliability.reliability(at.p, ['a']*40) | two classes
reliability.reliability('none.csv', ['a']*40) | does not exist
reliability.reliability(at.p, ['a', 'b']*20, vote='x') | majority
reliability.calibrations(at.cat[['object_id']], ['a', 'b']*20) | no columns p_0
reliability.coverage(at.z, at.z, at.z[:3]) | do not fit
reliability.coverage(at.z, at.z-9, at.z) | variances are positive
matching.overlaps([[0, 1]], [2]) | at least two runs
matching.overlaps([[0, 1], [0, 5]], [2, 2]) | from 0 to 5
matching.jaccard('x') | no array of numbers
matching.match_runs({}, ['a', 'b']) | all pairs
matching.match_runs(5, ['a', 'b']) | all pairs
image_statistics.image_statistics('x') | no array of numbers
image_statistics.image_statistics(at.images[0]) | 4 dimensions
image_statistics.image_statistics(at.images, 0) | at least 1
image_statistics.power_spectra(at.images[..., :9]) | (n, bands, size, size)
two_samples.distances(at.cat, at.cat[:0]) | no rows
two_samples.distances(at.images, at.images) | this is a ndarray
two_samples.coverages(at.z, at.z[:, :2]) | one model
two_samples.coverages(at.z, 'x') | no array of numbers
two_samples.separability_by_pixels(at.images, at.images) | too few
realism.realism(5, at.survey) | the model is
realism.realism(at.folder/'none', at.survey) | no trained model
realism.realism(at.run, 5) | the survey is
realism.realism(at.run, at.survey, 3) | ask for 40 or more
realism.realism(at.run, at.survey, n='x') | give a whole number
realism.realism(at.run, at.survey, seed=-1) | the seed is
realism.memorisation(at.images, at.images, at.images) | 20 of each
realism.memorisation(at.images, 'x', at.images) | no array of numbers
realism_plots.plot_distances(at.cat) | has no column
realism_plots.plot_power_spectra(at.z, at.z[:, :2]) | one size
realism_page.write_realism(at.run, at.survey, at.folder/'survey') | something else
realism_page.write_realism(at.run, at.survey, 5) | out is
maps.latent_map(at.z) | this is
maps.latent_map(at.cat, 'umap') | is not known
maps.latent_map(at.cat, most=3) | at least 10
maps.latent_map(at.cat, seed=-1) | the seed is
maps.latent_map(at.cat, 'pca').place(at.cat[['z_0']]) | the same model
maps.latent_map(at.cat, 'pca').save(5) | the map is
maps.open_map(at.folder/'none') | does not exist
maps.open_map(at.folder/'cat.parquet') | is not a map
sprites.sprite_size(at.images, 0, None) | more than 0
density_tiles.density_tiles(at.z, at.labels, [[0, 0, 0]]) | places of shape
explorer.explore(at.z, at.survey) | this is
explorer.explore(at.cat, 5) | the survey is
explorer.explore(at.cat, at.survey, 5) | the model is
explorer.explore(at.cat, at.survey, at.folder/'none') | no trained model
explorer.explore(at.cat, at.survey, map=5) | the map is
explorer.explore(at.cat, at.survey, map=at.folder/'none') | does not exist
explorer.explore(at.cat, at.survey, labels=[1, 2]) | give names
explorer.explore(at.cat, at.survey, most=0) | at least 100
explorer.explore(at.cat, at.survey, select=5) | a table is
explorer.explore(at.cat, at.survey, select=at.cat[['component']]) | has no column object_id
explorer.explore(at.cat, at.survey, select=at.cat.assign(object_id='x')) | 1 of the 1 ids
explorer.explore(at.cat.assign(component=7), at.survey) | no column of probabilities
explorer.explore(at.cat[['object_id']], at.survey) | has no column component
explorer.write_explorer(at.run, at.survey, at.folder/'a.txt') | end in .html
explorer.write_explorer(at.run, at.survey, 5) | out is
explorer.write_explorer(at.run, 5, at.folder/'a.html') | the survey is
conditions.fit_conditions(at.run, at.survey) | the framing is 'canonical'
conditions.fit_conditions(at.run, 5) | the survey is
conditions.conditions_of(at.run) | the framing is 'canonical'
conditions.require_canonical(None) | the framing is 'canonical'
stamps.mock(5) | the model is
stamps.mock(at.folder/'none') | no trained model
stamps.mock(at.run, 3, survey=at.survey) | the framing is 'canonical'
stamps.mock(at.run, 'x') | give a whole number
stamps.mock(at.run, 0) | at least one
stamps.mock(at.run, temperature='hot') | give a number
stamps.mock(at.run, axis_ratio='round') | give a number
stamps.to_flux(at.images, Stretch('per_image')) | cannot be undone
fields.write_stamps(5, at.out) | make them by mock()
fields.write_field(at.cat, at.out) | make them by mock()
consensus.consensus_of(at.cat) | a list of two catalogues
consensus.consensus_of([at.cat, at.cat[:9]]) | the same objects
consensus.consensus_of([at.cat, at.cat], ['a', 'a']) | a different name
consensus.consensus(5, at.survey) | the runs are 5
consensus.consensus([at.run], at.survey, shuffles=0) | ask for at least 1
consensus.consensus([at.run], at.survey) | two runs or more
consensus.consensus([at.run, at.run], at.survey) | the same model
consensus.consensus([at.run, at.folder/'none'], at.survey) | no trained model
consensus.consensus([at.run, 5], at.survey) | the run is 5
consensus.write_consensus([at.run, at.run], at.survey, at.out) | the same model
consensus.write_consensus([at.run, at.run], 5, at.out) | the survey is
consensus.write_consensus([at.run, at.run], at.survey, 5) | out is
consensus.write_consensus([at.run, at.model], at.survey, at.out, part_rows=0) | at least
naming.name_components(at.cat, 5) | the labels are 5
naming.name_components(at.p, at.labels) | this is a ndarray
naming.name_components(at.cat[['object_id']], at.labels) | no column p_0
naming.name_components(at.cat, at.labels[:9]) | one label for each of 40 rows
naming.name_components(at.cat, at.labels*0) | one class, 0
naming.name_components(at.cat, at.labels, seed=-1) | the seed is
naming.fit_probe(at.cat.drop(columns='z_0'), at.labels) | no column z_0
naming.fit_probe(at.cat, at.folder/'none.csv') | nor a file
naming.next_to_label(at.cat, at.model) | name_components or fit_probe
naming.next_to_label(at.cat, naming.fit_probe(at.cat, at.labels), 0) | at least 1
naming.write_names(5, at.survey, at.folder/'cat.parquet', at.out) | is 5
naming.write_names(at.run, 5, at.cat, at.out) | the survey is
naming.write_names('sdss', at.survey, at.cat, at.out, keep=True) | comes with the package
naming.write_names(at.run, at.survey, 5, at.out) | the labels are 5
naming.write_names(at.run, at.survey, at.cat[['object_id', 'component']], 5) | out is
names.Names('a', [[1]]) | at least two
names.Names('ab', 5) | do not fit 2 names
names.Names('ab', [[1, np.nan]]) | positive numbers
names.Names('ab', np.ones((3, 2))).probabilities('p') | does not exist
names.Names('ab', np.ones((2, 2))).probabilities(at.cat) | of 2 components
names.Names('ab', np.ones((3, 2))).purity(2) | the level is 2
names.Names.load(at.folder/'none.json') | does not exist
names.name_columns(['max', 'b']) | catalogues use
seeds.train_seeds(5, at.out, 2) | the survey is
seeds.train_seeds(at.survey, at.out, 'x') | give a whole number
seeds.train_seeds(at.survey, at.out, 0) | at least 1
seeds.train_seeds(at.survey, at.run, 2) | holds one training
seeds.train_seeds(at.survey, at.out, 2, 'none') | none
tune.tune(5, at.out) | the survey is
tune.tune(at.survey, 5) | the folder of the search is 5
tune.tune(at.survey, at.out, 'x') | give a whole number
tune.tune(at.survey, at.out, preset='none') | no preset 'none'
tune.tune(at.survey, at.out, score=5) | the score 5 is not known
tune.tune(at.survey, at.out, labels=5) | no column 5
tune.tune(at.survey, at.out, space=5) | the space is 5
tune.tune(at.survey, at.out, space={'lr': 'low'}) | the range of lr is 'low'
tune.tune(at.survey, at.out, seed=-1) | the seed is -1
tune.search_space(5) | no preset 5
trust_plots.plot_stability(at.cat) | has no column
trust_plots.plot_reliability(at.cat) | has no column
trust_plots.plot_shares(at.cat) | has no column
report.report(5, at.survey, at.out) | the model is
report.report(at.run, 5, at.out) | the survey is
report.report(at.run, at.survey, 5) | out is
report.report(at.run, at.survey, at.out, seed=-1) | seed
report.report(at.run, at.survey, at.folder/'survey') | something else
'''
wrong = [line.split(' | ') for line in calls.strip().splitlines()]

@pytest.mark.parametrize('call,why', wrong)
def test_a_wrong_call_is_one_sentence(at, call, why):
    with pytest.raises(AstrovaderError) as caught: eval(call, names | dict(at=at))
    plt.close('all')
    said = str(caught.value)
    assert why in said and len(said) < 500 and '\n' not in said, said
    assert not at.out.exists()
