"""``docs/neurons.md`` and its figure, from rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from excise.metrics.several import holm_of_known
from excise.pipelines.benchmark.standing import LEVEL
from excise.pipelines.benchmark.standing import share_of as share_of_hits
from excise.pipelines.study_pruning.pairs import mcnemar_p, paired_interval, verdict_matrix
from excise.pipelines.study_pruning.plan import NOTHING
from excise.reports.legends import legend_below
from excise.reports.words import spell_p

from .plan import CARRIERS, LOUD, OF, OTHERS, SilencingOptions, kind_of, plan_cells, share_of

KEPT = "retain_verdicts"
WORDS = {"": "none", CARRIERS: "the concept's", OTHERS: "others, at random", LOUD: "the loudest others"}


def table_of(rows: list[dict]) -> pd.DataFrame:
    """Rows of this version with the share that is held (0: none), and of which neurons (``kind``; "" of none)."""
    table = pd.DataFrame([row for row in rows if not row.get("stale")] or rows)
    whole = table["eraser"] == NOTHING
    share = [0.0 if none else share_of(v) for none, v in zip(whole, table["variant"], strict=True)]
    kind = ["" if none else kind_of(v) for none, v in zip(whole, table["variant"], strict=True)]
    return table.assign(share=share, kind_held=kind)


def words_of(kind: str) -> str:
    """Whose neurons are held, for people."""
    return f"those of {kind.removeprefix(OF)}" if kind.startswith(OF) else WORDS[kind]


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
        "timestep (the mean over the twins, at latents of the concept's pictures). No weight is trained. *Test* "
        f"prompts, {_pictures(silencing.draw.per_prompt)}: a hit is a prompt of which most show the concept. "
        "This ranking, and what the neurons are held at, were chosen among several while looking at test prompts of "
        "emoji64's `person`, which are no test of the choice.\n",
        "The controls hold as many neurons of the same layers, at *their* mean on the same prompts: others, drawn at "
        "random"
        + (
            "; the loudest others, whose standard deviation between neutral prompts times that norm is largest; and "
            "the neurons of another concept, which may be the concept's, too (*shared*).\n"
            if silencing.harder
            else ".\n"
        ),
    ]
    older = sum(bool(row.get("stale")) for row in rows)
    if len(rows) - older < planned:
        parts.append(
            f"**{len(rows) - older} of {planned} cells are done.** The others are made when the command is given again."
            + (f" {older} rows of an earlier version are kept in the file" if older else "")
            + ("" if not older else ", and shown, since there are no others." if older == len(rows) else ", not shown.")
            + "\n"
        )
    parts.append("![How often the concept is drawn](images/neurons.png)\n")
    for concept, part in table.groupby("concept", sort=False):
        parts += [f"## {concept} ({part['kind'].iloc[0]})\n", _rates(part), _gaps(part), _verdict(concept, part)]
    parts.append(
        "Intervals: Wilson's for rates, Tango's for paired differences, with prompts as the units and verdicts "
        "averaged over draws. p: McNemar's exact test against each draw, two-sided, not corrected, but in "
        "what is said below each table; *not shown to lose more* goes by the interval alone.\n"
    )
    return "\n".join(parts)


def _pictures(count: int) -> str:
    return "one picture each" if count == 1 else f"{count} pictures each"


def _rates(part: pd.DataFrame) -> str:
    lines = [
        "| held | neurons | shared | hits / n by draw | pooled | 95 % interval | second judge | retain near, far |",
        "|" + "---|" * 8,
    ]
    for (share, kind), cells in part.groupby(["share", "kind_held"], sort=False):
        pooled = share_of_hits(cells)
        each = ", ".join(f"{r.hits} / {r.n}" for r in cells.itertuples())
        second = "–"
        if "second_n" in cells and cells["second_n"].notna().all():
            second = ", ".join(f"{int(r.second_hits)} / {int(r.second_n)}" for r in cells.itertuples())
        near, far = (f"{cells[f'retain_{s}'].sum()} / {cells[f'retain_{s}_n'].sum()}" for s in ("near", "far"))
        rate = f"{100 * pooled.hits / pooled.n:.0f} %" if pooled.n else "–"
        span = "–" if pooled.low is None else f"{100 * pooled.low:.0f} to {100 * pooled.high:.0f} %"
        shared = "–"
        if "shared" in cells and cells["shared"].notna().all():
            shared = f"{int(cells['shared'].iloc[0])} of {int(cells['neurons'].iloc[0])}"
        told = f"{words_of(str(kind))} | {shared} | {each} | {rate} | {span}"
        lines.append(f"| {100 * share:g} % | {told} | {second} | {near}, {far} |")
    return "\n".join(lines) + "\n"


def compared(part: pd.DataFrame) -> pd.DataFrame:
    """The concept's neurons beside every control of one concept: share, control (its kind), and for ``verdicts`` and
    ``retain_verdicts`` the control less the concept's with its interval, and p draw by draw."""
    rows = []
    for (share, kind), control in part[part["share"] > 0].groupby(["share", "kind_held"], sort=False):
        own = part[(part["share"] == share) & (part["kind_held"] == CARRIERS)]
        if kind == CARRIERS or own.empty:
            continue
        row: dict[str, Any] = {"share": share, "control": kind}
        for column in ("verdicts", KEPT):
            ours = verdict_matrix(own, column)
            row[column] = paired_interval(verdict_matrix(control, column), ours)
            row[f"{column}_p"] = [mcnemar_p(theirs, ours[0]) for theirs in verdict_matrix(control, column)]
        rows.append(row)
    return pd.DataFrame(rows)


