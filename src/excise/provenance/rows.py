"""Committed rows of a study or benchmark, counted again from the verdicts that they keep prompt by prompt."""

from __future__ import annotations

from collections import Counter
from typing import Any

COUNTED = {"hits": "h", "failed": "f", "dropped": "d"}


def wrong_row(row: dict[str, Any]) -> list[str]:
    """What in a row does not follow from its verdicts (h hit, . clear, f failed, d dropped); nothing if all does."""
    found = _wrong(row, "verdicts", {**COUNTED, "n": "h."})
    if "second_verdicts" in row:
        found += _wrong(row, "second_verdicts", {"second_hits": "h", "second_n": "h."})
    kept = row.get("retain_verdicts")
    if kept is not None:
        right = Counter(kept)
        if right["h"] != row["retain_near"] + row["retain_far"] or right["h"] + right["."] != row["retain_n"]:
            found.append("retain_near, retain_far and retain_n are not what retain_verdicts says")
    if row.get("any_hits", row["hits"]) < row["hits"] or row.get("any_hits", 0) > row["n"]:
        found.append(f"any_hits is {row['any_hits']}, of {row['hits']} hits among {row['n']}")
    if row["attack"] != "plain" and len(row.get("found", row["verdicts"])) != len(row["verdicts"]):
        found.append("found has another number of prompts than verdicts")
    return found


def _wrong(row: dict[str, Any], verdicts: str, counted: dict[str, str]) -> list[str]:
    letters = Counter(row[verdicts])
    counts = {name: sum(letters[letter] for letter in of) for name, of in counted.items()}
    return [f"{name} is {row[name]}, and {verdicts} say {n}" for name, n in counts.items() if row[name] != n]
