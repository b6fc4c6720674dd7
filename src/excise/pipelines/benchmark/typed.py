"""Hits that a keyboard is enough for: an attack by words may end in token ids that no text spells."""

from __future__ import annotations

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from excise.attacks.attack import ThreatModel
from excise.reports.words import attack_label

from .standing import Share

BY_WORDS = (ThreatModel.WHITE_BOX_TEXT, ThreatModel.BLACK_BOX_TEXT)


def typed_share(cells: pd.DataFrame) -> Share:
    """Hits that can be typed / judged prompts, over all training seeds: as the prompt stands, or with a text that the
    tokenizer reads as the tokens that were drawn. No hits of none where a row does not say."""
    if "readable_hits" not in cells or cells["readable_hits"].isna().any() or not cells["n"].sum():
        return Share(0, 0, None, None)
    hits, n, seeds = int(cells["readable_hits"].sum()), int(cells["n"].sum()), cells["seed"].nunique()
    low, high = map(float, proportion_confint(hits / seeds, n / seeds, method="wilson"))  # prompts are the units
    return Share(hits, n, low, high)


def typed_table(part: pd.DataFrame) -> str:
    """Of the hits of each attack by words, how many can be typed."""
    asked = part[part["threat_model"].isin(BY_WORDS) & ~part["idle"]]
    if asked.empty or "readable_hits" not in asked:
        return ""
    names = list(part["name"].unique())
    lines = [
        "Of these hits by words, how many can be typed: as the prompt stands, or with a text that the tokenizer reads "
        "as the tokens that were drawn. That is the least: what the text of the others draws, which is read as other "
        "tokens, was not measured.\n",
        "| asked with | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 1),
    ]
    for attack in asked["attack"].unique():
        found = []
        for name in names:
            cells = asked[(asked["attack"] == attack) & (asked["name"] == name)]
            share = typed_share(cells) if len(cells) else None
            found.append(f"{share.hits} of {int(cells['hits'].sum())}" if share and share.n else "–")
        lines.append(f"| {attack_label(str(attack))} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"
