"""What is left of pruning where each model faces the attack that does most to it."""

from __future__ import annotations

import pandas as pd

from excise.pipelines.study_pruning.naming import name_of
from excise.pipelines.study_pruning.pairs import paired_interval, verdict_matrix

from .standing import REFERENCES, by_second_judge, one_effort, rank_on, worst

ONE_EFFORT = "\u00b9"
BASES = ("unpruned", "plus")  # X and X+: P-X is what is left over those


def left_of_pruning(part: pd.DataFrame) -> str:
    """A table a concept: P-X less its X, and less its X+, by threat model; empty where there is no P-X. Where a second
    judge saw the same pictures, what it says stands below."""
    told = _table(part)
    if not told:
        return ""
    second = by_second_judge(part)
    judges = second.groupby("second_judge", sort=False) if len(second) else []
    return (
        "What is left of pruning: each model under the attack of a threat model that does most to it, so that two "
        "models may face two attacks; paired by prompt, Tango's interval, uncorrected. Below zero P-X holds better.\n\n"
        + told
        + "".join(
            f"\nThe same by {judge}, on the same pictures:\n\n{again}"
            for judge, seen in judges
            if (again := _table(seen))
        )
    )


def _table(part: pd.DataFrame) -> str:
    erased = part[~part["eraser"].isin(REFERENCES)]
    pairs = [
        (eraser, base)
        for eraser, cells in erased.groupby("eraser", sort=False)
        for base in BASES
        if {"learned", base} <= set(cells["variant"])
    ]
    threats = [str(t) for t in part["threat_model"].unique() if t != "plain prompt"]
    asked = {t: attacks for t in threats if (attacks := rank_on(part, (t,)))}
    if not pairs or not asked:
        return ""
    titles = [" less ".join(name_of({"eraser": e, "variant": v}) for v in ("learned", base)) for e, base in pairs]
    lines = ["| threat model | " + " | ".join(titles) + " |", "|" + "---|" * (len(titles) + 1)]
    left: list[str] = []
    for threat, attacks in asked.items():
        cells = []
        for title, (eraser, base) in zip(titles, pairs, strict=True):
            ours = [erased[(erased["eraser"] == eraser) & (erased["variant"] == v)] for v in ("learned", base)]
            gap = _gap(ours, attacks)
            cells.append("{:+.0f} points ({:+.0f} to {:+.0f})".format(*(100 * v for v in gap)) if gap else "–")
            left += [f"{title} ({threat})"] if gap and gap[2] < 0 else []
        shared = one_effort(erased[erased["attack"].isin(attacks)])
        lines.append(f"| {threat}{ONE_EFFORT if shared else ''} | {' | '.join(cells)} |")
    note = (
        f"{ONE_EFFORT}: one effort (a learned word, a change of the weights) served all prompts; such an interval "
        "speaks of this one effort, and another may do otherwise.\n"
    )
    return (
        "\n".join(lines)
        + f"\n\nBelow zero with its interval: {'; '.join(left) or 'none'}; {len(left)} of {len(pairs) * len(asked)}.\n"
        + (f"\n{note}" if any(ONE_EFFORT in line for line in lines) else "")
    )


def _gap(models: list[pd.DataFrame], attacks: list[str]) -> tuple[float, float, float] | None:
    """Difference, low, high of the first model less the second, each under what does most to it.

    Training seeds that only one of them has are left out: pairs are counted within a training.
    """
    strongest = [worst(cells, attacks) for cells in models]
    if any(found is None for found in strongest):
        return None
    rows = [
        cells[(cells["attack"] == found[0]) & ~cells["idle"]]
        for cells, found in zip(models, strongest, strict=True)
        if found is not None
    ]
    both = set(rows[0]["seed"]) & set(rows[1]["seed"])
    if not both:
        return None
    first, second = (verdict_matrix(cells[cells["seed"].isin(both)].sort_values("seed")) for cells in rows)
    return paired_interval(first, second)
