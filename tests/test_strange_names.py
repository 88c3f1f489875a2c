"Reports and plots of names that matplotlib, HTML or a terminal could take for something else."
import numpy as np,pandas as pd,pytest
import matplotlib.pyplot as plt
from astrovader.core import BadInput
from astrovader.data.pack import pack_arrays
from astrovader.data.synth import sky
from astrovader.infer.catalogue import catalogue
from astrovader.infer.generate import write_generated
from astrovader.infer.verify import verify
from astrovader.model.networks import Architecture
from astrovader.model.vade import VaDE
from astrovader.show.image_plots import plot_galaxies,plot_galaxy_rows,png
from astrovader.show.report import report
from astrovader.show.statistics_plots import plot_class_counts,plot_heat_map
from astrovader.tables import read_table,write_table

strange = [r'$\nothing{$', r'50 $ or 60 $', r'\alpha', '$', r'\$ and $', '<b>x</b>', 'caf\udce9', '星 %s {0}']

@pytest.mark.parametrize('name', strange)
def test_names_are_drawn_literally(name):
    images = np.random.default_rng(0).random((4, 1, 8, 8))
    figures = [plot_galaxies(images, title=name), plot_galaxy_rows(images[None], names=[name], texts=[[name]*4])]
    if name.isprintable(): # pandas has no text that is not UTF-8
        counts = pd.DataFrame({'component': [0], 'class': [name], 'n': [1], 'total': [2], 'share': [.5], 'low': [.3], 'high': [.7]})
        figures += [plot_heat_map(pd.DataFrame({name: [.5]}, [name]).rename_axis(name), name), plot_class_counts(counts)]
    assert all(map(png, figures))

def test_a_report_of_strange_names(tmp_path):
    images, truth = sky(24, 16, 0)
    table = truth[['object_id']].assign(**{r'$\kind{$': [strange[i % 3] for i in range(24)]})
    survey = pack_arrays(images, tmp_path/'survey', table)
    widths = dict(encoder_filters=(4,), encoder_kernels=(3,), decoder_filters=(4,), decoder_kernels=(3,))
    run = tmp_path/'café $run$'
    VaDE(Architecture(16, n_latent=2, n_components=2, **widths), survey.packing).save(run/'model')
    page = report(run, tmp_path/'survey', tmp_path/'report')
    assert '<b>x</b>' not in page.read_text() and verify(tmp_path/'report') == 1
    plt.close('all')
    figure = next((tmp_path/'report/figures').iterdir())
    figure.write_bytes(figure.read_bytes()[:-1] + b'\0')
    with pytest.raises(BadInput, match=figure.name): verify(tmp_path/'report')

def test_paths_that_are_not_utf8_are_one_sentence(tmp_path):
    odd = tmp_path/'caf\udce9'
    odd.mkdir()
    table = pd.DataFrame(dict(object_id=['a']))
    calls = [lambda: write_generated('run', odd/'g'), lambda: report('run', odd, 'page'), lambda: write_table(table, odd/'a.parquet'), lambda: read_table(odd),
        lambda: catalogue('run', odd)]
    for call in calls:
        with pytest.raises(BadInput, match='not UTF-8'): call()
