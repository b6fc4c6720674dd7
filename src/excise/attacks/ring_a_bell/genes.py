"""A genetic search for strings with given text states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from excise.attacks.search import Candidate, Case, Search
from excise.attacks.search.slots import Slots, vocabulary
from excise.errors import UserError
from excise.images.tokens import frame_tokens

if TYPE_CHECKING:
    from .attack import RingABell


class GeneSearch(Search):
    """Rows: ``genes`` (n, population, k), places in the vocabulary; ``loss`` (n, population); the best come first."""

    def __init__(self, case: Case, options: RingABell):
        super().__init__(case)
        if not case.knowledge.target:
            raise UserError("ring_a_bell needs prompts about the concept and their neutral twins: give it knowledge.")
        self.options = options
        self.length = min(options.tokens, case.model.room)
        self.vocabulary = vocabulary(case.model)

    @torch.no_grad()
    def arrange(self) -> None:
        if not self.case.contents:
            return
        model, known = self.case.model, self.case.knowledge
        with model.bare():
            concept = (model.encode(known.target) - model.encode(known.neutral)).mean(0)
            self.goal = model.encode_tokens(Slots(model, self.case.contents).ids) + self.options.strength * concept

    @torch.no_grad()
    def begin(self) -> None:
        size = (self.options.population, self.length)
        draws = [self.generator(i, 1) for i in range(len(self.case.contents))]
        genes = torch.stack([torch.randint(len(self.vocabulary), size, generator=g) for g in draws])
        genes = genes.to(self.vocabulary.device)
        self._live(genes, self._losses(genes))

    @torch.no_grad()
    def advance(self) -> None:
        o, genes = self.options, self.rows["genes"]
        half = o.population // 2
        born = torch.stack([self._children(genes[i, :half].cpu(), self.generator(i)) for i in range(len(genes))])
        born = born.to(genes.device)
        losses = torch.cat([self.rows["loss"][:, :half], self._losses(born)], 1)
        self._live(torch.cat([genes[:, :half], born], 1), losses)

    def _children(self, parents: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        """As many as there are parents, (half, k)."""
        o, (half, k) = self.options, parents.shape
        mothers, fathers = (torch.randint(half, (half,), generator=g) for _ in range(2))
        cut = torch.randint(1, k + 1, (half, 1), generator=g)
        crossed = torch.rand(half, 1, generator=g) < o.crossover
        born = torch.where(crossed & (torch.arange(k) >= cut), parents[fathers], parents[mothers])
        place = torch.randint(k, (half, 1), generator=g)
        token = torch.randint(len(self.vocabulary), (half, 1), generator=g)
        mutated = torch.rand(half, 1, generator=g) < o.mutation
        return torch.where(mutated & (torch.arange(k) == place), token, born)

    def _losses(self, genes: torch.Tensor) -> torch.Tensor:
        """Squared distance to the goal, summed over positions, (n, count)."""
        model, (n, count, _) = self.case.model, genes.shape
        ids = frame_tokens(model, self.vocabulary[genes].reshape(n * count, -1).tolist())
        with model.bare():
            states = model.encode_tokens(ids).view(n, count, *self.goal.shape[1:])
        return (states - self.goal.unsqueeze(1)).pow(2).sum((2, 3))

    def _live(self, genes: torch.Tensor, losses: torch.Tensor) -> None:
        order = losses.argsort(dim=1, stable=True)
        sorted_genes = genes.gather(1, order.unsqueeze(-1).expand_as(genes))
        self.rows = {"genes": sorted_genes, "loss": losses.gather(1, order)}

    def candidates(self) -> list[Candidate]:
        best, losses = self.vocabulary[self.rows["genes"][:, 0]].tolist(), self.rows["loss"][:, 0].tolist()
        return [Candidate(ids, ids, loss=loss) for ids, loss in zip(best, losses, strict=True)]
