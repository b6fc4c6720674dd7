"""Hard prompts by projection (PEZ, Wen et al. 2023): every step runs on the nearest real tokens, and moves the vectors.

The gradient is taken at the projected vectors and applied to the continuous ones.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch.nn.functional import normalize

from .adam import adam_step, moments
from .case import Candidate, Case
from .search import Search
from .slots import Slots, vocabulary


class NearestSearch(Search):
    """Rows: ``vectors`` (n, k, d) with Adam's moments; the tokens of the lowest loss so far.

    Args:
        lr, weight_decay: of Adam.
    """

    def __init__(self, case: Case, lr: float, weight_decay: float):
        super().__init__(case)
        self.lr, self.weight_decay = lr, weight_decay
        self.vocabulary = vocabulary(case.model)
        self.table = case.model.word_vectors(self.vocabulary).detach()

    @abstractmethod
    def template(self, content: list[int]) -> list[int]:
        """A prompt's tokens with ``SLOT`` where the attack may choose."""

    @abstractmethod
    def losses(self, states: torch.Tensor) -> torch.Tensor:
        """The loss of each prompt at this step, (n,); differentiable in the states."""

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

    def advance(self) -> None:
        rows = self.rows
        tokens = self.nearest(rows["vectors"])
        hard = self.table[tokens].requires_grad_(True)
        losses = self.losses(self.slots.states(hard[:, : self.slots.count]))  # those with most places may have left
        (gradient,) = torch.autograd.grad(losses.sum(), hard)
        with torch.no_grad():
            better = losses.detach() < rows["best"]
            rows["best"] = torch.where(better, losses.detach(), rows["best"])
            rows["tokens"] = torch.where(better.unsqueeze(-1), tokens, rows["tokens"])
            adam_step(rows, "vectors", gradient, self.done + 1, self.lr, self.weight_decay)
        self.gradients += 1
        self.evaluations += 1

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """The token with the largest cosine to each vector, as a place in the vocabulary, (n, k)."""
        return (normalize(vectors, dim=-1) @ normalize(self.table, dim=-1).T).argmax(-1)

    def noise(self) -> torch.Tensor:
        """This step's noise, each prompt's own, (n, c, h, w)."""
        clean = self.case.references
        return torch.stack([torch.randn(clean.shape[1:], generator=self.generator(i)) for i in range(len(clean))]).to(
            clean
        )

    def candidates(self) -> list[Candidate]:
        return self._spell(self.nearest(self.rows["vectors"]), [float("nan")] * len(self.case.contents))

    def best(self) -> list[Candidate]:
        return self._spell(self.rows["tokens"], self.rows["best"].tolist())

    def _spell(self, places: torch.Tensor, losses: list[float]) -> list[Candidate]:
        tokens = self.slots.used(self.vocabulary[places].tolist())
        filled = self.slots.fill(tokens)
        return [Candidate(*row) for row in zip(filled, tokens, [[]] * len(tokens), losses, strict=True)]
