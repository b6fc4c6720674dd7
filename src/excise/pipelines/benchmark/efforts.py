"""Success against effort: what more gradient steps of one attack bring back, where one effort serves all prompts."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from PIL import Image

from excise.pipelines.names import PLAIN
from excise.reports.legends import legend_below
from excise.reports.words import attack_label

from .curves import COLOURS
from .standing import Share, one_effort, share_of, table_of

LENGTH = re.compile(r"_(\d+|long)$")  # how variants of one attack are told apart by name


def efforts(part: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Attacks that were run with several numbers of gradient steps, by name without their length.

    Args:
        part: rows of one concept, as ``table_of`` makes them.

    Returns:
        One row a model and number of steps: name, steps (0: the plain prompts) and share.
    """
    found: dict[str, pd.DataFrame] = {}
    asked = part[(part["attack"] != PLAIN) & ~part["idle"]]
    names = [str(a) for a, cells in asked.groupby("attack", sort=False) if one_effort(cells)]
    for family in dict.fromkeys(LENGTH.sub("", name) for name in names):
        cells = asked[asked["attack"].isin([n for n in names if LENGTH.sub("", n) == family])]
        if cells["gradient_steps"].nunique() < 2:
            continue
        plain = part[(part["attack"] == PLAIN) & part["name"].isin(cells["name"])].assign(gradient_steps=0)
        rows = [
            {"name": name, "steps": int(steps), "share": share_of(own)}
            for (name, steps), own in pd.concat([plain, cells]).groupby(["name", "gradient_steps"], sort=False)
        ]
        found[family] = pd.DataFrame(rows).sort_values("steps", kind="stable")
    return found


def efforts_figure(rows: list[dict]) -> Image.Image:
    """A panel a concept and attack, a line a model, bars the Wilson intervals; hits on fresh seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = table_of(rows)
    concepts = [] if table.empty or "shared" not in table else table.groupby("concept", sort=False)
    panels = [(concept, family, told) for concept, part in concepts for family, told in efforts(part).items()]
    columns = min(2, max(1, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(5.2 * columns, 3.2 * lines + 0.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    models = list(dict.fromkeys(name for _, _, told in panels for name in told["name"]))
    for axis, (concept, family, told) in zip(axes, panels, strict=False):
        steps = sorted(told["steps"].unique())
        for name, own in told.groupby("name", sort=False):
            k = models.index(name)
            places = [steps.index(s) + 0.06 * (k - (len(models) - 1) / 2) for s in own["steps"]]  # none hides another
            _draw(axis, places, list(own["share"]), COLOURS[k % len(COLOURS)], str(name))
        axis.set_xticks(range(len(steps)), [str(s) for s in steps])
        axis.set_title(f"{concept}: {attack_label(family)}", loc="left", fontsize=10, fontweight="bold")
        axis.set_ylim(-3, 103)
        axis.yaxis.set_major_formatter("{x:.0f} %")
        axis.set_xlabel("gradient steps (0: asked plainly)", fontsize=8)
        axis.grid(axis="y", color="#e3e3ea")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    if panels:
        handles = {h.get_label(): h for axis in axes[: len(panels)] for h in axis.get_legend_handles_labels()[0]}
        legend_below(figure, handles.values(), list(handles))
    else:
        axes[0].text(0.5, 0.5, "no attack was run with several numbers of steps", ha="center", va="center")
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())


def _draw(axis, places: list[float], shares: list[Share], colour: str, label: str) -> None:
    told = [(x, s.rate, s.low, s.high) for x, s in zip(places, shares, strict=True) if s.n]
    x, y, low, high = 100 * np.array(told).reshape(-1, 4).T
    x, bars = x / 100, np.maximum([y - low, high - y], 0)
    style = {"ms": 4, "lw": 1.5, "elinewidth": 1, "alpha": 0.85, "color": colour}
    axis.errorbar(x, y, bars, marker="o", label=label, **style)
