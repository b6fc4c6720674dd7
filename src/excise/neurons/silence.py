"""Hold neurons at zero while a model runs: does the concept go with them? And the control, as many others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import torch
from torch import nn

from .units import FFN, Unit


@contextmanager
def silenced(denoiser: nn.Module, units: list[Unit], chosen: dict[str, torch.Tensor]) -> Iterator[None]:
    """While the model runs, the chosen neurons are zero at every token.

    Args:
        chosen: unit name -> indices of neurons.
    """
    modules = dict(denoiser.named_modules())

    def without(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return x.index_fill(-1, index.to(x.device), 0)

    hooks = []
    for unit in units:
        if unit.name in chosen:
            index, module = chosen[unit.name], modules[unit.name]
            if unit.kind == FFN:
                hooks.append(module.register_forward_pre_hook(lambda m, a, i=index: (without(a[0], i), *a[1:])))
            else:
                hooks.append(module.register_forward_hook(lambda m, a, out, i=index: without(out, i)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def mask_of_neurons(units: list[Unit], chosen: dict[str, torch.Tensor], denoiser: nn.Module) -> dict[str, torch.Tensor]:
    """The weights whose zeros are the same as silence: parameter name -> bool of its shape.

    A feed-forward unit is read by a column of the projection behind it, a value channel is written by a row and, where
    there is one, its bias.
    """
    pruned = {}
    for unit in units:
        if unit.name in chosen:
            name = f"{unit.name}.weight"
            mask = torch.zeros(denoiser.get_parameter(name).shape, dtype=torch.bool)
            mask[(slice(None), chosen[unit.name]) if unit.kind == FFN else chosen[unit.name]] = True
            pruned[name] = mask
            bias = f"{unit.name}.bias"
            if unit.kind != FFN and bias in dict(denoiser.named_parameters()):
                pruned[bias] = torch.zeros(unit.width, dtype=torch.bool)
                pruned[bias][chosen[unit.name]] = True
    return pruned


def top_neurons(neurons: pd.DataFrame, share: float) -> dict[str, torch.Tensor]:
    """The share of each layer's neurons whose correlation with the concept is largest: layer -> indices.

    Args:
        neurons: columns layer, neuron, correlation.
    """
    chosen = {}
    for layer, rows in neurons.groupby("layer"):
        count = max(1, round(share * len(rows)))
        top = rows.assign(size=rows["correlation"].abs()).nlargest(count, "size")
        chosen[str(layer)] = torch.tensor(sorted(top["neuron"]))
    return chosen


def random_neurons(neurons: pd.DataFrame, like: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """As many neurons of the same layers, drawn from those that were not chosen: layer -> indices."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for layer, taken in like.items():
        width = int((neurons["layer"] == layer).sum())
        others = torch.tensor(sorted(set(range(width)) - set(taken.tolist())), dtype=torch.long)
        drawn[layer] = others[torch.randperm(len(others), generator=generator)[: len(taken)]].sort().values
    return drawn
