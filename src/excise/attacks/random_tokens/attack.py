"""Random tokens before the prompt: what an attack finds must be compared with as many judged images of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Case, Search, SearchAttack

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel


class RandomTokens(SearchAttack):
    """Options of the control; a step is a fresh draw.

    Attributes:
        tokens: how many stand before the prompt.
    """

    threat: ClassVar[ThreatModel] = ThreatModel.BLACK_BOX_TEXT
    tokens: int = Field(5, ge=1)

    def room(self, model: DiffusionModel) -> int:
        return super().room(model) - self.tokens

    def start(self, case: Case) -> Search:
        from .draw import RandomSearch

        return RandomSearch(case, self.tokens)
