"""An eraser from its options: plain, or pruned, by one switch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from excise.errors import UserError
from excise.masks.options import PruneOptions
from excise.models.diffusion import DiffusionModel

from .finetune import Values, changed, train_mask
from .material import Material
from .registry import ERASERS, EraserOptions, make_method


@dataclass(frozen=True)
class Erased:
    """What an eraser changes: new weights, weights that become zero, and how the loss fell."""

    weights: Values = field(default_factory=dict)
    pruned: Values = field(default_factory=dict)
    losses: list[dict] = field(default_factory=list)


def make_erased(
    model: DiffusionModel,
    options: EraserOptions,
    material: Material,
    seed: int,
    folder: Path,
    title: str,
    prune: PruneOptions | None = None,
    support: dict[str, torch.Tensor] | None = None,
    scores: dict[str, torch.Tensor] | None = None,
    prepared: Path | None = None,
) -> Erased:
    """Run a method: X, or with ``prune`` P-X under a learned mask.

    Args:
        folder: work in progress.
        support, scores: what the mask may touch and where it starts; needed with ``prune``.
        prepared: work in progress that X, X+ and P-X share (``EraserMethod.prepare``); in ``folder`` unless given.

    Raises:
        UserError: the method is a mask already, so that there is no P-X of it.
    """
    method = make_method(options).prepare(
        model, options, material, seed, prepared or folder / "prepared", options.method
    )
    if prune is not None:
        if not ERASERS[options.method].maskable:
            raise UserError(f"The eraser '{options.method}' is a mask already: leave out prune, or choose another.")
        assert support is not None and scores is not None
        return Erased(*train_mask(model, method, options, prune, support, scores, material, seed, folder, title))
    if not method.trained:
        return Erased(changed(model, method.start(model, material)), method.mask(model, material))
    weights, losses = method.train(model, options, material, seed, folder, title)
    return Erased(weights, {}, losses)
