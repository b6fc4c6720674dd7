"""The paper's diagnosis in a study's rows: does an attack wake P-X's concept neurons less than its controls'?"""

from __future__ import annotations

import pandas as pd

from excise.pipelines.names import PLAIN

from .plan import ALONE, UNAIDED

AGAINST = {"unpruned": "X", "plus": "X+", "scored": "scored mask", "random": "random mask"}
KEYS = ["concept", "eraser", "attack", "seed"]


def woken_table(table: pd.DataFrame) -> str:
    """P-X beside each control, on the same concept, eraser, attack and training seed: in how many of them the concept's
    neurons are less active under attack, and less sensitive to it. Empty where nothing was measured."""
    table = table[~table["stale"]]
    lines = [
        "| P-X beside | reactivation: lower in | mean difference | woken less in | mean difference "
        "| sensitivity: lower in | mean difference |",
        "|" + "---|" * 7,
    ]
    lines += filter(None, (_line(table, control, f"its {name}", "learned") for control, name in AGAINST.items()))
    without = "its X+, both without adversarial prompts"
    lines += filter(None, [_line(table, f"plus{UNAIDED}", without, f"learned{UNAIDED}")])
    for control, name in (("unpruned", "X, the mask alone"), (f"random{ALONE}", "its random mask, both alone")):
        lines += filter(None, [_line(table, control, name, f"learned{ALONE}")])
    if len(lines) == 2:
        return ""
    note = (
        "\nPairs of the same concept, eraser, attack and training seed, rows of earlier versions left out; they share "
        "prompts and models, so that these are counts and no test. *Woken*: reactivation under attack less "
        "that on plain prompts, in pairs of rows that hold both. Reactivation is of activation times the norm of the "
        "weights that read it, and zeros make that norm smaller by themselves"
        f"{_by_itself(table)}.\n"
    )
    return "\n".join(lines) + "\n" + note


def _by_itself(table: pd.DataFrame) -> str:
    """What a mask that erases nothing reads: the scale for all others of its size."""
    under = table[(table["variant"] == f"random{ALONE}") & (table["attack"] != PLAIN)]
    values = _measured(under)["reactivation"].dropna()
    if values.empty:
        return ""
    hits, n = int(under["hits"].sum()), int(under["n"].sum())
    return (
        f": under a random mask alone, where the concept is drawn for {hits} of {n} prompts, it is "
        f"{values.min():.2f} to {values.max():.2f}"
    )


def _line(table: pd.DataFrame, control: str, name: str, pruned: str) -> str | None:
    first, second = (_measured(table[table["variant"] == v].set_index(KEYS)) for v in (pruned, control))
    gaps = (first - second)[["reactivation", "woken", "sensitivity"]]
    if gaps["reactivation"].isna().all():
        return None
    cells = [name]
    for gap in (gaps[column].dropna() for column in gaps):
        cells += [f"{int((gap < 0).sum())} of {len(gap)}", f"{gap.mean():+.3f}"] if len(gap) else ["–", "–"]
    return f"| {' | '.join(cells)} |"


def _measured(rows: pd.DataFrame) -> pd.DataFrame:
    """What was measured of the neurons, as numbers; NaN where a row does not say."""
    columns = ["reactivation", "reactivation_plain", "sensitivity"]
    told = rows.reindex(columns=columns).apply(pd.to_numeric)
    return told.assign(woken=told["reactivation"] - told["reactivation_plain"])
