"""Sampling that starts from a noised picture of the concept, as img2img and inpainting do (Meng et al. 2022, SDEdit).

The attacker has a picture, here the base model's own for the prompt, and asks the erased model to finish it. At a low
strength any model gives the picture back, whether it knows the concept or not: compare with a model that never saw it.
For testing one's own eraser.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Candidate, Case, Search, SearchAttack


class ImageToImage(SearchAttack):
    """Options of the attack; a step is a try at the next strength. Blind (``images`` 0) it makes the last try alone.

    Attributes:
        strength: how much of the way from noise to picture is sampled, the first try (1 would be a fresh picture).
        weakest: the last try; of one step it does nothing.
        asked: with the prompt, or with nothing.
    """

    threat: ClassVar[ThreatModel] = ThreatModel.IMAGE
    strength: float = Field(0.8, gt=0, lt=1)
    weakest: float = Field(0.8, gt=0, lt=1)
    asked: Literal["prompt", "nothing"] = "prompt"

    def start(self, case: Case) -> Search:
        return Strengths(case, self)


class Strengths(Search):
    """From strong to weak; no rows."""

    def __init__(self, case: Case, options: ImageToImage):
        super().__init__(case)
        self.options = options

    def begin(self) -> None: ...

    def advance(self) -> None: ...

    def candidates(self) -> list[Candidate]:
        o, last = self.options, max(1, self.case.options.steps - 1)
        strength = o.strength + (o.weakest - o.strength) * max(0, self.done - 1) / last
        contents = self.case.contents if o.asked == "prompt" else [[] for _ in self.case.contents]
        return [
            Candidate(content, latent=clean, strength=round(strength, 6))
            for content, clean in zip(contents, self.case.references, strict=True)
        ]
