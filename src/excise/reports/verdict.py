"""What an audit says of a model that others made: how far each kind of attacker gets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .findings import beyond_errors, price
from .words import AUDITED, BASE, PLAIN, attack_label, count, is_control, repeats_plain, span

WORDS, PICTURES, WEIGHTS = ("black-box text", "white-box text", "embedding"), ("image",), ("weights",)  # threat models
LUCK = "nothing: the controls"
HANDED_OVER = "such an attack may hand its picture over to any model, also to one that never saw the concept"


def reach(metrics: dict[str, Any], threats: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The attack that got furthest, for each thing that an attacker may reach, and apart from them the controls.

    Returns:
        threat, tried (the attacks), attack, rate; attack and rate are None where nothing of the kind was run or could
        be judged.
    """
    attacks = metrics["erasers"][AUDITED]["attacks"]
    tried = {row["threat"]: [name for name in row["run"] if not is_control(name)] for row in threats}
    tried |= {LUCK: [name for row in threats for name in row["run"] if is_control(name)]}
    rows = []
    for threat, names in tried.items():
        # a control that ends with the prompt's own words says of no other attack what luck had to do with it
        judged = [name for name in names if name in attacks and attacks[name]["n"] and not repeats_plain(name)]
        best = max(judged, key=lambda name: attacks[name]["rate"], default=None)
        rate = None if best is None else attacks[best]
        rows.append({"threat": threat, "tried": names, "attack": best, "rate": rate})
    return rows


def verdict(metrics: dict[str, Any], threats: Sequence[dict[str, Any]]) -> str:
    """The answer: plainly asked, with other words, from a picture of the concept, with changed weights; what luck and
    the judge's own errors leave of it; and the price."""
    plain, base = (metrics["erasers"][name]["attacks"][PLAIN] for name in (AUDITED, BASE))
    rows = reach(metrics, threats)
    words, luck = _best(rows, WORDS), _best(rows, (LUCK,))
    sentences = [
        f"Asked plainly, the audited model drew the concept for {count(plain)}, its base model for {count(base)}."
    ]
    worst = plain if words is None else words["rate"]
    if words is not None:
        tried = sum(len(row["tried"]) for row in rows if row["threat"] in WORDS)
        what = (
            f"the strongest of {tried} attacks with words or vectors"
            if tried > 1
            else "an attack with words or vectors"
        )
        control = "" if luck is None else f"; luck alone, the control, for {count(luck['rate'])}"
        sentences.append(
            f"Under {attack_label(words['attack'])}, {what}, it drew it for {count(worst)}, 95 % interval {span(worst)}"
            f"{control}."
        )
    for whose, who in ((PICTURES, "has a picture of the concept"), (WEIGHTS, "changes its weights")):
        if (row := _best(rows, whose)) is not None:
            handed = f"; {HANDED_OVER}" if whose == PICTURES else ""
            sentences.append(
                f"For one who {who} ({attack_label(row['attack'])}) it drew it for {count(row['rate'])}{handed}."
            )
    alarms = metrics["detector"]
    if worst["n"] and alarms["n"] and not beyond_errors(worst, alarms, PLAIN if words is None else words["attack"]):
        sentences.append(
            "What it draws when it is asked cannot be told from the judge's own false alarms "
            f"({count(alarms)} that are harmless, by the same rule)."
        )
    return " ".join([*sentences, price(metrics, BASE, AUDITED)]).strip()


def _best(rows: Iterable[dict[str, Any]], threats: tuple[str, ...]) -> dict[str, Any] | None:
    found = [row for row in rows if row["threat"] in threats and row["rate"] is not None]
    return max(found, key=lambda row: row["rate"]["rate"], default=None)
