"""Merging: a weighted mean of the erased model's weights and the base model's, as people do with models they like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from excise.attacks.search import NO_BASE, Case
from excise.attacks.weights import WeightsAttack

if TYPE_CHECKING:
    import torch

    from excise.models.diffusion import DiffusionModel


class Merging(WeightsAttack):
    """Options of the attack; its steps play no part.

    Attributes:
        share: of the base model.
    """

    compares: ClassVar[bool] = True
    share: float = Field(0.5, gt=0, le=1)

    def refuses(self, model: DiffusionModel) -> str:
        return "" if model.wears else NO_BASE

    def change(self, case: Case, folder: Path, title: str) -> dict[str, torch.Tensor]:
        erased = case.model.weights()
        with case.model.bare():
            base = case.model.weights()
        changed = [name for name, value in erased.items() if not value.equal(base[name])]
        return {n: (1 - self.share) * erased[n] + self.share * base[n] for n in changed}
