"""ESD: the student learns to be guided away from the concept by its frozen self."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch


class ESD(BaseModel):
    """Target ε_0(x, ∅) − η (ε_0(x, c) − ε_0(x, ∅)) for the student on c (Gandikota et al. 2023, eq. 7)."""

    model_config = ConfigDict(extra="forbid")
    negative_guidance: float = Field(1.0, ge=0, description="η")

    def target(self, blank: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The student's target on the concept; both inputs are the frozen model's, (n, c, h, w)."""
        return blank - self.negative_guidance * (wanted - blank)
