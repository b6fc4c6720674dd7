"""The two figures of a report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from .legends import legend_below
from .words import BASE, PLAIN, attack_label, eraser_label

# one colour an eraser family member, safe for colour-blind readers (Okabe & Ito)
COLOURS = {"base": "#6b6b76", "masked": "#0072b2", "plus": "#e69f00", "plain": "#d55e00"}
INK, FAINT, GRID = "#1c1c22", "#6b6b76", "#e3e3ea"


def reactivation_figure(table: pd.DataFrame) -> Image.Image:
    """The argument for pruning in one picture: do the concept's neurons wake up under attack?

    Left, *reactivation*: 0 is as silent as on harmless prompts, 1 as active as in the base model on the concept.
    Right, *sensitivity*: how far an adversarial prompt moves the same neurons.

    Args:
        table: eraser, attack, reactivation, sensitivity, in the order to be shown; several rows of an eraser and attack
            (one a neuron) are drawn as points with their mean; NaN or None is left out.
    """
    groups = list(dict.fromkeys(zip(table["eraser"], table["attack"], strict=True)))
    figure, (left, right) = _canvas(1.7 + 0.5 * len(groups), 2)
    for axis, column in ((left, "reactivation"), (right, "sensitivity")):
        for y, (eraser, attack) in enumerate(groups):
            rows = table[(table["eraser"] == eraser) & (table["attack"] == attack)]
            values = pd.to_numeric(rows[column]).dropna().to_numpy(float)
            _draw_group(axis, y, values, _colour(eraser), attack != PLAIN)
        axis.set_ylim(len(groups) - 0.4, -0.6)
    for at, word in ((0, "silent"), (1, "as in the\nbase model")):
        left.axvline(at, color=FAINT, lw=1, ls=(0, (3, 3)), zorder=0)
        left.annotate(
            word,
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=FAINT,
            fontsize=8.5,
        )
    left.set_xlim(min(-0.15, left.get_xlim()[0]), max(1.15, left.get_xlim()[1]))
    right.set_xlim(0, max(right.get_xlim()[1] * 1.12, 1e-6))
    left.set_yticks(range(len(groups)), [f"{eraser_label(e)}, {attack_label(a)}" for e, a in groups])
    right.set_yticks([])
    left.set_title("Are the concept's neurons active?", loc="left", fontsize=11, fontweight="bold", pad=30)
    right.set_title("How far does an attack move them?", loc="left", fontsize=11, fontweight="bold", pad=30)
    left.set_xlabel("reactivation")
    right.set_xlabel("sensitivity")
    return _render(figure)


def rates_figure(metrics: dict[str, Any]) -> Image.Image:
    """Every rate as a dot with its 95 % interval, and the judge's false alarms by the same rule behind them.

    Args:
        metrics: the content of ``metrics.json``.
    """
    rows = [(e, a, rate) for e, one in metrics["erasers"].items() for a, rate in one["attacks"].items()]
    figure, axis = _canvas(1.6 + 0.36 * len(rows), 1)
    alarms = metrics["detector"]
    if alarms["n"]:
        axis.axvspan(100 * alarms["low"], 100 * alarms["high"], color="#ececf1", lw=0, zorder=0)
        axis.axvline(100 * alarms["rate"], color=FAINT, lw=1, ls=(0, (3, 3)), zorder=1)
    places, y, previous = [], 0.0, None
    for eraser, attack, rate in rows:
        y += 0.0 if previous is None else 1.0 if eraser == previous else 1.5
        previous = eraser
        places.append(y)
        _draw_rate(axis, y, rate, _colour(eraser), attack != PLAIN)
    axis.set_ylim(y + 0.8, -0.8)
    axis.set_xlim(-2, 102)
    axis.set_yticks(places, [f"{eraser_label(e)}, {attack_label(a)}" for e, a, _ in rows])
    axis.xaxis.set_major_formatter("{x:.0f} %")
    axis.set_xlabel(
        "prompts that draw the concept (dot) with 95 % interval (bar); "
        "grey: the judge's false alarms on harmless twins",
        fontsize=9,
    )
    return _render(figure)


def thresholds_figure(table: pd.DataFrame, chosen: float) -> Image.Image:
    """How much a rate owes to the threshold: a panel a label set, a line a model, solid under attack.

    Args:
        table: eraser, attack, labels, threshold, rate (None or NaN where nothing was judged).
        chosen: the threshold that the report counts with.
    """
    sets = list(dict.fromkeys(table["labels"]))
    figure, axes = _canvas(4.2, len(sets)) if len(sets) > 1 else (lambda f, a: (f, [a]))(*_canvas(4.2, 1))
    for axis, name in zip(axes, sets, strict=True):
        part = table[table["labels"] == name]
        for (eraser, attack), line in part.groupby(["eraser", "attack"], sort=False):
            style = {"ls": "--" if attack == PLAIN else "-", "color": _colour(str(eraser)), "lw": 2}
            label = f"{eraser_label(str(eraser))}, {attack_label(str(attack))}"
            axis.plot(line["threshold"], 100 * pd.to_numeric(line["rate"]), label=label, **style)
        axis.axvline(chosen, color=FAINT, lw=1, ls=(0, (3, 3)))
        axis.set_title(
            "the concept's labels" if name == "concept" else name, loc="left", fontsize=11, fontweight="bold"
        )
        axis.set_xlabel("threshold")
        axis.set_ylim(-3, 103)
        axis.yaxis.set_major_formatter("{x:.0f} %")
    legend_below(figure, *axes[0].get_legend_handles_labels(), fontsize=8.5)
    return _render(figure)


def _canvas(height: float, columns: int):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, height), dpi=160, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False, width_ratios=[1.25, 1] if columns == 2 else None)[0]
    for axis in axes:
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(left=False, labelsize=10, colors=INK)
        axis.grid(axis="x", color=GRID, lw=0.8)
        axis.set_axisbelow(True)
    return figure, axes if columns > 1 else axes[0]


def _draw_group(axis, y: int, values: np.ndarray, colour: str, attacked: bool) -> None:
    if not len(values):
        place = {"xycoords": ("axes fraction", "data"), "va": "center"}
        axis.annotate("not measured", (0.02, y), color=FAINT, fontsize=8.5, **place)
        return
    mean = values.mean()
    if len(values) > 1:
        jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
        axis.plot(values, y + jitter, "o", ms=2.5, color=colour, alpha=0.25, mew=0, zorder=2)
    axis.plot([0, mean], [y, y], color=colour, lw=5, alpha=0.35, solid_capstyle="butt", zorder=2)
    _dot(axis, mean, y, colour, attacked)
    beside = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
    axis.annotate(f"{mean:.2f}", (mean, y), color=INK, fontsize=9, **beside)


def _draw_rate(axis, y: float, rate: dict[str, Any], colour: str, attacked: bool) -> None:
    beside = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 9.5, "annotation_clip": False}
    axis.annotate(f"{rate['hits']} / {rate['n']}", (1.02, y), color=INK, **beside)
    if not rate["n"]:
        axis.annotate("nothing could be judged", (0.02, y), color=FAINT, **beside)
        return
    axis.plot([100 * rate["low"], 100 * rate["high"]], [y, y], color=colour, lw=3, alpha=0.55, zorder=2)
    _dot(axis, 100 * rate["rate"], y, colour, attacked)


def _dot(axis, x: float, y: float, colour: str, attacked: bool) -> None:
    """Hollow for plain prompts, filled under attack."""
    face = colour if attacked else "white"
    axis.plot(x, y, "o", ms=9, mfc=face, mec=colour, mew=2.2, zorder=3, clip_on=False)


def _colour(eraser: str) -> str:
    kinds = {"base": eraser == BASE, "masked": eraser.startswith("p_"), "plus": eraser.endswith("_plus"), "plain": True}
    return COLOURS[next(kind for kind, holds in kinds.items() if holds)]


def _render(figure) -> Image.Image:
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
