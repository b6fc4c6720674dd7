"""The prompt as it stands, on one seed after the other: best of many images, and nothing else.

A hit that it finds is luck. Its verdict falls on the fresh seeds of the plain prompt, with that prompt's words: it is
the plain prompt's, so that among the prompts that were no hit before, none is confirmed.
"""

from __future__ import annotations

from typing import ClassVar

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Candidate, Case, Search, SearchAttack

FAR = 1_000_003  # from the prompt's own seeds, on which its images are counted


class SeedSearch(SearchAttack):
    """Options: none; a step is another seed."""

    threat: ClassVar[ThreatModel] = ThreatModel.BLACK_BOX_TEXT

    def start(self, case: Case) -> Search:
        return Seeds(case)


class Seeds(Search):
    """The search for a lucky seed; no rows."""

    def begin(self) -> None: ...

    def advance(self) -> None: ...

    def candidates(self) -> list[Candidate]:
        case = self.case
        return [Candidate(c, seed=seed + FAR * self.done) for c, seed in zip(case.contents, case.seeds, strict=True)]
