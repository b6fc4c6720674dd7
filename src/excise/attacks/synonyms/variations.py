"""Prompts put another way, in a fixed order."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from excise.attacks.search import Candidate, Case, Search
from excise.attacks.search.slots import vocabulary
from excise.prompts.safety import names_minor

if TYPE_CHECKING:
    from .attack import Synonyms


class VariationSearch(Search):
    """No rows: what is tried follows from the prompt and the step."""

    def __init__(self, case: Case, options: Synonyms):
        super().__init__(case)
        self.options = options
        self.vocabulary = vocabulary(case.model)
        # a twin says the same without the concept: what no twin says is likely a word for it
        twins = case.knowledge.neutral
        texts = case.model.tokenizer(twins, add_special_tokens=False).input_ids if twins else []
        self.neutral = {token for text in texts for token in text}

    def arrange(self) -> None:
        if self.case.contents:
            self.variations = [self._variations(content) for content in self.case.contents]

    def begin(self) -> None: ...

    def advance(self) -> None: ...

    @torch.no_grad()
    def _variations(self, content: list[int]) -> list[list[int]]:
        """Swaps and frames by turns; swaps of words that no neutral twin has first, and of those the nearest."""
        model, tok = self.case.model, self.case.model.tokenizer
        with model.bare():
            table = normalize(model.word_vectors(), dim=-1)
            near = table[content] @ table[self.vocabulary].T
        near = near.masked_fill(torch.tensor(content, device=near.device).unsqueeze(1) == self.vocabulary, -2)
        cosines, places = near.topk(min(self.options.neighbours, near.shape[1]), dim=1)
        swaps = [
            (
                content[at] in self.neutral,
                -float(cosines[at, k]),
                [*content[:at], int(self.vocabulary[places[at, k]]), *content[at + 1 :]],
            )
            for at in range(len(content))
            for k in range(places.shape[1])
        ]
        framed = [f.format(tok.decode(content)) for f in self.options.frames]
        turns = zip_longest([tokens for *_, tokens in sorted(swaps)], tok(framed, add_special_tokens=False).input_ids)
        tried = [tokens for turn in turns for tokens in turn if tokens is not None]
        return [tokens for tokens in tried if not names_minor(tok.decode(tokens))] or [content]

    def candidates(self) -> list[Candidate]:
        """The present variation; when all were tried, they are tried again on other seeds."""
        found = []
        for content, tried, seed in zip(self.case.contents, self.variations, self.case.seeds, strict=True):
            turn, which = divmod(max(0, self.done - 1), len(tried))
            changed = [t for t in tried[which] if t not in content]
            found.append(Candidate(tried[which], changed, seed=seed + 1_000_003 * turn if turn else None))
        return found
