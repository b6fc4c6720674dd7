"""Hold neurons at what they are on harmless prompts (mean ablation): what a concept adds to them is gone."""

from __future__ import annotations

import torch
from torch import nn

from excise.neurons.activations import moments_of
from excise.neurons.silence import mask_of_neurons
from excise.neurons.units import FFN, Unit


def held(
    units: list[Unit],
    chosen: dict[str, torch.Tensor],
    activations: dict[str, torch.Tensor],
    denoiser: nn.Module,
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights with which the chosen neurons are constant at every token: their mean on neutral prompts.

    A feed-forward unit's column is zeroed, and what it would add on neutral prompts goes into the bias behind it. A
    value channel's row is zeroed, and its bias becomes the mean. Where it has none, the keys and values are of the
    prompt alone: attention weights sum to one, so a constant value adds the same at every token, and goes into the bias
    of the output projection.

    Returns:
        New biases by parameter name, and what becomes zero: parameter name -> bool of its shape.

    Raises:
        ValueError: the layer behind a neuron has no bias.
    """
    biases: dict[str, torch.Tensor] = {}
    pruned = mask_of_neurons(units, chosen, denoiser)
    for unit in units:
        index = chosen.get(unit.name)
        if index is None:
            continue
        at = moments_of(activations, unit.name, "b").mean.mean(0)[index]
        own = f"{unit.name}.bias"
        if unit.kind != FFN and pruned.pop(own, None) is not None:
            bias = denoiser.get_parameter(own).detach().clone()
            bias[index] = at.to(bias)
            biases[own] = bias
            continue
        name = unit.name if unit.kind == FFN else unit.name.rsplit(".", 1)[0] + ".to_out.0"
        behind = denoiser.get_submodule(name)
        if not isinstance(behind, nn.Linear) or behind.bias is None:
            raise ValueError(f"{name} has no bias that could hold neurons at a value")
        shift = behind.weight.detach().double()[:, index] @ at.to(behind.weight.device)
        start = biases.get(f"{name}.bias", behind.bias.detach())
        biases[f"{name}.bias"] = (start.double() + shift).to(behind.bias.dtype)
    return biases, pruned
