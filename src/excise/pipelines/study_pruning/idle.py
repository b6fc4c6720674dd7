"""Rows in which the attack had nothing to attack: no figure of theirs is an attack's."""

from __future__ import annotations

from typing import Any

from excise.errors import UserError
from excise.pipelines.names import comparing
from excise.reports.words import method_of

from .plan import NEVER_SAW, NOTHING


def is_idle(row: dict[str, Any]) -> bool:
    """Whether the attack compares a model with itself, or looks for zeros where a mask set none."""
    method = method_of(row["attack"])
    if comparing(method) and row["eraser"] in (NOTHING, NEVER_SAW):
        return True
    rate = row.get("prune_rate")
    return _revives(method) and (rate is None or rate != rate)  # NaN, in a table


def refuse_other_habits(name: str, method: str) -> None:
    """A row says under which name its attack stands, and by that alone it is known what the attack needs.

    Raises:
        UserError: an attack that needs the base model, or a mask's zeros, under a name that tells of none, or the other
            way round.
    """
    called = method_of(name)
    for habit in (comparing, _revives):
        if habit(called) != habit(method):
            which = method if habit(method) else called
            raise UserError(
                f"The attack '{name}' is made by '{method}': a name must begin with '{which}' if and only if that is "
                "its method."
            )


def _revives(method: str) -> bool:
    from excise.attacks import ATTACKS

    return getattr(ATTACKS.get(method), "revives", False)


def flag_idle(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with ``idle`` where there was nothing to attack, for whoever reads the file without these pages."""
    return row | {"idle": True} if is_idle(row) else row
