"""Of which training rows are: on another kind of processor the same seed gives another eraser, and not one that differs
in last digits alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .naming import name_of
from .plan import SILENCED

Model = tuple[str, str, str, int]  # concept, eraser, variant, training seed
OTHER = "‡"  # marks a figure of another training of a model than the figures beside it


def model_of(row: dict[str, Any]) -> Model:
    """The model that a row is about."""
    return row["concept"], row["eraser"], row["variant"], row["seed"]


def worn(row: dict[str, Any]) -> str:
    """Digest of the eraser that a row's model wore; empty where there was none, or an early row does not say."""
    return str((row.get("provenance") or {}).get("eraser") or "")


def several_trainings(rows: Iterable[dict[str, Any]]) -> dict[Model, list[int]]:
    """Models whose rows wear several erasers, with the number of rows of each, the most first."""
    found: dict[Model, Counter[str]] = {}
    for row in rows:
        if worn(row) and row["eraser"] != SILENCED:
            found.setdefault(model_of(row), Counter())[worn(row)] += 1
    return {model: [n for _, n in each.most_common()] for model, each in found.items() if len(each) > 1}


def apart_from_x(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str, str], list[int]]:
    """What was not trained from the X that stands beside it, since another kind of processor made that one's rows.

    Returns:
        (concept, eraser, variant, processors) -> training seeds.
    """
    machines: dict[Model, dict[str, None]] = {}
    for row in rows:
        device = (row.get("provenance") or {}).get("device") or {}
        if worn(row) and row["eraser"] != SILENCED and device.get("name"):
            machines.setdefault(model_of(row), {})[device["name"]] = None
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for (concept, eraser, variant, seed), own in machines.items():
        beneath = machines.get((concept, eraser, "unpruned", seed))
        if beneath and variant != "unpruned" and own != beneath:
            where = f"{' and '.join(own)} (X on {' and '.join(beneath)})"
            found.setdefault((concept, eraser, variant, where), []).append(seed)
    return found


def trainings_note(rows: list[dict[str, Any]]) -> str:
    """What of this a page has to say of its rows; empty where all fit together."""
    lines = []
    mixed: dict[tuple, list[str]] = {}
    for (concept, eraser, variant, seed), counts in several_trainings(rows).items():
        mixed.setdefault((concept, seed, tuple(counts)), []).append(name_of({"eraser": eraser, "variant": variant}))
    for (concept, seed, counts), names in mixed.items():
        lines.append(
            f"**Not one model**: {' and '.join(map(str, counts))} rows each of {', '.join(names)} of `{concept}` "
            f"(training {seed}) wear erasers that were trained apart. Do not set these rows side by side.\n"
        )
    apart: dict[str, dict[str, list[str]]] = {}
    for concept, eraser, variant, where in apart_from_x(rows):
        names = apart.setdefault(where, {}).setdefault(concept, [])
        names.append(name_of({"eraser": eraser, "variant": variant}))
    if apart:
        listed = "; ".join(
            f"made on {where}: " + ", ".join(f"of `{concept}` {', '.join(names)}" for concept, names in found.items())
            for where, found in apart.items()
        )
        lines.append(
            "On another kind of processor the same seed trains another X. These were not made from the X of these "
            f"tables, but from another training of it, as another seed would be; {listed}.\n"
        )
    return "\n".join(lines)
