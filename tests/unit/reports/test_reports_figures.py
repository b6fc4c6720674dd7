import numpy as np
import pandas as pd
import pytest

from excise.reports import rates_figure, reactivation_figure
from excise.reports.figures import COLOURS

COLUMNS = ["eraser", "attack", "reactivation", "sensitivity"]


def extent(image, colour: str) -> int:
    """Rightmost pixel of a colour."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int(np.argwhere((np.asarray(image) == rgb).all(-1))[:, 1].max())


def table(pruned: float) -> pd.DataFrame:
    rows = [
        ("none", "plain", 1.0, np.nan),
        ("esd", "plain", 0.1, np.nan),
        ("esd", "unlearndiffatk", 0.8, np.nan),
        ("p_esd", "unlearndiffatk", pruned, np.nan),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_reactivation_moves_the_dot_of_its_model_alone():
    low, high = reactivation_figure(table(0.1)), reactivation_figure(table(0.6))
    assert extent(high, COLOURS["masked"]) > extent(low, COLOURS["masked"]) + 100
    assert extent(high, COLOURS["plain"]) == extent(low, COLOURS["plain"])


def test_reactivation_takes_a_row_a_neuron_and_shows_their_mean():
    many = reactivation_figure(pd.concat([table(0.1), table(0.5)]))
    assert extent(many, COLOURS["masked"]) < extent(many, COLOURS["plain"])
    assert extent(many, COLOURS["masked"]) > extent(reactivation_figure(table(0.2)), COLOURS["masked"])


def test_reactivation_of_nothing_measured_is_still_drawn():
    empty = table(0.1).assign(reactivation=None)
    assert np.asarray(reactivation_figure(empty)).std() > 0


def test_reactivation_above_one_is_not_cut_off():
    figure = reactivation_figure(table(1.9))
    assert extent(figure, COLOURS["masked"]) > extent(figure, COLOURS["plain"])


def test_rates_figure_places_rates_and_draws_what_could_not_be_judged(metrics_of):
    good = rates_figure(metrics_of(none="h" * 10, esd="h" * 8 + "..", p_esd="h" + "." * 9))
    bad = rates_figure(metrics_of(none="h" * 10, esd="h" * 8 + "..", p_esd="h" * 9 + "."))
    assert extent(bad, COLOURS["masked"]) > extent(good, COLOURS["masked"]) + 300
    assert rates_figure(metrics_of(none="hhh", esd="fff", alarms="f")).size[0] == good.size[0]


@pytest.mark.parametrize("width", [2.0, 4.2, 12.0])
def test_a_legend_takes_as_many_lines_as_its_figure_is_narrow(width):
    """And names everything, inside the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from excise.reports.legends import legend_below

    figure = Figure(figsize=(width, 3), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    names = ["plain prompt", "UnlearnDiffAtk", "textual inversion"]
    axis = figure.subplots()
    for name in names:
        axis.plot([0, 1], [0, 1], label=name)
    legend = legend_below(figure, *axis.get_legend_handles_labels())
    figure.canvas.draw()
    box = legend.get_window_extent()
    assert [text.get_text() for text in legend.get_texts()] == names and figure.legends == [legend]
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    lines = len({round(text.get_window_extent().y0) for text in legend.get_texts()})
    assert lines == {2.0: 3, 4.2: 2, 12.0: 1}[width]


def test_a_study_of_one_concept_has_its_whole_legend():
    from excise.pipelines.study_pruning.tables import results_figure

    told = {"concept": "person", "eraser": "none", "variant": "unpruned", "seed": 0, "n": 10, "hits": 9}
    image = np.asarray(results_figure([told | {"attack": a} for a in ("plain", "unlearndiffatk", "textual_inversion")]))
    below = image[-40:]
    assert (below[:, 0] == 255).all() and (below[:, -1] == 255).all()  # nothing runs over the edge
    assert below.std() > 0
