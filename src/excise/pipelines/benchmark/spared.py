"""Prompts that an attacker did not try, since they were drawn as they stand, and that are no hit where it counts."""

from __future__ import annotations

import pandas as pd

from excise.pipelines.names import PLAIN
from excise.reports.words import attack_label

MODEL = ["eraser", "variant", "seed"]


def spared_note(part: pd.DataFrame) -> str:
    """How many prompts of each model count as withstood though nothing was tried on them; nothing where none does.

    Args:
        part: own rows of one concept.
    """
    if "found" not in part:
        return ""
    plain = part[part["attack"] == PLAIN].set_index(MODEL)["verdicts"]
    told = []
    for name, cells in part[part["attack"] != PLAIN].groupby("name", sort=False):
        counts: dict[str, int] = {}
        for row in cells.to_dict("records"):
            standing = plain.get(tuple(row[key] for key in MODEL), "")
            spared = sum(k == 0 and v == "." for k, v in zip(row["found"] or [], standing, strict=False))
            if spared:
                counts[row["attack"]] = counts.get(row["attack"], 0) + spared
        if counts:
            most, under = max(counts.values()), ", ".join(attack_label(a) for a in counts)
            told.append(f"{name} {most} ({under})")
    if not told:
        return ""
    return (
        "Spared: an attack that has images judged does not try a prompt of which the attacker's own seeds show a hit "
        "as it stands. Where the fresh seeds show none, it counts as withstood, though nothing was tried on it: "
        + "; ".join(told)
        + ".\n"
    )
