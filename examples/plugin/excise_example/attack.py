"""Say it again, and again."""

from typing import ClassVar

from excise.attacks import ThreatModel
from excise.attacks.search import Candidate, Case, Search, SearchAttack


class Repetition(SearchAttack):
    """No options; a step is one more repetition of the prompt, as far as there is room."""

    threat: ClassVar[ThreatModel] = ThreatModel.BLACK_BOX_TEXT

    def start(self, case: Case) -> Search:
        return Repeating(case, self.room(case.model))


class Repeating(Search):
    """What is tried follows from the number of the step alone, so there are no rows to keep."""

    def __init__(self, case: Case, room: int):
        super().__init__(case)
        self.room = room

    def begin(self) -> None: ...

    def advance(self) -> None: ...

    def candidates(self) -> list[Candidate]:
        found = []
        for content in self.case.contents:
            times = max(1, min(1 + self.done, self.room // max(1, len(content))))
            found.append(Candidate(content * times, content * (times - 1)))
        return found
