"""``docs/results.md`` and its figure, from rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from excise.pipelines.names import PLAIN
from excise.reports.words import attack_label, eraser_label

from .plan import NEVER_SAW, NOTHING, SILENCED

LABELS = {NEVER_SAW: "never saw it"}


def name_of(row: Any) -> str:
    """``esd``, ``learned`` -> ``P-ESD``."""
    endings = {"unpruned": "{}", "plus": "{}_plus", "learned": "p_{}", "scored": "p_{}_scored", "random": "p_{}_random"}
    if row["eraser"] == SILENCED:
        return "random neurons silenced" if row["variant"] == "random" else "concept neurons silenced"
    return LABELS.get(row["eraser"]) or eraser_label(endings[row["variant"]].format(row["eraser"]))


def results_page(rows: list[dict], never_saw: list[str], command: str, planned: int) -> str:
    """The page: what was asked, a table a concept, the comparisons, what is missing."""
    table = pd.DataFrame(rows)
    table["name"] = [name_of(r) for r in rows]
    parts = [
        "# Does pruning make an eraser robust?\n",
        "Measured on emoji64 by the pipeline that wrote this page and `results.json` beside it (one row a cell).\n",
        f"The command: `{command}`\n",
        f"**{len(rows)} of {planned} cells are done.**"
        + (" The others are made when the command is given again.\n" if len(rows) < planned else "\n"),
        "A rate is hits / judged test prompts, under an attack those that are a hit as they stand or attacked; one "
        "number a training seed, then the pooled rate. Lower is better for an eraser. *Retain*: prompts about other "
        "things that are still drawn right, near and far; higher is better. *Reactivation* 0: the concept's neurons "
        "are as silent as on harmless prompts, 1: as active as in the base model.\n",
        "![All rates](images/results.png)\n",
    ]
    for concept, part in table.groupby("concept", sort=False):
        parts.append(f"## {concept} ({part['kind'].iloc[0]})\n")
        parts.append(_rates(part))
        parts.append(_differences(part))
        parts.append(_causal(part))
        if concept not in never_saw:
            parts.append(f"No model that never saw `{concept}` was at hand, so this table has no floor.\n")
    return "\n".join(parts)


def _rates(part: pd.DataFrame) -> str:
    lines = [
        "| model | asked with | hits / n by seed | pooled | 95 % interval | dropped, failed | retain near, far "
        "| pruned | reactivation | sensitivity |",
        "|" + "---|" * 10,
    ]
    for (name, attack), cells in part.groupby(["name", "attack"], sort=False):
        lines.append(f"| {name} | {attack_label(attack)} | {_rate_cells(cells)} |")
    note = (
        "\nIntervals: percentile bootstrap over prompts of the seed-averaged verdicts (10,000 draws); with a single "
        "seed Wilson's. They do not cover the spread between trainings: look at the seeds.\n"
    )
    return "\n".join(lines) + "\n" + note


def _rate_cells(cells: pd.DataFrame) -> str:
    by_seed = ", ".join(f"{r.hits}/{r.n}" for r in cells.itertuples())
    n, hits = cells["n"].sum(), cells["hits"].sum()
    low, high = _interval(cells)
    pooled = f"{100 * hits / n:.1f} %" if n else "–"
    span = f"{100 * low:.0f} to {100 * high:.0f} %" if low is not None else "–"
    near = f"{cells['retain_near'].sum()}/{cells['retain_near_n'].sum()}"
    far = f"{cells['retain_far'].sum()}/{cells['retain_far_n'].sum()}"
    pruned = _mean(cells["prune_rate"], "{:.1%}")
    measured = [_mean(cells[c], "{:.2f}") for c in ("reactivation", "sensitivity")]
    lost = f"{cells['dropped'].sum()}, {cells['failed'].sum()}"
    return " | ".join([by_seed, pooled, span, lost, f"{near}, {far}", pruned, *measured])


def _mean(column: pd.Series, pattern: str) -> str:
    values = pd.to_numeric(column).dropna()
    return pattern.format(values.mean()) if len(values) else ""


def verdict_matrix(cells: pd.DataFrame) -> np.ndarray:
    """(seeds, prompts): 1 hit, 0 clear, NaN where nothing was judged."""
    return np.array([[{"h": 1.0, ".": 0.0}.get(v, np.nan) for v in row] for row in cells["verdicts"]])


def _interval(cells: pd.DataFrame) -> tuple[float | None, float | None]:
    from statsmodels.stats.proportion import proportion_confint

    if len(cells) == 1:
        row = cells.iloc[0]
        return proportion_confint(row["hits"], row["n"], method="wilson") if row["n"] else (None, None)
    return bootstrap_mean(np.nanmean(verdict_matrix(cells), 0))


def bootstrap_mean(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of a mean over prompts; NaN is left out."""
    from scipy.stats import bootstrap

    values = values[~np.isnan(values)]
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    found = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0))
    return tuple(map(float, found.confidence_interval))


