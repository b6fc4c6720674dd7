"""The error of a noise prediction, prompt by prompt: what gradient attacks on a diffusion model minimise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from excise.models.diffusion import DiffusionModel

if TYPE_CHECKING:
    from .case import Case


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


def fixed_pairs(case: Case, count: int) -> list[tuple[torch.Tensor, int]]:
    """Noise (n, c, h, w), each prompt's own, and a timestep: whatever is tried on a prompt is scored on the same pairs.

    Errors of different timesteps differ by orders of magnitude, those of different tokens by a few times: scored on a
    step's own numbers, tokens would be chosen by their timestep.
    """
    # apart from every step's numbers, and from the noise of every image that is drawn
    draws = [torch.Generator().manual_seed(((seed + 5) * 1_000_003 + 15) % (2**63)) for seed in case.seeds]
    return [(noise_of(case, draws), time) for time in spread(100, 900, count)]


def noise_of(case: Case, draws: list[torch.Generator]) -> torch.Tensor:
    """Noise of each prompt from its own generator, (n, c, h, w)."""
    clean = case.references
    return torch.stack([torch.randn(clean.shape[1:], generator=g) for g in draws]).to(clean)
