"""Which neurons tell most of a concept, and as many others."""

from __future__ import annotations

import torch
from torch import nn

from excise.neurons.activations import moments_of
from excise.neurons.units import Unit, outgoing_norms


def concept_signal(activations: dict[str, torch.Tensor], unit: Unit, denoiser: nn.Module) -> torch.Tensor:
    """How much each neuron tells the layers behind it of a concept, (width,): |mean(a − b)| times the norm of the
    weights that read it, averaged over timestep bins; a under the concept, b its neutral twin."""
    contrast = moments_of(activations, unit.name, "d").mean.mean(0)
    return (contrast * outgoing_norms(denoiser, unit).double().to(contrast.device)).abs()


def carriers(
    units: list[Unit], activations: dict[str, torch.Tensor], share: float, denoiser: nn.Module
) -> dict[str, torch.Tensor]:
    """The share of each layer's neurons that tell most of the concept: layer -> indices, in order."""
    return {
        unit.name: concept_signal(activations, unit, denoiser)
        .topk(max(1, round(share * unit.width)))
        .indices.sort()
        .values
        for unit in units
    }


def others(chosen: dict[str, torch.Tensor], units: list[Unit], seed: int) -> dict[str, torch.Tensor]:
    """As many neurons of the same layers, drawn from those that were not chosen: layer -> indices, in order."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for unit in units:
        taken = torch.zeros(unit.width, dtype=torch.bool)
        taken[chosen[unit.name]] = True
        left = (~taken).nonzero().view(-1)
        order = torch.randperm(len(left), generator=generator)
        drawn[unit.name] = left[order[: len(chosen[unit.name])]].sort().values
    return drawn
