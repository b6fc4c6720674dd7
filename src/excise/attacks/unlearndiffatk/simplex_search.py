"""Tokens as points on the simplex, moved by a gradient and projected back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from excise.attacks.search import Candidate, Case, Search
from excise.attacks.search.adam import adam_step, moments
from excise.attacks.search.noise import fixed_pairs, noise_errors, noise_of, spread
from excise.attacks.search.simplex import project_to_simplex, sample_one_hot
from excise.attacks.search.slots import SLOT, Slots, vocabulary

if TYPE_CHECKING:
    from .attack import UnlearnDiffAtk


class SimplexSearch(Search):
    """Rows: ``points`` (n, k, V) with Adam's moments; the best tokens so far, their loss, the plain prompt's."""

    def __init__(self, case: Case, options: UnlearnDiffAtk):
        super().__init__(case)
        self.options = options
        self.vocabulary = vocabulary(case.model)
        self.vectors = case.model.word_vectors(self.vocabulary).detach()
        self.times = spread(10, 990, case.options.steps)

    def arrange(self) -> None:
        if self.case.contents:
            self.slots = Slots(self.case.model, [[SLOT] * self.options.tokens + c for c in self.case.contents])

    def begin(self) -> None:
        n, k, v = len(self.case.contents), self.options.tokens, len(self.vocabulary)
        points = self.vectors.new_full((n, k, v), 1 / v)
        self.rows = {"points": points, **moments(points, "points")}
        self.rows["best"] = self.vectors.new_full((n,), float("inf"))
        self.rows["tokens"] = torch.zeros(n, k, dtype=torch.long, device=points.device)
        with torch.no_grad():
            states = self.case.model.encode_tokens(Slots(self.case.model, self.case.contents).ids)
            self.rows["plain"] = self._check(states)

    def advance(self) -> None:
        o, rows = self.options, self.rows
        points = rows["points"].requires_grad_(True)
        draws = [self.generator(i) for i in range(len(points))]
        uniforms = torch.stack([torch.rand(o.tokens, generator=g, dtype=torch.float64) for g in draws])
        noise = noise_of(self.case, draws)
        words = sample_one_hot(points, uniforms.to(points.device)) @ self.vectors
        losses = noise_errors(
            self.case.model, self.slots.states(words), self.case.references, noise, self.times[self.done]
        )
        (gradient,) = torch.autograd.grad(losses.sum(), points)
        with torch.no_grad():
            rows["points"] = points.detach()
            adam_step(rows, "points", gradient, self.done + 1, o.lr, o.weight_decay)
            rows["points"] = project_to_simplex(rows["points"])
        self.gradients += 1
        self.evaluations += 1
        if (self.done + 1) % o.check_every == 0 or self.done + 1 == self.case.options.steps:
            self._remember()

    @torch.no_grad()
    def _remember(self) -> None:
        """Keep the tokens of each prompt that scored best so far."""
        rows, tokens = self.rows, self.rows["points"].argmax(-1)
        losses = self._check(self.slots.states(self.vectors[tokens]))
        better = losses < rows["best"]
        rows["best"] = torch.where(better, losses, rows["best"])
        rows["tokens"] = torch.where(better.unsqueeze(-1), tokens, rows["tokens"])

    def _check(self, states: torch.Tensor) -> torch.Tensor:
        """Mean error on the fixed pairs of noise and timestep, (n,)."""
        total = sum(
            noise_errors(self.case.model, states, self.case.references, noise, time)
            for noise, time in fixed_pairs(self.case, self.options.checks)
        )
        self.evaluations += self.options.checks
        return total / self.options.checks

    def candidates(self) -> list[Candidate]:
        return [self._candidate(i, row) for i, row in enumerate(self.rows["points"].argmax(-1).tolist())]

    def best(self) -> list[Candidate]:
        wins = self.rows["best"] < self.rows["plain"]
        least = torch.minimum(self.rows["best"], self.rows["plain"]).tolist()
        return [
            self._candidate(i, tokens, least[i]) if wins[i] else Candidate(self.case.contents[i], loss=least[i])
            for i, tokens in enumerate(self.rows["tokens"].tolist())
        ]

    def _candidate(self, row: int, places: list[int], loss: float = float("nan")) -> Candidate:
        tokens = self.vocabulary[places].tolist()
        return Candidate(tokens + self.case.contents[row], tokens, loss=loss)
