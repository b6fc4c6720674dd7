"""``docs/results.md`` and its figure, from rows alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from excise.metrics.several import clustered_interval
from excise.pipelines.benchmark.typed import BY_WORDS, spell_typed
from excise.pipelines.names import PLAIN
from excise.reports.legends import legend_below
from excise.reports.words import attack_label, spell_p

from .bar import bar_table, beyond_table
from .idle import is_idle
from .naming import name_of
from .pairs import mcnemar_p, paired_interval, verdict_matrix
from .plan import ALONE, NEVER_SAW, NOTHING, SILENCED, STALE, UNAIDED
from .short import short_table
from .trainings import same_trainings, trainings_note
from .unjudged import unjudged_note
from .woken import woken_table

COMPARED = {  # a variant with a mask, and what it is held against: X, the control of the mask, other masks
    "learned": ("unpruned", "plus", "scored", "random"),
    f"learned{UNAIDED}": ("unpruned", f"plus{UNAIDED}", "learned"),
    f"learned{ALONE}": ("unpruned", "plus", "learned", f"scored{ALONE}", f"random{ALONE}"),
}


def results_page(
    rows: list[dict], command: str, planned: int, model: str, benchmark: list[dict], strongest: Sequence[dict] = ()
) -> str:
    """The page below its heading: what was asked, a table a concept, the comparisons, what is missing.

    Args:
        benchmark: rows of the benchmark: what is left of it all under the strongest attack of each threat model.
        strongest: rows of this study under the attacks that did most there.
    """
    table = own_rows(rows)
    parts = [
        f"Measured on {model} by the pipeline that wrote this page and `results.json` beside it (one row a cell).\n",
        f"The command: `{command}`. Rows were made on: {_devices(table)}.\n",
        _progress(table, planned),
        trainings_note(rows),
        unjudged_note(rows),
        _idle_note(table),
        "A rate is hits / judged test prompts, under an attack those that are a hit as they stand or attacked; one "
        "number a training seed, then the pooled rate. Lower is better for an eraser. *Retain*: prompts about other "
        "things that are still drawn right, near and far; higher is better. *Any image*: judged prompts of which at "
        "least one image shows the concept, under an attack of twice as many images; what the model that never saw the "
        "concept has there is the judge's error. *Reactivation* 0: the concept's neurons "
        "are as silent as on harmless prompts, 1: as active as in the base model; *before the attack*: the same on the "
        "plain prompts (rows of earlier versions do not say). *Typed*: hits of an attack by words where its text is "
        "typed, in brackets where the model is handed its tokens; *at least*: of rows that did not draw text that the "
        "tokenizer reads as other tokens. *Second judge*: hits / n by seed of another judge on the same pictures, "
        "where the concept has one.\n",
        "![All rates](images/results.png)\n",
    ]
    tried = table[~table["idle"]]  # no figure of the others is an attack's
    parts += ["## In short\n", "Hits / n over all training seeds.\n", short_table(tried)]
    bar = bar_table(tried)
    if bar:
        parts += ["## The bar\n", "What is asked of pruning, condition by condition.\n", bar]
    beyond = beyond_table(tried)
    if beyond:
        parts += ["## Beyond the bar\n", "How small the mask is, and what it costs beside the base model.\n", beyond]
    woken = woken_table(tried)
    if woken:
        parts += ["## The neurons\n", "What an attack wakes: P-X against its controls, pair by pair.\n", woken]
    parts += _beyond(rows, strongest, benchmark)
    for concept, part in tried.groupby("concept", sort=False):
        parts.append(f"## {concept} ({part['kind'].iloc[0]})\n")
        parts.append(_rates(part))
        parts.append(_differences(part))
        second = _second(part)
        told = _differences(second, "second_verdicts") if len(second) else ""
        if told:
            parts.append(f"The same pictures, judged by {second['second_judge'].iloc[0]}:\n\n{told}")
        parts.append(_causal(part))
        if NEVER_SAW not in set(part["eraser"]):
            parts.append(f"No model that never saw `{concept}` was asked, so this table has no floor.\n")
    return "\n".join(filter(None, parts))


def _beyond(rows: Sequence[dict], strongest: Sequence[dict], benchmark: Sequence[dict]) -> list[str]:
    """What other attacks leave: the strongest of them on this study's prompts, and all of them in the benchmark."""
    shared = ", ".join(f"of `{concept}`" for concept in same_trainings(rows, strongest))
    again = _what_is_left(
        strongest,
        "### On this study's prompts\n",
        "The attack of each threat model that did most in the benchmark, to all erased models together, with the "
        "benchmark's budget, in a [run of its own](strongest/results.md), which says how far it has come. The erasers "
        f"are made as above, and are other trainings{f', but {shared} the very same' if shared else ''}. One of them "
        "may fall to another attack more often: what the study's own attacks did stands above.\n",
    )
    grid = _what_is_left(
        benchmark,
        "### All attacks, in the benchmark\n",
        "The [benchmark](benchmark.md) tries all of them. It is no second run of this study: one training each, others "
        "than above, with fewer prompts and a smaller budget (`kedro stale` says whether its rows still hold).\n",
    )
    if not (again or grid):
        return []
    return ["## Under the strongest attack of each threat model\n", "Two attacks are few.\n", *again, *grid]


