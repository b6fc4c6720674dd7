"""Tokens before the prompt, by projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from excise.attacks.search import Case
from excise.attacks.search.nearest import NearestSearch
from excise.attacks.search.noise import spread
from excise.attacks.search.slots import SLOT

if TYPE_CHECKING:
    from .attack import PEZ


class PEZSearch(NearestSearch):
    options: PEZ

    def __init__(self, case: Case, options: PEZ):
        super().__init__(case, options)
        self.times = spread(10, 990, case.options.steps)

    def template(self, content: list[int]) -> list[int]:
        return [SLOT] * self.options.tokens + content

    def time(self) -> int:
        return self.times[self.done]
