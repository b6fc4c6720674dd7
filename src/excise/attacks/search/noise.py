"""The error of a noise prediction, prompt by prompt: what gradient attacks on a diffusion model minimise."""

from __future__ import annotations

import torch

from excise.models.diffusion import DiffusionModel


def noise_errors(
    model: DiffusionModel,
    states: torch.Tensor,
    clean: torch.Tensor,
    noise: torch.Tensor,
    time: int,
    target: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared error of ε_θ(√ᾱ x_0 + √(1−ᾱ) ε, t, states) against ``target``, (n,): what a
    perfect denoiser says (for a model that predicts noise: ε) unless given."""
    times = torch.full((len(clean),), int(time), device=clean.device)
    predicted = model.predict(model.add_noise(clean, noise, times), times, states)
    return (predicted - (model.target(clean, noise, times) if target is None else target)).pow(2).mean((1, 2, 3))


def spread(first: int, last: int, count: int) -> list[int]:
    """Evenly spaced timesteps."""
    return [int(t) for t in torch.linspace(first, last, count).round()]
