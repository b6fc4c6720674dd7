"""What a neuron is, and how its activations are read while a model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from excise.models.layers import cross_attentions, feed_forwards

FFN, VALUE = "ffn", "value"


@dataclass(frozen=True)
class Unit:
    """A layer of neurons.

    Attributes:
        name: name of the linear whose input (``ffn``) or output (``value``) the neurons are.
        kind: ``ffn``: hidden units of a feed-forward layer, after the activation function. ``value``: value channels
            of a cross-attention.
        width: how many neurons.
    """

    name: str
    kind: str
    width: int


def find_units(denoiser: nn.Module, values: bool = False) -> list[Unit]:
    """Feed-forward hidden units, and with ``values`` the cross-attention value channels too."""
    modules = dict(denoiser.named_modules())
    units = [Unit(f.down, FFN, modules[f.down].in_features) for f in feed_forwards(denoiser)]
    if values:
        units += [Unit(c.value, VALUE, modules[c.value].out_features) for c in cross_attentions(denoiser)]
    return units


@contextmanager
def record_units(denoiser: nn.Module, units: list[Unit]) -> Iterator[dict[str, torch.Tensor]]:
    """While the model runs, the latest activations of each layer, spatial tokens averaged: name -> (n, width)."""
    modules = dict(denoiser.named_modules())
    seen: dict[str, torch.Tensor] = {}

    def read_input(name: str):
        return lambda module, args: seen.__setitem__(name, args[0].detach().mean(1))

    def read_output(name: str):
        return lambda module, args, output: seen.__setitem__(name, output.detach().mean(1))

    hooks = [
        modules[u.name].register_forward_pre_hook(read_input(u.name))
        if u.kind == FFN
        else modules[u.name].register_forward_hook(read_output(u.name))
        for u in units
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def outgoing_norms(denoiser: nn.Module, unit: Unit) -> torch.Tensor:
    """Norm of the weights that read each neuron, (width,). For value channels: the output projection behind them, and
    in joint attention (MMDiT) the one of the prompt's own tokens, too."""
    home, modules = unit.name.rsplit(".", 1)[0], dict(denoiser.named_modules())
    names = [unit.name] if unit.kind == FFN else [f"{home}.to_out.0", f"{home}.to_add_out"]
    readers = [modules[name].weight.detach().float() for name in names if name in modules]
    return torch.cat(readers).norm(dim=0)