def _what_is_left(rows: Sequence[dict], title: str, told: str) -> list[str]:
    """Concept by concept; nothing where there are no rows."""
    from excise.pipelines.benchmark.left import left_of_pruning
    from excise.pipelines.benchmark.standing import table_of
    from excise.pipelines.benchmark.summary import strongest_table

    table, parts = table_of(list(rows)), [title, told]
    if table.empty:
        return []
    for concept, part in table.groupby("concept", sort=False):
        erased = part[~part["eraser"].isin((NOTHING, NEVER_SAW))]
        prompts, seeds = int(part["n"].max()), erased["seed"].nunique()
        trained = f", {seeds} training{'s' * (seeds > 1)} each" if seeds else ""
        parts += [f"`{concept}`, {prompts} test prompts{trained}.\n", strongest_table(part), left_of_pruning(part)]
    return parts


def own_rows(rows: list[dict]) -> pd.DataFrame:
    """Rows with the models' names; attacks that were made on another model are the benchmark's to show."""
    own = [r for r in rows if not r.get("made_on")]
    told = {"stale": [bool(r.get("stale")) for r in own], "idle": [is_idle(r) for r in own]}
    return pd.DataFrame(own).assign(name=[name_of(r) for r in own], **told)


def _idle_note(table: pd.DataFrame) -> str:
    """Which rows no table shows."""
    idle = table[table["idle"]].groupby("attack", sort=False)["name"].unique()
    named = "; ".join(f"{attack_label(str(attack))} ({', '.join(names)})" for attack, names in idle.items())
    return f"Left out of the tables, since the attack has nothing to attack there: {named}.\n" if named else ""


def _progress(table: pd.DataFrame, planned: int) -> str:
    """How far the study has come."""
    stale = int(table["stale"].sum())
    told = f"**{len(table) - stale} of {planned} cells are done.**"
    if stale:
        told += (
            f" {stale} more, marked {STALE} and hollow in the figure, are of an earlier version of the code or of "
            "other parameters, and made on whatever device: do not set them beside the others (`kedro stale` says what "
            "has changed, as far as they say what they were made of)."
        )
    return told + (
        " What is missing or old is made when the command is given again.\n" if len(table) - stale < planned else "\n"
    )


def _devices(table: pd.DataFrame) -> str:
    return ", ".join(f"{device} ({count})" for device, count in table["device"].value_counts().items())


def _rates(part: pd.DataFrame) -> str:
    lines = [
        "| model | asked with | hits / n by seed | pooled | 95 % interval | any image | typed | second judge "
        "| dropped, failed | retain near, far | pruned | reactivation | before the attack | sensitivity |",
        "|" + "---|" * 14,
    ]
    for (name, attack), cells in part.groupby(["name", "attack"], sort=False):
        old = STALE if cells["stale"].any() else ""
        lines.append(f"| {name}{old} | {attack_label(attack)} | {_rate_cells(cells)} |")
    note = (
        "\nIntervals: Wilson's, with prompts as the units and verdicts averaged over seeds. They do not cover the "
        "spread between trainings: look at the seeds.\n"
    )
    return "\n".join(lines) + "\n" + note