def _gaps(part: pd.DataFrame) -> str:
    lines = [
        "| held | control | control minus the concept's: concept drawn | p | other things drawn right | p |",
        "|" + "---|" * 6,
    ]
    for row in compared(part).to_dict("records"):
        cells = [f"{100 * row['share']:g} %", words_of(row["control"])]
        for column in ("verdicts", KEPT):
            cells += [_gap(row[column]), ", ".join(map(spell_p, row[f"{column}_p"]))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _gap(found: tuple[float, float, float]) -> str:
    gap, low, high = (100 * value for value in found)
    return f"{gap:+.1f} points ({low:+.1f} to {high:+.1f})"


def _verdict(concept: str, part: pd.DataFrame) -> str:
    """The two questions in words: does the concept go, and does nothing else?"""
    found = compared(part)
    if found.empty:
        return ""
    goes, alone = [], []
    # a control of several draws is one comparison, by the draw that shows least
    found = found.assign(corrected=holm_of_known([_least_sure(p) for p in found["verdicts_p"]]))
    for share, at in found.groupby("share", sort=True):
        if all(low > 0 for _, low, _ in at["verdicts"]) and (at["corrected"] < LEVEL).all():
            goes.append(f"{100 * share:g} %")
        random = at[at["control"] == OTHERS]
        if len(random) and all(low <= 0 for _, low, _ in random[KEPT]):
            alone.append(f"{100 * share:g} %")
    return (
        f"Held, its own neurons take *{concept}* away more often than every control does, by interval and by p (Holm, "
        f"for the {len(found)} comparisons of the table): {', '.join(goes) or 'at no share'}. They are not shown to "
        f"lose more of the other things than random others do: {', '.join(alone) or 'at no share'}.\n"
    )


def _least_sure(p_values: list[float | None]) -> float | None:
    """The largest p of a control's draws; none where a draw could not be compared."""
    return None if any(p is None for p in p_values) else max(p for p in p_values if p is not None)


def silencing_figure(rows: list[dict]) -> Image.Image:
    """A column a concept: above how often it is drawn, below what must survive, against the share that is held."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = table_of(rows)
    concepts = list(table["concept"].unique())
    figure = Figure(figsize=(3.6 * len(concepts) + 0.6, 5.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(concepts), squeeze=False, sharex=True, sharey=True)
    looks: list[tuple[str, str, dict[str, Any]]] = [
        (CARRIERS, "the concept's neurons", {"color": "#d55e00", "marker": "o"}),
        (OTHERS, "as many others, each draw", {"color": "#6b6b76", "marker": "x", "linestyle": "none"}),
        (LOUD, "the loudest others", {"color": "#009e73", "marker": "^", "linestyle": "none"}),
        (OF, "another concept's", {"color": "#0072b2", "marker": "s", "mfc": "none", "linestyle": "none"}),
    ]
    for column, concept in enumerate(concepts):
        part = table[table["concept"] == concept]
        for axis, verdicts, title in (
            (axes[0, column], "verdicts", f"{concept} is drawn"),
            (axes[1, column], KEPT, "other things are drawn right"),
        ):
            values = 100 * np.nanmean(verdict_matrix(part, verdicts), 1)
            for kind, label, style in looks:
                chosen = part["kind_held"].str.startswith(kind).to_numpy()
                if chosen.any():
                    axis.plot(100 * part["share"].to_numpy()[chosen], values[chosen], label=label, **style)
            whole = (part["kind_held"] == "").to_numpy()
            if whole.any():
                axis.axhline(values[whole][0], color="#0072b2", ls=":", label="the whole model")
            axis.set_title(title, loc="left", fontsize=10)
            axis.grid(axis="y", color="#e3e3ea")
            axis.spines[["top", "right"]].set_visible(False)
            axis.yaxis.set_major_formatter("{x:.0f} %")
            axis.set_ylim(-4, 104)
        shares = sorted(set(part["share"]) - {0.0})
        axes[1, column].set_xticks([100 * s for s in shares], [f"{100 * s:g} %" for s in shares])
        axes[1, column].set_xlabel("of each layer's neurons held")
    legend_below(figure, *axes[0, 0].get_legend_handles_labels())
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
