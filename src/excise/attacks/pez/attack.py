"""PEZ against an erased model: UnlearnDiffAtk's loss, minimised by projection to the nearest tokens.

min over k tokens before the prompt of E ‖ε − ε_erased(√ᾱ x_0 + √(1−ᾱ) ε, t, [tokens ‖ prompt])‖²; the optimiser is
that of Wen et al. 2023, as in the benchmark of Zhang et al. 2024, where it goes by "hard prompt". For testing one's own
eraser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Case, Search
from excise.attacks.search.nearest_attack import NearestAttack

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel


class PEZ(NearestAttack):
    """Options of the attack; a step is a gradient step.

    Attributes:
        tokens: adversarial tokens before the prompt.
    """

    threat: ClassVar[ThreatModel] = ThreatModel.WHITE_BOX_TEXT
    tokens: int = Field(5, ge=1)

    def room(self, model: DiffusionModel) -> int:
        return super().room(model) - self.tokens

    def evaluations(self, steps: int) -> float:
        return steps + self.checked(steps) / 3  # without a backward pass, which makes two thirds of one

    def start(self, case: Case) -> Search:
        from .projection import PEZSearch

        return PEZSearch(case, self)
