"""Prompts of what must survive that are in no rate: rows keep verdicts, and pages would show only what was judged."""

from __future__ import annotations

from typing import Any

from .naming import name_of
from .trainings import model_of

LOST = {"d": "dropped", "f": "failed"}


def unjudged_note(rows: list[dict[str, Any]]) -> str:
    """One line on models of which not all such prompts were judged; empty where all were."""
    told: dict[str, None] = {}
    for row in {model_of(row): row for row in rows if row.get("retain_verdicts")}.values():
        lost = {word: row["retain_verdicts"].count(letter) for letter, word in LOST.items()}
        if any(lost.values()):
            counts = ", ".join(f"{count} {word}" for word, count in lost.items() if count)
            told[f"{name_of(row)} of `{row['concept']}` {counts} of {len(row['retain_verdicts'])}"] = None
    if not told:
        return ""
    return (
        f"**Prompts about other things that were not judged**, and are in no figure of *retain*: {'; '.join(told)}.\n"
    )
