"""The paper's diagnosis in a study's rows: does an attack wake P-X's concept neurons less than its controls'?"""

from __future__ import annotations

import pandas as pd

from .plan import UNAIDED

AGAINST = {"unpruned": "X", "plus": "X+", "scored": "scored mask", "random": "random mask"}
KEYS = ["concept", "eraser", "attack", "seed"]


def woken_table(table: pd.DataFrame) -> str:
    """P-X beside each control, on the same concept, eraser, attack and training seed: in how many of them the concept's
    neurons are less active under attack, and less sensitive to it. Empty where nothing was measured."""
    lines = [
        "| P-X beside | reactivation: lower in | mean difference | sensitivity: lower in | mean difference |",
        "|" + "---|" * 5,
    ]
    lines += filter(None, (_line(table, control, f"its {name}", "learned") for control, name in AGAINST.items()))
    without = "its X+, both without adversarial prompts"
    lines += filter(None, [_line(table, f"plus{UNAIDED}", without, f"learned{UNAIDED}")])
    if len(lines) == 2:
        return ""
    note = (
        "\nPairs of the same concept, eraser, attack and training seed; they share prompts and models, so that these "
        "are counts and no test. Reactivation is of activation times the norm of the weights that read it, and zeros "
        "make that norm smaller by themselves: under a random mask too.\n"
    )
    return "\n".join(lines) + "\n" + note


def _line(table: pd.DataFrame, control: str, name: str, pruned: str) -> str | None:
    first, second = (table[table["variant"] == v].set_index(KEYS) for v in (pruned, control))
    cells = [name]
    for column in ("reactivation", "sensitivity"):
        gap = (pd.to_numeric(first[column]) - pd.to_numeric(second[column])).dropna()
        if gap.empty:
            return None
        cells += [f"{int((gap < 0).sum())} of {len(gap)}", f"{gap.mean():+.3f}"]
    return f"| {' | '.join(cells)} |"
