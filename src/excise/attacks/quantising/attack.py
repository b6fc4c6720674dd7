"""Quantisation: small changes that an eraser made may be rounded away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from excise.attacks.search import Case
from excise.attacks.weights import WeightsAttack

if TYPE_CHECKING:
    import torch


class Quantising(WeightsAttack):
    """Options of the attack; its steps play no part.

    Attributes:
        bits: of each weight, rounded to the nearest of 2^bits − 1 evenly spaced values, symmetric about zero, scaled by
            the largest of its output channel.
    """

    bits: int = Field(4, ge=2, le=8)

    def change(self, case: Case, folder: Path, title: str) -> dict[str, torch.Tensor]:
        return {n: self.rounded(p) for n, p in case.model.weights().items() if p.ndim > 1}

    def rounded(self, weight: torch.Tensor) -> torch.Tensor:
        """A weight (out, …) on its grid."""
        top = 2 ** (self.bits - 1) - 1
        exact = weight if weight.itemsize > 4 else weight.float()  # a half knows no 1e-12
        scale = exact.abs().flatten(1).amax(1).clamp_min(1e-12).view(-1, *[1] * (weight.ndim - 1)) / top
        return ((exact / scale).round() * scale).to(weight.dtype)
