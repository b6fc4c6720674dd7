"""The gate's verdict for people, as Markdown."""

from __future__ import annotations

from .checks import Check, Gate


def gate_page(gate: Gate) -> str:
    """``gate.md``: the verdict, why, and one row a check."""
    reasons = [f"- {check.sentence}" for check in gate.checks if not check.passed]
    rows = [
        "| check | measured | bound | asked | n | passed |",
        "|---|---|---|---|---|---|",
        *map(_row, gate.checks),
    ]
    head = [
        f"# The gate is {'passed' if gate.passed else 'not passed'}",
        "",
        f"`{gate.eraser}`, erased of `{gate.concept}` from `{gate.model}`, run {gate.run}.",
        "",
    ]
    reasons = ["Why not:", "", *reasons, ""] if reasons else []
    notes = ["", *(f"- {note}" for note in gate.notes)] if gate.notes else []
    return "\n".join([*head, *reasons, *rows, *notes, ""])


def _row(check: Check) -> str:
    measured, bound, asked = (_number(check, value) for value in (check.measured, check.bound, check.threshold))
    passed = "yes" if check.passed else "**no**"
    return f"| {check.name} | {measured} | {bound} | {check.side} {asked} | {check.n} | {passed} |"


def _number(check: Check, value: float | None) -> str:
    if value is None:
        return "missing"
    return f"{value:g}" if check.name == "one run" or check.name.endswith(": prompts") else f"{100 * value:.1f} %"