def _differences(part: pd.DataFrame) -> str:
    """P-X against X and its controls, prompt by prompt, seeds averaged."""
    lines = [
        "| asked with | first | second | first minus second | 95 % interval | relative |",
        "|---|---|---|---|---|---|",
    ]
    for eraser in part[part["variant"] == "learned"]["eraser"].unique():
        for attack in part["attack"].unique():
            chosen = part[(part["eraser"] == eraser) & (part["attack"] == attack)]
            second = chosen[chosen["variant"] == "learned"]
            for variant in ("unpruned", "plus", "scored", "random"):
                first = chosen[chosen["variant"] == variant]
                if len(first) and len(second):
                    lines.append(_difference(first, second, attack))
    note = "\n*Relative*: how much less often the second draws the concept than the first, in per cent of the first.\n"
    return "\n".join(lines) + "\n" + note if len(lines) > 2 else ""


def _causal(part: pd.DataFrame) -> str:
    """Do the concept's neurons carry the concept?"""
    silent = part[part["eraser"] == SILENCED]
    if silent.empty:
        return ""
    base = part[(part["eraser"] == NOTHING) & (part["attack"] == PLAIN)]
    top, others = (silent[silent["variant"] == v] for v in ("unpruned", "random"))
    if base.empty or top.empty or others.empty:  # the study is not there yet
        return ""
    gap = np.nanmean(verdict_matrix(others), 0) - verdict_matrix(top)[0]
    low, high = bootstrap_mean(gap)

    def drawn(cells: pd.DataFrame) -> str:
        return f"{cells['hits'].sum()} of {cells['n'].sum()}"

    def kept(cells: pd.DataFrame) -> str:
        return f"{cells['retain_near'].sum() + cells['retain_far'].sum()} of {cells['retain_n'].sum()}"

    return (
        f"**Do these neurons carry the concept?** Plain prompts: with the concept's neurons at zero it is drawn for "
        f"{drawn(top)}, with as many random ones of the same layers at zero for {drawn(others)} ({len(others)} draws), "
        f"by the whole model for {drawn(base)}. Random minus concept neurons: {100 * np.nanmean(gap):+.1f} points, "
        f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}. Retain prompts drawn right: {kept(top)}, {kept(others)} "
        f"and {kept(base)}.\n"
    )


def _difference(first: pd.DataFrame, second: pd.DataFrame, attack: str) -> str:
    shared = sorted(set(first["seed"]) & set(second["seed"]))
    a, b = (np.nanmean(verdict_matrix(t[t["seed"].isin(shared)]), 0) for t in (first, second))
    gap = a - b
    low, high = bootstrap_mean(gap)
    relative = f"{100 * (1 - np.nanmean(b) / np.nanmean(a)):.0f} %" if np.nanmean(a) > 0 else "–"
    names = f"{first['name'].iloc[0]} | {second['name'].iloc[0]}"
    difference = f"{100 * np.nanmean(gap):+.1f} points | {100 * low:+.1f} to {100 * high:+.1f}"
    return f"| {attack_label(attack)} | {names} | {difference} | {relative} |"


def results_figure(rows: list[dict]) -> Image.Image:
    """A panel a concept; a row a model, a colour an attack, a dot a training seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = pd.DataFrame(rows)
    table["name"] = [name_of(r) for r in rows]
    concepts, attacks = table["concept"].unique(), list(table["attack"].unique())
    tallest = max(part["name"].nunique() for _, part in table.groupby("concept"))
    figure = Figure(figsize=(4.2 * len(concepts), 0.9 + 0.42 * tallest), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    colours = ["#6b6b76", "#d55e00", "#0072b2", "#009e73", "#cc79a7"]
    for axis, concept in zip(figure.subplots(1, len(concepts), squeeze=False)[0], concepts, strict=True):
        part = table[table["concept"] == concept]
        names = list(part["name"].unique())
        for k, attack in enumerate(attacks):
            asked = part[(part["attack"] == attack) & (part["n"] > 0)]
            y = [names.index(n) + 0.18 * (k - (len(attacks) - 1) / 2) for n in asked["name"]]
            x = 100 * asked["hits"] / asked["n"]
            axis.plot(x, y, "o", color=colours[k % len(colours)], ms=5, alpha=0.75, label=attack_label(attack))
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlim(-3, 103)
        axis.xaxis.set_major_formatter("{x:.0f} %")
        axis.set_title(concept, loc="left", fontsize=11, fontweight="bold")
        axis.grid(axis="x", color="#e3e3ea")
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(attacks), frameon=False)
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
