"""Success against budget: how many prompts an attack has broken after so many judged images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from excise.reports.legends import legend_below
from excise.reports.words import attack_label

from .standing import table_of

# Okabe and Ito, then two greys and two more: a colour an attack
COLOURS = [
    *("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b76", "#1c1c22"),
    *("#8a2be2", "#8b5a2b"),
]


def curve(found: list[int], images: int) -> list[float]:
    """Share of the attacked prompts with a hit after 0, 1, … ``images`` judged images; -1: never, -2: dropped. Nothing
    where all were dropped."""
    took = np.array([k for k in found if k > -2])
    if not len(took):
        return []
    return [float(((took >= 0) & (took <= k)).mean()) for k in range(images + 1)]


Panel = tuple[tuple[str, str], pd.DataFrame]  # (concept, model), its rows


def panels_of(table: pd.DataFrame) -> tuple[list[Panel], list[tuple[str, str]]]:
    """Models on which some attack saw a hit, and (concept, model) of those on which none of them ever did; concept by
    concept, in the table's order."""
    judged = table[(table["looks"].fillna(0) > 0) & ~table["idle"]] if "looks" in table else table[:0]
    panels, silent = [], []
    for _, part in judged.groupby("concept", sort=False):
        for key, cells in part.groupby(["concept", "name"], sort=False):
            seen = any(k >= 0 for found in cells["found"] for k in found)
            panels += [(key, cells)] if seen else []
            silent += [] if seen else [key]
    return panels, silent


def silent_note(table: pd.DataFrame) -> str:
    """Of whom the figure has no panel; nothing where it has all."""
    told: dict[str, list[str]] = {}
    for concept, name in panels_of(table)[1]:
        told.setdefault(concept, []).append(name)
    listed = "; ".join(f"of `{concept}` {', '.join(names)}" for concept, names in told.items())
    return f"Models on which none of these attacks saw a hit have no panel: {listed}.\n" if told else ""


def curves_figure(rows: list[dict]) -> Image.Image:
    """A panel a concept and model, a line an attack; hits as the attacker sees them, not yet confirmed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = table_of(rows)
    panels, _ = panels_of(table)
    columns = min(3, max(1, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(3.4 * columns, 2.9 * lines + 0.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    attacks = list(dict.fromkeys(a for _, part in panels for a in part["attack"]))
    most = max((int(part["looks"].max()) for _, part in panels), default=1)
    for axis, ((concept, name), part) in zip(axes, panels, strict=False):
        for attack, cells in part.groupby("attack", sort=False):
            _draw(axis, cells, COLOURS[attacks.index(attack) % len(COLOURS)], attack_label(str(attack)))
        axis.set_title(f"{concept}: {name}", loc="left", fontsize=10, fontweight="bold")
        axis.set_ylim(-3, 106)
        axis.set_xlim(-0.5, most + 1)  # the same in all panels
        axis.yaxis.set_major_formatter("{x:.0f} %")
        axis.set_xlabel("judged images a prompt", fontsize=8)
        axis.set_ylabel("hits seen, unconfirmed", fontsize=8)
        axis.grid(color="#e3e3ea")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    if panels:
        handles = {h.get_label(): h for axis in axes[: len(panels)] for h in axis.get_lines()}
        legend_below(figure, handles.values(), list(handles))
    else:
        axes[0].text(0.5, 0.5, "no attack saw a hit among images judged on its way", ha="center", va="center")
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())


def _draw(axis, cells: pd.DataFrame, colour: str, label: str) -> None:
    curves = [curve(found, max(1, int(cells["looks"].max()))) for found in cells["found"]]
    if not any(curves):
        return
    shares = np.mean([one for one in curves if one], 0)
    ends = [*range(len(shares)), len(shares) - 0.5]  # the last step has a tread, too
    axis.step(ends, 100 * np.append(shares, shares[-1]), where="post", color=colour, lw=2, alpha=0.85, label=label)
