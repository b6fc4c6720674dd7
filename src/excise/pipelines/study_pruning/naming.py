"""How pages call a row's model."""

from __future__ import annotations

from typing import Any

from excise.reports.words import eraser_label

from .plan import ALONE, NEVER_SAW, SILENCED, UNAIDED

LABELS = {NEVER_SAW: "never saw it"}


def name_of(row: Any) -> str:
    """``esd``, ``learned`` -> ``P-ESD``."""
    endings = {"unpruned": "{}", "plus": "{}_plus", "learned": "p_{}", "scored": "p_{}_scored", "random": "p_{}_random"}
    endings |= {f"{v}{UNAIDED}": f"{endings[v]}{UNAIDED}" for v in ("plus", "learned")}
    endings |= {f"{v}{ALONE}": f"{endings[v]}{ALONE}" for v in ("learned", "scored", "random")}
    if row["eraser"] == SILENCED:
        return "random neurons silenced" if row["variant"] == "random" else "concept neurons silenced"
    return LABELS.get(row["eraser"]) or eraser_label(endings[row["variant"]].format(row["eraser"]))
