"""Prompting4Debugging (P4D, Chin et al. 2024): make the erased model predict what the base model predicts.

min over tokens of E ‖ε_erased(x_t, t, P_adv) − ε_base(x_t, t, P)‖², without guidance, at random timesteps, x_t being
the base model's picture with noise; optimised by projection to the nearest tokens. Two kinds: N, free tokens in the
prompt's place; K, a free token after every few of the prompt's. The attacker holds both models. For testing one's own
eraser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from excise.attacks.attack import ThreatModel
from excise.attacks.search import NO_BASE, Case, Search
from excise.attacks.search.nearest_attack import NearestAttack

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel


class P4D(NearestAttack):
    """Options of the attack; a step is a gradient step, and two evaluations: the base model's counts as well.

    Attributes:
        kind: ``n`` for free tokens alone, ``k`` for free ones between the prompt's own.
        tokens: how many, with ``n`` (the authors: 16).
        gap: a free token after every so many of the prompt's, with ``k`` (the authors: 3).
    """

    threat: ClassVar[ThreatModel] = ThreatModel.WHITE_BOX_TEXT
    compares: ClassVar[bool] = True
    kind: Literal["n", "k"] = "n"
    tokens: int = Field(16, ge=1)
    gap: int = Field(3, ge=1)

    def room(self, model: DiffusionModel) -> int:
        room = super().room(model)
        return room if self.kind == "n" else room * self.gap // (self.gap + 1)

    def refuses(self, model: DiffusionModel) -> str:
        return "" if model.wears else NO_BASE

    def evaluations(self, steps: int) -> float:
        # one evaluation with a backward pass, and one without, which is a third of it, as are those that score
        return (4 * steps + self.checks + self.checked(steps)) / 3

    def start(self, case: Case) -> Search:
        from .imitation import P4DSearch

        return P4DSearch(case, self)
