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

    ``follow: base`` takes latents from the frozen model's trajectories, sampled once, as in the later code.
    ``follow: student`` is the original: each step samples new ones of the student as it is then, with ``guidance``
    (the authors: 3), at about the cost of ``sampling_steps`` steps.
    """

    negative_guidance: float = Field(1.0, ge=0, description="η")
    erase_from: Literal["blank", "concept"] = "blank"
    follow: Literal["base", "student"] = "base"
    guidance: float = Field(3.0, ge=1, description="of the student's trajectories")

    def target(self, blank: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """From the frozen model's noise on the empty prompt and on the concept, (n, c, h, w) each."""
        start = blank if self.erase_from == "blank" else wanted
        return start - self.negative_guidance * (wanted - blank)

    def lesson(self, model, material, steps, rows, generator, student) -> Lesson:
        bank = material.concept
        times, states = bank.times[steps], bank.states[rows]
        if self.follow == "base":
            target = self.target(bank.blank[steps, rows], bank.wanted[steps, rows])
            return Lesson(bank.latents[steps, rows], times, states, target)
        latents = self.walk(model, len(bank.times), steps, states, generator, student)
        with torch.no_grad():
            blank = model.predict(latents, times, model.encode([""]).expand_as(states))
            target = self.target(blank, model.predict(latents, times, states))
        return Lesson(latents, times, states, target)

    def walk(self, model, total, steps, states, generator, student) -> torch.Tensor:
        """Where the student's own trajectories stand at ``steps`` (n,) of ``total``, from new noise; (n, c, h, w)."""
        seeds = torch.randint(2**31, (len(steps),), generator=generator).tolist()
        path = model.sample(
            states, seeds, total, self.guidance, keep=True, predict=student, until=int(steps.max()) + 1
        ).latents
        return path[steps, torch.arange(len(steps))]

    def work(self, options) -> int:
        """With ``follow: student`` both halves of guidance at every sampled step; without a backward pass, a third."""
        walked = options.steps * options.batch * 2 * options.sampling_steps // 3 if self.follow == "student" else 0
        return super().work(options) + walked
