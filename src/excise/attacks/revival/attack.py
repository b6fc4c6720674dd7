"""Revival from the pruned locations: the zeros say where the concept was ("Roots Beneath the Cut", CVPR 2026).

No data, no training, no base model: each matrix with zeros is completed by the low-rank matrix that fits the rest of it
(Hard-Impute: Mazumder, Hastie & Tibshirani 2010). That is our way to use the locations, not those authors' code.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from excise.attacks.search import Case
from excise.attacks.weights import WeightsAttack

if TYPE_CHECKING:
    import torch


class Revival(WeightsAttack):
    """Options of the attack; a step is a round of completion.

    Attributes:
        rank: of the completion, as a share of the smaller side of the matrix.
    """

    revives: ClassVar[bool] = True  # where nothing was set to zero there is nothing for it to do
    rank: float = Field(0.25, gt=0, le=1)

    def change(self, case: Case, folder: Path, title: str) -> dict[str, torch.Tensor]:
        values = {}
        for name, parameter in case.model.denoiser.named_parameters():
            zero = parameter.detach() == 0
            if parameter.ndim > 1 and zero.any() and not zero.all():
                values[name] = self.completed(parameter.detach(), zero, case.options.steps)
        return values

    def completed(self, weight: torch.Tensor, missing: torch.Tensor, rounds: int) -> torch.Tensor:
        """The weight (out, …) with the missing entries taken from its low-rank approximation; others as they are."""
        import torch

        flat, gone = weight.flatten(1).double(), missing.flatten(1)
        rank = max(1, round(self.rank * min(flat.shape)))
        for _ in range(rounds):
            u, s, v = torch.linalg.svd(flat, full_matrices=False)
            flat = torch.where(gone, (u[:, :rank] * s[:rank]) @ v[:rank], flat)
        return flat.to(weight).view_as(weight)
