"""Of which training rows are: on another kind of processor the same seed gives another eraser, and not one that differs
in last digits alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .naming import name_of
from .plan import ALONE, SILENCED

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


def same_trainings(rows: Iterable[dict[str, Any]], others: Iterable[dict[str, Any]]) -> list[str]:
    """Concepts of which all erasers that two studies share, and at least one, are the same ones, by their digests."""
    known: dict[Model, set[str]] = {}
    for row in rows:
        if worn(row):
            known.setdefault(model_of(row), set()).add(worn(row))
    alike: dict[str, bool] = {}
    for row in others:
        if worn(row) and model_of(row) in known:
            alike[row["concept"]] = alike.get(row["concept"], True) and known[model_of(row)] == {worn(row)}
    return [concept for concept, same in alike.items() if same]


def apart_from_x(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str, str], list[int]]:
    """What was not made from the X, or the P-X, that stands beside it, and what does not say whether it was.

    Rows tell by digest of which erasers theirs was made (``provenance.made_from``). Early ones do not: another kind of
    processor, or a random mask that is not as large as the learned one, shows it, and another run leaves it open.

    Returns:
        (concept, eraser, variant, what shows it) -> training seeds.
    """
    models: dict[Model, list[dict[str, Any]]] = {}
    for row in rows:
        if worn(row) and row["eraser"] != SILENCED:
            models.setdefault(model_of(row), []).append(row)
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for (concept, eraser, variant, seed), own in models.items():
        beside = {v: models.get((concept, eraser, v, seed), []) for v in _made_of(variant)}
        if told := _shown(own, {v: part for v, part in beside.items() if part}):
            found.setdefault((concept, eraser, variant, told), []).append(seed)
    return found


def _made_of(variant: str) -> list[str]:
    """The variants that one is made from: X, and for masks that copy a learned one's size that one."""
    if variant == "unpruned":
        return []
    kind, alone, _ = variant.partition(ALONE)
    return ["unpruned", *([f"learned{alone}"] if kind in ("scored", "random") else [])]


def _shown(own: list[dict[str, Any]], beside: dict[str, list[dict[str, Any]]]) -> str:
    """What shows, or leaves open, that a model's rows are not made from the models beside it; empty for nothing."""
    left_open = ""
    for variant, part in beside.items():
        of = name_of(part[0])
        digests = {str(d) for r in own if (d := r["provenance"].get("made_from", {}).get(variant.removesuffix(ALONE)))}
        if digests:
            if not digests <= {worn(r) for r in part}:
                return f"from another training of {of}, by its digest"
            continue
        here, there = (_told(rows, "device") for rows in (own, part))
        if here and there and set(here) != set(there):
            return f"on {' and '.join(here)} ({of} on {' and '.join(there)})"
        sizes = [{r.get("mask_bytes") for r in rows} for rows in (own, part)]
        if own[0]["variant"].startswith("random") and variant != "unpruned" and sizes[0].isdisjoint(sizes[1]):
            return f"from another training of {of}, by the mask's size"
        runs = [set(_told(rows, "run")) for rows in (own, part)]
        if all(runs) and runs[0].isdisjoint(runs[1]):
            left_open = left_open or f"in another run than {of}, which leaves it open"
    return left_open


def _told(rows: list[dict[str, Any]], what: str) -> list[str]:
    """What rows say of the machine or the run that they were made in, in their order."""
    said = (r["provenance"].get(what) for r in rows)
    names = (s.get("name") if isinstance(s, dict) else s for s in said)
    return list(dict.fromkeys(str(n) for n in names if n))


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
    for concept, eraser, variant, told in apart_from_x(rows):
        names = apart.setdefault(told, {}).setdefault(concept, [])
        names.append(name_of({"eraser": eraser, "variant": variant}))
    if apart:
        listed = "; ".join(
            f"made {told}: " + ", ".join(f"of `{concept}` {', '.join(names)}" for concept, names in found.items())
            for told, found in apart.items()
        )
        lines.append(
            "On another kind of processor, or after a change that alters last digits, the same seed trains another X. "
            "These were not made from the models of these tables, or do not say so: a difference between them and "
            f"those holds the chance of another training, as one between two seeds does; {listed}.\n"
        )
    return "\n".join(lines)
