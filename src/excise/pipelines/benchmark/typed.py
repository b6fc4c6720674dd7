"""What attacks by words bring back where their text is typed: they may end in token ids that no text spells."""

from __future__ import annotations

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from excise.metrics.typed import BY_WORDS
from excise.reports.words import attack_label

from .standing import Share


def typed_share(cells: pd.DataFrame) -> Share:
    """Hits with the text typed / judged prompts, over all training seeds; no hits of none where a row does not say.

    Early rows have no verdict on text that the tokenizer reads as other tokens than those that were drawn: there it is
    the hits as the prompt stands, and with a text that is read as the tokens, the least that can be typed.
    """
    hits = _typed_hits(cells)
    if hits.isna().any() or not cells["n"].sum():
        return Share(0, 0, None, None)
    judged = cells.get("typed_n", cells["n"]).fillna(cells["n"])
    found, n, seeds = int(hits.sum()), int(judged.sum()), cells["seed"].nunique()
    low, high = map(float, proportion_confint(found / seeds, n / seeds, method="wilson"))  # prompts are the units
    return Share(found, n, low, high)


def _typed_hits(cells: pd.DataFrame) -> pd.Series:
    none = pd.Series(float("nan"), cells.index)
    return cells.get("typed_hits", none).fillna(cells.get("readable_hits", none))


def at_least(cells: pd.DataFrame) -> bool:
    """Whether more might come back by typing: a row has no verdict on text that is read as other tokens, and prompts
    with such text, which may be hits also where their tokens are none."""
    none = pd.Series(float("nan"), cells.index)
    attacked = cells["n"] + cells.get("failed", 0)  # all that were not dropped
    return bool((cells.get("typed_hits", none).isna() & ~cells.get("readable", none).ge(attacked)).any())


def spell_typed(cells: pd.DataFrame) -> str:
    """Hits with the text typed, in brackets those of the tokens: ``at least 3 (6)``; empty where no row says."""
    share = typed_share(cells)
    return f"{'at least ' * at_least(cells)}{share.hits} ({int(cells['hits'].sum())})" if share.n else ""


def typed_table(part: pd.DataFrame) -> str:
    """How many prompts of each attack by words come back where its text is typed."""
    asked = part[part["threat_model"].isin(BY_WORDS) & ~part["idle"]]
    if asked.empty or _typed_hits(asked).isna().all():
        return ""
    names = list(part["name"].unique())
    lines = [
        "Hits of these attacks by words where their text is typed, in brackets where the model is handed their tokens. "
        "*At least*: of rows that count the prompts as they stand and the text that is read as the "
        "tokens, and did not draw the text that is read as others.\n",
        "| asked with | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 1),
    ]
    for attack in asked["attack"].unique():
        found = []
        for name in names:
            cells = asked[(asked["attack"] == attack) & (asked["name"] == name)]
            found.append(spell_typed(cells) or "–")
        lines.append(f"| {attack_label(str(attack))} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"
