"""A study on one page: hits of X, X+ and P-X over all training seeds, beside the base model and the floor."""

from __future__ import annotations

import pandas as pd

from excise.reports.words import attack_label

from .plan import ALONE, NEVER_SAW, NOTHING, STALE, UNAIDED

CORE = (
    *("unpruned", f"plus{UNAIDED}", f"learned{UNAIDED}", "plus", "learned"),
    *(f"learned{ALONE}", f"scored{ALONE}", f"random{ALONE}"),
)


def short_table(table: pd.DataFrame) -> str:
    """Markdown: a line a model, hits / n under every attack, and how much of the rest is still drawn right."""
    attacks = list(dict.fromkeys(table["attack"]))
    lines = [
        "| erased | model | " + " | ".join(map(attack_label, attacks)) + " | retain |",
        "|" + "---|" * (len(attacks) + 3),
    ]
    for concept, part in table.groupby("concept", sort=False):
        several = part[part["variant"] == "plus"]["eraser"].unique()  # with the control of the mask
        for eraser in (NOTHING, NEVER_SAW, *several):
            for variant in CORE:
                cells = part[(part["eraser"] == eraser) & (part["variant"] == variant)]
                if len(cells):
                    lines.append(f"| {concept} | {cells['name'].iloc[0]} | {_counts(cells, attacks)} |")
    return "\n".join(lines) + "\n"


def _counts(cells: pd.DataFrame, attacks: list[str]) -> str:
    found = []
    for attack in attacks:
        asked = cells[cells["attack"] == attack]
        old = STALE if len(asked) and asked["stale"].any() else ""
        found.append(f"{asked['hits'].sum()} / {asked['n'].sum()}{old}" if len(asked) else "–")
    each = cells.drop_duplicates("seed")  # the same pictures stand beside every attack
    kept = (each["retain_near"] + each["retain_far"]).sum()
    old = STALE if cells["stale"].any() else ""
    return " | ".join([*found, f"{kept} / {each['retain_n'].sum()}{old}"])
