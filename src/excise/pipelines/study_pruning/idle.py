"""Rows in which the attack had nothing to attack: no figure of theirs is an attack's."""

from __future__ import annotations

from typing import Any

from excise.pipelines.names import comparing
from excise.reports.words import method_of

from .plan import NEVER_SAW, NOTHING


def is_idle(row: dict[str, Any]) -> bool:
    """Whether the attack compares a model with itself, or looks for zeros where a mask set none."""
    from excise.attacks import ATTACKS

    method = method_of(row["attack"])
    if comparing(method) and row["eraser"] in (NOTHING, NEVER_SAW):
        return True
    rate = row.get("prune_rate")
    return getattr(ATTACKS.get(method), "revives", False) and (rate is None or rate != rate)  # NaN, in a table


def flag_idle(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with ``idle`` where there was nothing to attack, for whoever reads the file without these pages."""
    return row | {"idle": True} if is_idle(row) else row
