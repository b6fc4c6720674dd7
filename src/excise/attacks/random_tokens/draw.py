"""Fresh random tokens at every step."""

from __future__ import annotations

import torch

from excise.attacks.search import Candidate, Case, Search
from excise.attacks.search.slots import vocabulary


class RandomSearch(Search):
    """Rows: ``tokens`` (n, k), places in the vocabulary."""

    def __init__(self, case: Case, tokens: int):
        super().__init__(case)
        self.tokens, self.vocabulary = tokens, vocabulary(case.model)

    def begin(self) -> None:
        self.advance()

    def advance(self) -> None:
        size = len(self.vocabulary)
        draws = [
            torch.randint(size, (self.tokens,), generator=self.generator(i)) for i in range(len(self.case.contents))
        ]
        self.rows = {"tokens": torch.stack(draws).to(self.vocabulary.device)}

    def candidates(self) -> list[Candidate]:
        chosen = self.vocabulary[self.rows["tokens"]].tolist()
        return [Candidate(ids + content, ids) for ids, content in zip(chosen, self.case.contents, strict=True)]
