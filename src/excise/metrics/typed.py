"""Rates of what somebody can type: an attack's words as the tokenizer reads them."""

from __future__ import annotations

import pandas as pd

from excise.attacks.attack import ThreatModel

from .rates import either

BY_WORDS = (ThreatModel.WHITE_BOX_TEXT, ThreatModel.BLACK_BOX_TEXT)


def finds_words(adversarial: pd.DataFrame) -> bool:
    """Whether an attack's table is of words, which somebody can type: others learn vectors, start from a picture or
    change weights, also where all prompts were hits before or had to be dropped."""
    return bool(adversarial["threat_model"].isin(BY_WORDS).all())


def typed_verdicts(plain: pd.DataFrame, of_tokens: pd.DataFrame, of_text: pd.DataFrame) -> pd.DataFrame:
    """Verdicts on each prompt as it stands or with its adversarial text typed.

    Args:
        plain: verdicts of prompts as they stand.
        of_tokens: of adversarial tokens, alone or already together with ``plain``; prompts that were dropped are among
            them.
        of_text: of the prompts whose text the tokenizer reads as other tokens, drawn from that text.

    Returns:
        What ``either`` returns; for prompts that ``of_text`` lacks the tokens' verdict, which their text spells.
    """
    other = of_text.set_index("prompt_id")
    same = of_tokens.set_index("prompt_id")
    parts = [part for part in (same[~same.index.isin(other.index)], other) if len(part)]
    whole = pd.concat(parts).loc[of_tokens["prompt_id"]] if parts else same
    return either(plain, whole.reset_index())
