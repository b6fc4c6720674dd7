"""ESD: the student learns to be guided away from the concept by its frozen self."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from excise.erasers.method import EraserMethod, Lesson


class ESD(EraserMethod):
    """Erased Stable Diffusion (Gandikota et al. 2023, eq. 7): target ε_0(from) − η (ε_0(x, c) − ε_0(x, ∅)) on c.

    ``erase_from: blank`` is the paper's recipe (η = 1). ``concept`` is that of the authors' later code (η = 2): with
    η + 1 it is the same target. Group ``esd-x`` is ESD-x, ``esd-u`` is ESD-u.

    Latents come from the frozen model's trajectories, as in the later code; the original follows the student's.
    """

    negative_guidance: float = Field(1.0, ge=0, description="η")
    erase_from: Literal["blank", "concept"] = "blank"

    def target(self, blank: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """From the frozen model's noise on the empty prompt and on the concept, (n, c, h, w) each."""
        start = blank if self.erase_from == "blank" else wanted
        return start - self.negative_guidance * (wanted - blank)

    def lesson(self, model, material, steps, rows, generator, student) -> Lesson:
        bank = material.concept
        target = self.target(bank.blank[steps, rows], bank.wanted[steps, rows])
        return Lesson(bank.latents[steps, rows], bank.times[steps], bank.states[rows], target)
