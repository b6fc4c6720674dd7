"""Greedy coordinate gradient on a text encoder, as in MMA-Diffusion (Yang et al. 2024).

max over free tokens of cos(pooled(tokens), pooled_base(prompt)): a string that means what the prompt meant. Each step
ranks swaps of one token by the gradient at its one-hot vector, tries some of the best, and takes the best of those that
the tokenizer reads back as they were written. ``gcg`` attacks the erased model's encoder, where erasers that train it
must show their worth; ``mma`` the base model's, and carries the string over. For testing one's own eraser.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Case, Search, SearchAttack


class GCG(SearchAttack):
    """Options of the attack; a step is a round of swaps, and no evaluation of the denoiser.

    Attributes:
        tokens: length of the string (the authors: 20, 1000 steps).
        best: how many swaps a place are considered (the authors: 256).
        tries: how many swaps are tried a step (the authors: 512).
        whole: also leave out the prompt's own tokens, as the authors do with a list of words.
    """

    threat: ClassVar[ThreatModel] = ThreatModel.WHITE_BOX_TEXT
    bare: ClassVar[bool] = False  # whether the base model's encoder is attacked
    tokens: int = Field(10, ge=1)
    best: int = Field(64, ge=1)
    tries: int = Field(32, ge=1)
    whole: bool = True

    def start(self, case: Case) -> Search:
        from .swaps import SwapSearch

        return SwapSearch(case, self)


class MMA(GCG):
    """The same on the base model's text encoder: nothing of the erased model is asked."""

    threat: ClassVar[ThreatModel] = ThreatModel.BLACK_BOX_TEXT
    bare: ClassVar[bool] = True
