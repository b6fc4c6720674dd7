"""What pictures show of the domain that nothing was erased from: cross-domain retain accuracy.

UnlearnCanvas (Zhang et al. 2024) asks for it as CRA: where a style was erased, are things still drawn right? Where a
thing was erased, are styles? In-domain retain accuracy, IRA, is what the concept's own retain judge says of its
neighbours. Their code draws what was erased in all of the other domain, too; here the two kinds of prompts stand apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
from pydantic import Field

from .rates import Rate


class CrossRate(Rate):
    """The share of prompts whose pictures show what they also say.

    Attributes:
        prompts: retain, of what must survive; target, of the concept.
        labels: how many different ones the prompts ask for.
        commonest: share of the prompts that ask for the commonest: who sees this one everywhere is right as often.
        judge, version, sha256, threshold: who says so.
    """

    prompts: Literal["retain", "target"]
    labels: int = Field(ge=1)
    commonest: float = Field(gt=0, le=1)
    judge: str
    version: str
    sha256: str
    threshold: float


def asked_labels(prompts: pd.Series, words: Mapping[str, Sequence[str]]) -> pd.Series:
    """Which label each prompt names.

    Args:
        prompts: prompt_id -> text.
        words: label -> words for it, found as whole words; where several labels' are found the longest counts.

    Returns:
        prompt_id -> label, without the prompts that name none, or two labels by words as long.
    """
    spoken = [
        (label, re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE))
        for label, several in words.items()
        for word in several
    ]
    found = {}
    for prompt_id, text in prompts.items():
        lengths: dict[str, int] = {}
        for label, pattern in spoken:
            for match in pattern.finditer(text):
                lengths[label] = max(lengths.get(label, 0), len(match[0]))
        longest = [label for label, length in lengths.items() if length == max(lengths.values())]
        if len(longest) == 1:
            found[prompt_id] = longest[0]
    return pd.Series(found, dtype=object)
