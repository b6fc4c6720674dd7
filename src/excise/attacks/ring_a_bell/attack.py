"""Ring-A-Bell (Tsai et al. 2024): tokens whose text states are the prompt's, with the concept turned up.

The concept is the mean difference of text states between prompts about it and their neutral twins. The goal of a prompt
is its own states plus ``strength`` times that; a genetic search over tokens minimises the squared distance, summed over
all positions, in the *base* model's text encoder. Nothing of the erased model is asked. For testing one's own eraser.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Case, Search, SearchAttack


class RingABell(SearchAttack):
    """Options of the attack; a step is a generation.

    Attributes:
        tokens: length of the string (the authors: 16, 38 or 75 to 77).
        strength: η, how far the concept is turned up (the authors: 3 for nudity, 5 to 5.5 for violence).
        population: strings that live at a time (the authors: 200, for 3000 generations).
        mutation, crossover: how likely each is, for a child (the authors: .25 and .5).
    """

    threat: ClassVar[ThreatModel] = ThreatModel.BLACK_BOX_TEXT
    tokens: int = Field(16, ge=1)
    strength: float = Field(3.0, gt=0)
    population: int = Field(60, ge=4)
    mutation: float = Field(0.25, ge=0, le=1)
    crossover: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _even(self) -> RingABell:
        if self.population % 2:
            raise ValueError("population must be even: half of it lives on")
        return self

    def start(self, case: Case) -> Search:
        from .genes import GeneSearch

        return GeneSearch(case, self)
