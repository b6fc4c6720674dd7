"""A control that is as loud as a concept's neurons and not the concept's."""

from __future__ import annotations

import torch
from torch import nn

from excise.neurons.activations import moments_of
from excise.neurons.units import Unit, outgoing_norms


def loudest(
    units: list[Unit], activations: dict[str, torch.Tensor], chosen: dict[str, torch.Tensor], denoiser: nn.Module
) -> dict[str, torch.Tensor]:
    """As many neurons of the same layers that were not chosen: those that tell the layers behind them most of what
    neutral prompts are about. That is their standard deviation between neutral prompts times the norm of the weights
    that read them; layer -> indices, in order."""
    found = {}
    for unit in units:
        spread = moments_of(activations, unit.name, "b").m2.mean(0).sqrt()
        loudness = spread * outgoing_norms(denoiser, unit).double().to(spread.device)
        loudness[chosen[unit.name]] = -1
        wanted = min(len(chosen[unit.name]), unit.width - len(chosen[unit.name]))
        found[unit.name] = loudness.topk(wanted).indices.sort().values
    return found
