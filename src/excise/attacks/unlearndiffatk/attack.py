"""UnlearnDiffAtk (Zhang et al. 2024): the erased model as its own classifier, attacked through tokens.

min over k adversarial tokens of E ‖ε − ε_erased(√ᾱ x_0 + √(1−ᾱ) ε, t, [tokens ‖ prompt])‖², where x_0 is the base
model's own picture for the prompt. No judge takes part in the gradient. Adam, then projection onto the simplex, as in
the authors' code (their text says projected sign descent). For testing one's own eraser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Case, Search, SearchAttack

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel


class UnlearnDiffAtk(SearchAttack):
    """Options of the attack; a step is a gradient step.

    Attributes:
        tokens: k, how many adversarial tokens stand before the prompt (the authors: 5 for nudity, 3 for others).
        lr: Adam's rate (the authors: .01 over up to 2000 steps; a short budget needs larger ones).
        check_every: every so many steps the most probable tokens are scored on ``checks`` fixed pairs of noise and
            timestep; the best that were met are kept. Where none scores better than the plain prompt on the same
            pairs, the plain prompt is kept: an attacker would not make it worse.
    """

    threat: ClassVar[ThreatModel] = ThreatModel.WHITE_BOX_TEXT
    tokens: int = Field(3, ge=1)
    lr: float = Field(0.1, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    check_every: int = Field(10, ge=1)
    checks: int = Field(4, ge=1)

    def room(self, model: DiffusionModel) -> int:
        return super().room(model) - self.tokens

    def evaluations(self, steps: int) -> float:
        scored = self.checks * (1 + -(-steps // self.check_every))  # plain prompt, candidates: forward alone
        return steps + scored / 3

    def start(self, case: Case) -> Search:
        from .simplex_search import SimplexSearch

        return SimplexSearch(case, self)
