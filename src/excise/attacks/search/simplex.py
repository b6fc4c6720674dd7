"""Tokens as points on a simplex: relaxed, sampled, projected."""

from __future__ import annotations

import torch


def project_to_simplex(points: torch.Tensor, iterations: int = 60) -> torch.Tensor:
    """Nearest points of the probability simplex, (..., V): max(x − τ, 0), τ found by bisection so that it sums to 1."""
    high = points.amax(-1, keepdim=True)
    low = high - 1
    for _ in range(iterations):
        middle = (low + high) / 2
        above = (points - middle).clamp_min(0).sum(-1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    projected = (points - (low + high) / 2).clamp_min(0)
    return projected / projected.sum(-1, keepdim=True)


class _OneHot(torch.autograd.Function):
    """A sampled one-hot forward, the gradient of the relaxed point backward (straight-through)."""

    @staticmethod
    def forward(ctx, points: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(chosen, points.shape[-1]).to(points)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        return gradient, None


def sample_one_hot(points: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """One vertex a row, drawn by the row's probabilities from given uniform numbers; differentiable straight through.

    Args:
        points: (..., V) on the simplex.
        uniforms: (...,) on [0, 1).
    """
    chosen = torch.searchsorted(points.detach().cumsum(-1), uniforms.unsqueeze(-1).to(points)).squeeze(-1)
    return _OneHot.apply(points, chosen.clamp_max(points.shape[-1] - 1))
