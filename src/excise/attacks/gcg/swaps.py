"""A string that means to a text encoder what the prompt means, swap by swap."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cosine_similarity

from excise.attacks.search import Candidate, Case, Search
from excise.attacks.search.slots import SLOT, Slots, vocabulary

if TYPE_CHECKING:
    from .attack import GCG


class SwapSearch(Search):
    """Rows: ``tokens`` (n, k), places in the vocabulary; ``loss`` (n,), 1 − cosine of the present string."""

    def __init__(self, case: Case, options: GCG):
        super().__init__(case)
        self.options = options
        self.length = min(options.tokens, case.model.room)
        self.vocabulary = vocabulary(case.model)

    def arrange(self) -> None:
        if not self.case.contents:
            return
        model = self.case.model
        self.slots = Slots(model, [[SLOT] * self.length for _ in self.case.contents])
        self.banned = torch.zeros(len(self.case.contents), len(self.vocabulary), dtype=torch.bool)
        if self.options.whole:
            for row, content in enumerate(self.case.contents):
                self.banned[row] = torch.isin(self.vocabulary.cpu(), torch.tensor(content))
        self.banned = self.banned.to(self.vocabulary.device)
        with torch.no_grad(), model.bare():  # what the prompt meant before anything was erased
            self.target = model.pooled_tokens(Slots(model, self.case.contents).ids)

    def begin(self) -> None:
        words = torch.tensor(self._words(), device=self.vocabulary.device)
        starts = []
        for i, banned in enumerate(self.banned):
            ids = words[~banned[words]].cpu()
            starts.append(ids[torch.randint(len(ids), (self.length,), generator=self.generator(i))])
        tokens = torch.stack(starts).to(self.vocabulary.device)
        with torch.no_grad():
            losses = self._losses(tokens.unsqueeze(1)).squeeze(1)
        # a start that cannot be written down gives way to the first string that can
        self.rows = {
            "tokens": tokens,
            "loss": losses.masked_fill(~self._readable(tokens.unsqueeze(1)).squeeze(1), torch.inf),
        }

    def _words(self) -> list[int]:
        """Places in the vocabulary of tokens that are words by themselves."""
        tok, ids = self.case.model.tokenizer, self.vocabulary.tolist()
        again = tok(tok.batch_decode([[i] for i in ids]), add_special_tokens=False).input_ids
        return [place for place, (one, back) in enumerate(zip(ids, again, strict=True)) if back == [one]]

    def advance(self) -> None:
        o, rows = self.options, self.rows
        n, k = rows["tokens"].shape
        ranked = self._ranked_swaps()
        tried = rows["tokens"].unsqueeze(1).repeat(1, o.tries, 1)
        for i in range(n):
            g = self.generator(i)
            places = torch.randint(k, (o.tries,), generator=g)
            picks = torch.randint(ranked.shape[-1], (o.tries,), generator=g)
            tried[i, torch.arange(o.tries), places] = ranked[i, places, picks]
        with torch.no_grad():
            losses = self._losses(tried)
            closer = losses < rows["loss"].unsqueeze(1)  # what gains nothing need not be read back
            if closer.any():
                closer = closer.masked_scatter(closer, self._readable(tried[closer].unsqueeze(0)))
            losses = losses.masked_fill(~closer, float("inf"))
            best = losses.argmin(1)
            found, loss = tried[torch.arange(n), best], losses[torch.arange(n), best]
            better = loss < rows["loss"]
            rows["tokens"] = torch.where(better.unsqueeze(-1), found, rows["tokens"])
            rows["loss"] = torch.where(better, loss, rows["loss"])
        self.gradients += 1

    def _ranked_swaps(self) -> torch.Tensor:
        """For every place the tokens that the gradient likes best there, (n, k, best)."""
        table = self.case.model.word_vectors(self.vocabulary).detach()
        vectors = table[self.rows["tokens"]].requires_grad_(True)
        with self._encoder():
            pooled = self.case.model.pooled_embeddings(self.slots.words(vectors), self.slots.ids)
            loss = (1 - cosine_similarity(pooled, self.target, dim=-1)).sum()
            (gradient,) = torch.autograd.grad(loss, vectors)
        gain = -(gradient @ table.T)
        return (
            gain.masked_fill(self.banned.unsqueeze(1), -float("inf"))
            .topk(min(self.options.best, gain.shape[-1]))
            .indices
        )

    def _losses(self, tokens: torch.Tensor) -> torch.Tensor:
        """1 − cosine of strings (n, tries, k) to their prompts, (n, tries)."""
        model, (n, tries, _) = self.case.model, tokens.shape
        ids = self.slots.ids.repeat_interleave(tries, 0).clone()
        first = model.family.first  # no start token before T5's words
        ids[:, first : first + self.length] = self.vocabulary[tokens].reshape(n * tries, -1)
        with self._encoder():
            pooled = model.pooled_tokens(ids)
        return 1 - cosine_similarity(pooled.view(n, tries, -1), self.target.unsqueeze(1), dim=-1)

    def _readable(self, tokens: torch.Tensor) -> torch.Tensor:
        """Whether the tokenizer reads a string's text as the tokens that it was made of, (n, tries)."""
        tok = self.case.model.tokenizer
        ids = self.vocabulary[tokens].reshape(-1, self.length).tolist()
        again = tok(tok.batch_decode(ids), add_special_tokens=False).input_ids
        return torch.tensor([a == b for a, b in zip(ids, again, strict=True)], device=tokens.device).view(
            tokens.shape[:2]
        )

    def _encoder(self):
        return self.case.model.bare() if self.options.bare else nullcontext()

    def candidates(self) -> list[Candidate]:
        tokens, losses = self.vocabulary[self.rows["tokens"]].tolist(), self.rows["loss"].tolist()
        return [Candidate(ids, ids, loss=loss) for ids, loss in zip(tokens, losses, strict=True)]
