"""Which committed rows no longer match code, parameters and inputs, and what has changed since they were made."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from .nodes import plan_shops
from .plan import Cell, StudyOptions, cell_of


class Makers(Protocol):
    """Who makes a grid's rows, and can say what decides each."""

    def fingerprint(self, cell: Cell) -> str: ...

    def parts(self, cell: Cell) -> dict[str, str]: ...


def compare_rows(study: StudyOptions, committed: list[dict], **given: Any) -> dict[str, Any]:
    """A grid against its committed rows.

    Args:
        committed: the rows.
        given: everything else that ``plan_shops`` takes.
    """
    cells, _, shops = plan_shops(study, **given)
    return compare_cells(cells, shops, committed)


def compare_cells(cells: list[Cell], makers: Makers, committed: list[dict]) -> dict[str, Any]:
    """Cells against committed rows.

    Returns:
        ``cells`` (of the grid), ``current``, ``stale`` and ``missing`` (how many of them), ``others`` (rows of no
        cell of this grid); ``changed``: how many stale rows each part has changed for, the commonest first;
        ``untold``: stale rows that do not say what they were made of.
    """
    rows = {cell_of(row): row for row in committed}
    counts: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for cell in cells:
        row = rows.pop(cell, None)
        if row is None:
            counts["missing"] += 1
            continue
        if row["fingerprint"] == makers.fingerprint(cell):
            counts["current"] += 1
            continue
        counts["stale"] += 1
        if "made_of" not in row:
            counts["untold"] += 1
            continue
        now, then = makers.parts(cell), row["made_of"]
        changed.update(part for part in sorted({*now, *then}) if now.get(part) != then.get(part))
    told = {key: counts[key] for key in ("current", "stale", "missing", "untold")}
    return {"cells": len(cells), **told, "others": len(rows), "changed": dict(changed.most_common())}


def spell(name: str, pipeline: str, found: dict[str, Any]) -> str:
    """The comparison for people.

    Args:
        pipeline: what makes the rows, with the options that it is to be given.
    """
    counts = ", ".join(f"{found[what]} {what}" for what in ("current", "stale", "missing"))
    lines = [f"{name}: {found['cells']} cells, {counts}."]
    lines += [f"  {count} stale: {part} changed" for part, count in found["changed"].items()]
    if found["untold"]:
        lines.append(f"  {found['untold']} stale: they do not say what they were made of")
    if found["others"]:
        lines.append(f"  {found['others']} rows are of no cell of this grid")
    if found["stale"] or found["missing"]:
        lines.append(f"  kedro run --pipeline={pipeline} makes these, and no others.")
    return "\n".join(lines)
