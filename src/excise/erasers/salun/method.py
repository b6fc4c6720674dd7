"""SalUn: relabel the concept's pictures, and let only the weights move that matter for them."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from excise.erasers.method import EraserMethod, Lesson, noised
from excise.models.layers import ParameterGroup


class SalUn(EraserMethod):
    """Saliency Unlearning (Fan et al. 2024).

    On the concept's own pictures with noise, the student on the concept's words is drawn to itself, gradient stopped,
    on the anchor's words. It is held by the ordinary noise loss on retain pictures (``retain_weight`` is their α).
    Weights are salient if their gradient of the guided noise loss on the concept's pictures is among the largest.
    """

    group: ClassVar[ParameterGroup] = "full"
    anchored: ClassVar[bool] = True
    share: float = Field(0.5, gt=0, le=1, description="of the weights, all layers together, that may move")
    guidance: float = Field(7.5, ge=1, description="of the predictions whose gradient is taken")
    batches: int = Field(8, ge=1, description="that the gradient is summed over")
    batch: int = Field(16, ge=1)

    def lesson(self, model, material, steps, rows, generator, student) -> Lesson:
        bank = material.concept
        latents, times, _ = noised(model, bank.final[rows], generator)
        return Lesson(latents, times, bank.states[rows], student(latents, times, material.anchor.states[rows]))

    def keep(self, model, material, count, generator) -> Lesson:
        bank = material.retain
        rows = torch.randint(len(bank.states), (count,), generator=generator)
        latents, times, target = noised(model, bank.final[rows], generator)
        return Lesson(latents, times, bank.states[rows], target)

    def salient(self, model, material, names) -> dict[str, torch.Tensor]:
        bank, generator = material.concept, torch.Generator().manual_seed(0)
        blank = model.encode([""])
        weights = {n: model.denoiser.get_parameter(n).detach().clone().requires_grad_(True) for n in names}
        sums = {n: torch.zeros_like(w) for n, w in weights.items()}
        for _ in range(self.batches):
            rows = torch.randint(len(bank.states), (self.batch,), generator=generator)
            latents, times, target = noised(model, bank.final[rows], generator)
            both = torch.cat([blank.expand_as(bank.states[rows]), bank.states[rows]])
            predicted = model.predict(torch.cat([latents, latents]), torch.cat([times, times]), both, weights)
            without, wanted = predicted.chunk(2)
            loss = (without + self.guidance * (wanted - without) - target).pow(2).mean()
            for name, gradient in zip(names, torch.autograd.grad(loss, [weights[n] for n in names]), strict=True):
                sums[name] += gradient
        return largest({n: s.abs() for n, s in sums.items()}, self.share)


def largest(values: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """The share of all entries that is largest: name -> bool."""
    flat = torch.cat([v.reshape(-1) for v in values.values()])
    count = max(1, round(share * len(flat)))
    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[flat.topk(count).indices.cpu()] = True
    parts = chosen.split([v.numel() for v in values.values()])
    return {n: part.view(v.shape) for (n, v), part in zip(values.items(), parts, strict=True)}