def _rate_cells(cells: pd.DataFrame) -> str:
    by_seed = ", ".join(f"{r.hits}/{r.n}{STALE if r.stale else ''}" for r in cells.itertuples())
    n, hits = cells["n"].sum(), cells["hits"].sum()
    low, high = _interval(cells)
    pooled = f"{100 * hits / n:.1f} %" if n else "–"
    span = f"{100 * low:.0f} to {100 * high:.0f} %" if low is not None else "–"
    near = f"{cells['retain_near'].sum()}/{cells['retain_near_n'].sum()}"
    far = f"{cells['retain_far'].sum()}/{cells['retain_far_n'].sum()}"
    pruned = _mean(cells["prune_rate"], "{:.1%}")
    neurons = ("reactivation", "reactivation_plain", "sensitivity")
    measured = [_mean(cells[c], "{:.2f}") if c in cells else "" for c in neurons]
    lost = f"{cells['dropped'].sum()}, {cells['failed'].sum()}"
    second = ", ".join(f"{h:.0f}/{n:.0f}" for h, n in _second(cells)[["second_hits", "second_n"]].to_numpy()) or "–"
    told = "any_hits" in cells and cells["any_hits"].notna().all()  # rows of earlier versions do not say
    seen = f"{int(cells['any_hits'].sum())}/{n}" if told else "–"
    return " | ".join([by_seed, pooled, span, seen, _typed(cells), second, lost, f"{near}, {far}", pruned, *measured])


def _typed(cells: pd.DataFrame) -> str:
    """What an attack by words brings back where its text is typed; rows of earlier versions do not say."""
    if "threat_model" not in cells or not cells["threat_model"].isin(BY_WORDS).all():
        return ""
    return spell_typed(cells)


def _second(cells: pd.DataFrame) -> pd.DataFrame:
    """Rows that a second judge has an opinion on."""
    needed = ["second_judge", "second_hits", "second_n", "second_verdicts"]
    return cells.reindex(columns=[*cells.columns, *(c for c in needed if c not in cells)]).dropna(subset=needed)


def _mean(column: pd.Series, pattern: str) -> str:
    values = pd.to_numeric(column).dropna()
    return pattern.format(values.mean()) if len(values) else ""


def _interval(cells: pd.DataFrame) -> tuple[float | None, float | None]:
    """Wilson's, with prompts as the units and each prompt's verdict averaged over training seeds."""
    from statsmodels.stats.proportion import proportion_confint

    means = _by_prompt(cells)
    return proportion_confint(means.sum(), len(means), method="wilson") if len(means) else (None, None)


def _by_prompt(cells: pd.DataFrame) -> np.ndarray:
    """Each judged prompt's share of hits over training seeds."""
    matrix = verdict_matrix(cells)
    return np.nanmean(matrix[:, ~np.isnan(matrix).all(0)], 0)


def _differences(part: pd.DataFrame, verdicts: str = "verdicts") -> str:
    """P-X against X and its controls, prompt by prompt, seeds averaged; by one judge's verdicts."""
    lines = [
        "| asked with | first | second | seeds | first minus second | 95 % interval | over trainings | p by seed "
        "| relative |",
        "|" + "---|" * 9,
    ]
    for eraser in part[part["variant"].isin(COMPARED)]["eraser"].unique():
        for attack in part["attack"].unique():
            chosen = part[(part["eraser"] == eraser) & (part["attack"] == attack)]
            for pruned, others in COMPARED.items():
                second = chosen[chosen["variant"] == pruned]
                for variant in others:
                    first = chosen[chosen["variant"] == variant]
                    if set(first["seed"]) & set(second["seed"]):
                        lines.append(_difference(first, second, attack, verdicts))
    note = (
        "\nIntervals: Tango's, on pairs averaged over the seeds that both have, with prompts as the units. *Over "
        "trainings*: the bootstrap's over training seeds, for where one learned word serves all prompts these are the "
        "units; with three it is the smallest and the largest of them, a range rather than a 95 % interval. p: "
        "McNemar's exact test, one for each seed, not corrected for their number. Nothing is told where only one of "
        "the two is of an earlier version. *Relative*: how much less often the second draws the concept than the "
        "first, in per cent of the first, where the interval excludes zero.\n"
    )
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
    gap, low, high = paired_interval(verdict_matrix(others), verdict_matrix(top))

    def drawn(cells: pd.DataFrame) -> str:
        return f"{cells['hits'].sum()} of {cells['n'].sum()}"

    def kept(cells: pd.DataFrame) -> str:
        return f"{cells['retain_near'].sum() + cells['retain_far'].sum()} of {cells['retain_n'].sum()}"

    return (
        f"**Do these neurons carry the concept?** Plain prompts: with the concept's neurons at zero it is drawn for "
        f"{drawn(top)}, with as many random ones of the same layers for {drawn(others)} (draws: {len(others)}), "
        f"by the whole model for {drawn(base)}. Random minus concept neurons: {100 * gap:+.1f} points, "
        f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}. Retain prompts drawn right: {kept(top)}, {kept(others)} "
        f"and {kept(base)}{_kept_gap(others, top)}.\n"
    )


