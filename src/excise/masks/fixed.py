"""Masks that nobody learns: the highest scores, and the control that knows nothing."""

from __future__ import annotations

import torch


def scored_mask(
    scores: dict[str, torch.Tensor], support: dict[str, torch.Tensor], rate: float
) -> dict[str, torch.Tensor]:
    """Prune the highest scores.

    Args:
        rate: share of the support's parameters that goes, all layers together; scores are comparable across layers.

    Returns:
        Parameter name -> bool. Weights with a score of zero are never pruned: the rate may not be reached.

    Raises:
        ValueError: a score is no finite number.
    """
    names = list(support)
    flat = torch.cat([scores[n].masked_fill(~support[n], 0).reshape(-1) for n in names])
    if not torch.isfinite(flat).all():
        raise ValueError("scores that are no finite numbers choose no weights")
    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[flat.topk(round(rate * len(flat))).indices] = True
    chosen &= flat > 0
    parts = chosen.split([support[n].numel() for n in names])
    return {n: part.view(support[n].shape) for n, part in zip(names, parts, strict=True)}


def random_mask(like: dict[str, torch.Tensor], support: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """As many weights as another mask prunes in each parameter, drawn from the support."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, mask in like.items():
        places = support[name].reshape(-1).nonzero().squeeze(-1)
        chosen = places[torch.randperm(len(places), generator=generator)[: int(mask.sum())]]
        flat = torch.zeros(mask.numel(), dtype=torch.bool)
        flat[chosen] = True
        drawn[name] = flat.view(mask.shape)
    return drawn
