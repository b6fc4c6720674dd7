"""Hard prompts by projection (PEZ, Wen et al. 2023): every step runs on the nearest real tokens, and moves the vectors.

The gradient is taken at the projected vectors and applied to the continuous ones.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from .adam import adam_step, moments
from .case import Candidate, Case
from .noise import fixed_pairs, noise_errors, noise_of
from .search import Search
from .slots import Slots, vocabulary

if TYPE_CHECKING:
    from .nearest_attack import NearestAttack


class NearestSearch(Search):
    """Rows: ``vectors`` (n, k, d) with Adam's moments; the tokens that scored best so far, and their loss."""

    def __init__(self, case: Case, options: NearestAttack):
        super().__init__(case)
        self.options = options
        self.vocabulary = vocabulary(case.model)
        self.table = case.model.word_vectors(self.vocabulary).detach()

    @abstractmethod
    def template(self, content: list[int]) -> list[int]:
        """A prompt's tokens with ``SLOT`` where the attack may choose."""

    @abstractmethod
    def time(self) -> int:
        """This step's timestep."""

    def goal(self, noise: torch.Tensor, time: int) -> torch.Tensor | None:
        """What the erased model shall predict, (n, c, h, w); None for what a perfect denoiser says."""
        return None

    def arrange(self) -> None:
        if self.case.contents:
            self.slots = Slots(self.case.model, [self.template(c) for c in self.case.contents])

    def begin(self) -> None:
        k = self.slots.count
        starts = [
            torch.randint(len(self.vocabulary), (k,), generator=self.generator(i, 1))
            for i in range(len(self.slots.ids))
        ]
        vectors = self.table[torch.stack(starts).to(self.table.device)].clone()
        self.rows = {"vectors": vectors, **moments(vectors, "vectors")}
        self.rows["best"] = vectors.new_full((len(vectors),), float("inf"))
        self.rows["tokens"] = torch.zeros(vectors.shape[:2], dtype=torch.long, device=vectors.device)
        goals = [self.goal(*pair) for pair in fixed_pairs(self.case, self.options.checks)]
        if goals[0] is not None:  # asked once, and kept
            self.rows["goals"] = torch.stack(goals, 1)

    def advance(self) -> None:
        o, rows = self.options, self.rows
        noise, time = noise_of(self.case, [self.generator(i) for i in range(len(rows["best"]))]), self.time()
        hard = self.table[self.nearest(rows["vectors"])].requires_grad_(True)
        losses = self.losses(self.states(hard), noise, time, self.goal(noise, time))
        (gradient,) = torch.autograd.grad(losses.sum(), hard)
        with torch.no_grad():
            adam_step(rows, "vectors", gradient, self.done + 1, o.lr, o.weight_decay)
        self.gradients += 1
        if (self.done + 1) % o.check_every == 0 or self.done + 1 == self.case.options.steps:
            self._remember()

    @torch.no_grad()
    def _remember(self) -> None:
        """Keep the tokens of each prompt that scored best so far."""
        rows, tokens = self.rows, self.nearest(self.rows["vectors"])
        losses = self.check(self.states(self.table[tokens]))
        better = losses < rows["best"]
        rows["best"] = torch.where(better, losses, rows["best"])
        rows["tokens"] = torch.where(better.unsqueeze(-1), tokens, rows["tokens"])

    def check(self, states: torch.Tensor) -> torch.Tensor:
        """Mean loss on the fixed pairs of noise and timestep, (n,)."""
        goals, total = self.rows.get("goals"), 0.0
        for k, (noise, time) in enumerate(fixed_pairs(self.case, self.options.checks)):
            total = total + self.losses(states, noise, time, None if goals is None else goals[:, k])
        return total / self.options.checks

    def losses(self, states: torch.Tensor, noise: torch.Tensor, time: int, goal: torch.Tensor | None) -> torch.Tensor:
        """The loss of each prompt on one noise and timestep, (n,); differentiable in the states."""
        self.evaluations += 1
        return noise_errors(self.case.model, states, self.case.references, noise, time, goal)

    def states(self, vectors: torch.Tensor) -> torch.Tensor:
        """Text states with the vectors (n, k, d) in their places; those with most places may have left."""
        return self.slots.states(vectors[:, : self.slots.count])

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """The token with the largest cosine to each vector, as a place in the vocabulary, (n, k)."""
        return (normalize(vectors, dim=-1) @ normalize(self.table, dim=-1).T).argmax(-1)

    def candidates(self) -> list[Candidate]:
        return self._spell(self.nearest(self.rows["vectors"]), [float("nan")] * len(self.case.contents))

    def best(self) -> list[Candidate]:
        return self._spell(self.rows["tokens"], self.rows["best"].tolist())

    def _spell(self, places: torch.Tensor, losses: list[float]) -> list[Candidate]:
        tokens = self.slots.used(self.vocabulary[places].tolist())
        filled = self.slots.fill(tokens)
        return [Candidate(*row) for row in zip(filled, tokens, [[]] * len(tokens), losses, strict=True)]
