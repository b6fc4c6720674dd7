"""Adam (Kingma & Ba 2015) with decoupled weight decay, on rows that can leave a batch with their moments."""

from __future__ import annotations

import torch


def moments(values: torch.Tensor, name: str) -> dict[str, torch.Tensor]:
    """Zero moments, to be kept beside the values."""
    return {f"{name}.first": torch.zeros_like(values), f"{name}.second": torch.zeros_like(values)}


def adam_step(
    rows: dict[str, torch.Tensor],
    name: str,
    gradient: torch.Tensor,
    step: int,
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> None:
    """Move ``rows[name]`` against its gradient; ``step`` counts from 1. In place of nothing: new tensors are stored."""
    first, second = rows[f"{name}.first"], rows[f"{name}.second"]
    first = betas[0] * first + (1 - betas[0]) * gradient
    second = betas[1] * second + (1 - betas[1]) * gradient.square()
    size = (second / (1 - betas[1] ** step)).sqrt() + eps
    moved = rows[name] * (1 - lr * weight_decay) - lr * (first / (1 - betas[0] ** step)) / size
    rows |= {name: moved, f"{name}.first": first, f"{name}.second": second}
