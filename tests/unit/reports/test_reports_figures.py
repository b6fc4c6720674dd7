import numpy as np
import pandas as pd

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