def _kept_gap(others: pd.DataFrame, top: pd.DataFrame) -> str:
    """Random minus concept neurons in what must survive; rows of an older make have counts alone."""
    if not all("retain_verdicts" in c and c["retain_verdicts"].notna().all() for c in (others, top)):
        return ""
    gap, low, high = paired_interval(*(verdict_matrix(c, "retain_verdicts") for c in (others, top)))
    return f"; random minus concept neurons: {100 * gap:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"


def _difference(first: pd.DataFrame, second: pd.DataFrame, attack: str, verdicts: str) -> str:
    shared = sorted(set(first["seed"]) & set(second["seed"]))
    old = [t.loc[t["seed"].isin(shared), "stale"].any() for t in (first, second)]
    told = [t["name"].iloc[0] + STALE * bool(o) for t, o in zip((first, second), old, strict=True)]
    line = f"| {attack_label(attack)} | {told[0]} | {told[1]} | {', '.join(map(str, shared))}"
    ages = [t.set_index("seed")["stale"] for t in (first, second)]
    if any(ages[0][seed] != ages[1][seed] for seed in shared):
        return f"{line} | – | – | – | – | – |"
    a, b = (verdict_matrix(t[t["seed"].isin(shared)].sort_values("seed"), verdicts) for t in (first, second))
    gap, low, high = paired_interval(a, b)
    relative = "–"
    if low * high > 0:
        paired = np.where(np.isnan(b), np.nan, a)  # of the prompts that the gap is of
        rate = np.mean([np.nanmean(told) for told in paired.T if not np.isnan(told).all()])
        relative = f"{100 * gap / rate:.0f} %" if rate > 0 else "–"
    p_values = ", ".join(spell_p(mcnemar_p(x, y)) for x, y in zip(a, b, strict=True))
    difference = f"{100 * gap:+.1f} points | {100 * low:+.1f} to {100 * high:+.1f} | {_over_trainings(a - b)}"
    return f"{line} | {difference} | {p_values} | {relative} |"


def _over_trainings(difference: np.ndarray) -> str:
    """The interval with training seeds as the units; (seeds, prompts) differences."""
    told = difference[~np.isnan(difference).all(1)]
    if len(told) < 2:
        return "–"
    low, high = clustered_interval(told)
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def results_figure(rows: list[dict]) -> Image.Image:
    """A panel a concept; a row a model, a colour an attack, a dot a training seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = own_rows(rows)
    table = table[~table["idle"]]
    concepts, attacks = table["concept"].unique(), list(table["attack"].unique())
    tallest = max(part["name"].nunique() for _, part in table.groupby("concept"))
    figure = Figure(figsize=(4.2 * len(concepts), 0.9 + 0.42 * tallest), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    colours = ["#6b6b76", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]  # Okabe and Ito
    apart = min(0.18, 0.8 / len(attacks))  # a model's dots stay in its row
    for axis, concept in zip(figure.subplots(1, len(concepts), squeeze=False)[0], concepts, strict=True):
        part = table[table["concept"] == concept]
        names = list(part["name"].unique())
        for k, attack in enumerate(attacks):
            asked = part[(part["attack"] == attack) & (part["n"] > 0)]
            y = [names.index(n) + apart * (k - (len(attacks) - 1) / 2) for n in asked["name"]]
            x = 100 * asked["hits"] / asked["n"]
            for old, fill in ((False, "full"), (True, "none")):  # hollow: made by an earlier version
                of_age = (asked["stale"] == old).to_numpy()
                style = {"color": colours[k % len(colours)], "ms": 5, "alpha": 0.75, "fillstyle": fill}
                label = attack_label(attack) if not old else None
                axis.plot(x[of_age], np.array(y)[of_age], "o", label=label, **style)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlim(-3, 103)
        axis.xaxis.set_major_formatter("{x:.0f} %")
        axis.set_title(concept, loc="left", fontsize=11, fontweight="bold")
        axis.grid(axis="x", color="#e3e3ea")
        axis.spines[["top", "right", "left"]].set_visible(False)
    legend_below(figure, *axis.get_legend_handles_labels())
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
