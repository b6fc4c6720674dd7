"""Tokens before the prompt, by projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from excise.attacks.search import Case
from excise.attacks.search.nearest import NearestSearch
from excise.attacks.search.noise import noise_errors, spread
from excise.attacks.search.slots import SLOT

if TYPE_CHECKING:
    from .attack import PEZ


class PEZSearch(NearestSearch):
    def __init__(self, case: Case, options: PEZ):
        super().__init__(case, options.lr, options.weight_decay)
        self.tokens, self.times = options.tokens, spread(10, 990, case.options.steps)

    def template(self, content: list[int]) -> list[int]:
        return [SLOT] * self.tokens + content

    def losses(self, states: torch.Tensor) -> torch.Tensor:
        return noise_errors(self.case.model, states, self.case.references, self.noise(), self.times[self.done])
