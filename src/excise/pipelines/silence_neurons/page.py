"""``docs/neurons.md`` and its figure, from rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from excise.pipelines.benchmark.standing import share_of as share_of_hits
from excise.pipelines.study_pruning.pairs import mcnemar_p, paired_interval, verdict_matrix
from excise.pipelines.study_pruning.plan import NOTHING
from excise.reports.words import spell_p

from .plan import CARRIERS, SilencingOptions, plan_cells, share_of

KEPT = "retain_verdicts"


def table_of(rows: list[dict]) -> pd.DataFrame:
    """Rows with the share that is held (0: none), and whether these are the concept's neurons."""
    table = pd.DataFrame(rows)
    whole = table["eraser"] == NOTHING
    share = [0.0 if none else share_of(v) for none, v in zip(whole, table["variant"], strict=True)]
    own = ~whole & table["variant"].str.startswith(CARRIERS)
    return table.assign(share=share, own=own, whole=whole)


def silencing_page(rows: list[dict], silencing: SilencingOptions, model: str, command: str) -> str:
    """The page: what was done, a table a concept, and whether the concept's neurons differ from as many others."""
    table, planned = table_of(rows), len(plan_cells(silencing))
    where = "feed-forward units and cross-attention value channels" if silencing.values else "feed-forward units"
    parts = [
        "# Does a concept sit in its neurons?\n",
        f"Measured on {model} by the pipeline that wrote this page and `neurons.json` beside it (one row a cell). The "
        f"command: `{command}`. Rows were made on: {', '.join(sorted(table['device'].unique()))}.\n",
        f"Neurons ({where}) are ranked on *fit* prompts by how much the concept changes what they tell the layers "
        "behind them: the mean difference between a prompt and its neutral twin times the norm of the weights that "
        "read the neuron. A share of every layer is then held at its mean on neutral prompts, for every token and "
        "timestep; the control holds as many others of the same layers, drawn at random. No weight is trained. *Test* "
        "prompts, "
        f"{silencing.draw.per_prompt} pictures each: a hit is a prompt of which most show the concept.\n",
    ]
    if len(table) < planned:
        parts.append(
            f"**{len(table)} of {planned} cells are done.** The others are made when the command is given again.\n"
        )
    parts.append("![How often the concept is drawn](images/neurons.png)\n")
    for concept, part in table.groupby("concept", sort=False):
        parts += [f"## {concept} ({part['kind'].iloc[0]})\n", _rates(part), _gaps(part)]
    parts.append(
        "Intervals: Wilson's for rates, Tango's for paired differences, with prompts as the units and verdicts "
        "averaged over draws. p: McNemar's exact test against each draw, two-sided, not corrected.\n"
    )
    return "\n".join(parts)


def _rates(part: pd.DataFrame) -> str:
    lines = [
        "| held | neurons | hits / n by draw | pooled | 95 % interval | second judge | retain near, far |",
        "|" + "---|" * 7,
    ]
    for (share, own), cells in part.groupby(["share", "own"], sort=False):
        pooled = share_of_hits(cells)
        each = ", ".join(f"{r.hits} / {r.n}" for r in cells.itertuples())
        second = "–"
        if "second_n" in cells and cells["second_n"].notna().all():
            second = ", ".join(f"{int(r.second_hits)} / {int(r.second_n)}" for r in cells.itertuples())
        near, far = (f"{cells[f'retain_{s}'].sum()} / {cells[f'retain_{s}_n'].sum()}" for s in ("near", "far"))
        which = "none" if not share else "the concept's" if own else "others"
        rate = f"{100 * pooled.hits / pooled.n:.0f} %" if pooled.n else "–"
        span = "–" if pooled.low is None else f"{100 * pooled.low:.0f} to {100 * pooled.high:.0f} %"
        told = f"{which} | {each} | {rate} | {span}"
        lines.append(f"| {100 * share:g} % | {told} | {second} | {near}, {far} |")
    return "\n".join(lines) + "\n"


def _gaps(part: pd.DataFrame) -> str:
    lines = [
        "| held | others minus the concept's: concept drawn | p, draw by draw | things that must survive drawn right |",
        "|" + "---|" * 4,
    ]
    for share in sorted(set(part["share"]) - {0.0}):
        at = part[part["share"] == share]
        own, others = at[at["own"]], at[~at["own"]]
        if own.empty or others.empty:
            continue
        ps = [
            spell_p(mcnemar_p(verdict_matrix(others.iloc[[k]])[0], verdict_matrix(own)[0])) for k in range(len(others))
        ]
        gaps = [_gap(others, own, column) for column in ("verdicts", KEPT)]
        lines.append(f"| {100 * share:g} % | {gaps[0]} | {', '.join(ps)} | {gaps[1]} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _gap(first: pd.DataFrame, second: pd.DataFrame, column: str) -> str:
    gap, low, high = paired_interval(verdict_matrix(first, column), verdict_matrix(second, column))
    return f"{100 * gap:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def silencing_figure(rows: list[dict]) -> Image.Image:
    """A column a concept: above how often it is drawn, below what must survive, against the share that is held."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = table_of(rows)
    concepts = list(table["concept"].unique())
    figure = Figure(figsize=(3.6 * len(concepts) + 0.6, 5.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(concepts), squeeze=False, sharex=True, sharey=True)
    looks: list[tuple[bool, str, dict[str, Any]]] = [
        (True, "the concept's neurons", {"color": "#d55e00", "marker": "o"}),
        (False, "as many others, each draw", {"color": "#6b6b76", "marker": "x", "linestyle": "none"}),
    ]
    for column, concept in enumerate(concepts):
        part = table[table["concept"] == concept]
        for axis, verdicts, title in (
            (axes[0, column], "verdicts", f"{concept} is drawn"),
            (axes[1, column], KEPT, "other things are drawn right"),
        ):
            values = 100 * np.nanmean(verdict_matrix(part, verdicts), 1)
            for own, label, style in looks:
                chosen = ((part["own"] == own) & ~part["whole"]).to_numpy()
                axis.plot(100 * part["share"].to_numpy()[chosen], values[chosen], label=label, **style)
            if part["whole"].any():
                axis.axhline(values[part["whole"].to_numpy()][0], color="#0072b2", ls=":", label="the whole model")
            axis.set_title(title, loc="left", fontsize=10)
            axis.grid(axis="y", color="#e3e3ea")
            axis.spines[["top", "right"]].set_visible(False)
            axis.yaxis.set_major_formatter("{x:.0f} %")
            axis.set_ylim(-4, 104)
        shares = sorted(set(part["share"]) - {0.0})
        axes[1, column].set_xticks([100 * s for s in shares], [f"{100 * s:g} %" for s in shares])
        axes[1, column].set_xlabel("of each layer's neurons held")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
