"""Concept Ablation: on the anchor's pictures, the concept's words shall mean what the anchor's words mean."""

from __future__ import annotations

from typing import ClassVar, Literal

from excise.erasers.method import EraserMethod, Lesson, noised
from excise.models.layers import ParameterGroup


class ConceptAblation(EraserMethod):
    """Concept Ablation (Kumari et al. 2023).

    x_t is an anchor picture with noise at a uniform timestep. ``model``: the student on the concept's words is
    drawn to itself, gradient stopped, on the anchor's. ``noise``: it is drawn to the noise that was added.
    """

    group: ClassVar[ParameterGroup] = "esd-x-strict"
    anchored: ClassVar[bool] = True
    based_on: Literal["model", "noise"] = "model"

    def lesson(self, model, material, steps, rows, generator, student) -> Lesson:
        anchor = material.anchor
        latents, times, added = noised(model, anchor.final[rows], generator)
        target = added if self.based_on == "noise" else student(latents, times, anchor.states[rows])
        return Lesson(latents, times, material.concept.states[rows], target)
