"""The bare cost of a stage: what it asks of the networks, noted while it runs once, and then asked for alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.func import functional_call
from torch.utils._pytree import tree_map


class Call(NamedTuple):
    """One evaluation: its inputs, with stand-ins for tensors; parameters that a gradient went to; under ``no_grad``?"""

    network: torch.nn.Module
    args: tuple
    kwargs: dict[str, Any]
    learned: tuple[str, ...]
    gradient: bool


class Replay:
    """Evaluations of networks, and the same again without all that lay between them.

    Each is run forward, and backward where it was part of a graph, to the inputs and the parameters that a gradient
    went to. Values are stand-ins of the same shape: a network takes as long for these.
    """

    def __init__(self, *networks: torch.nn.Module):
        self.networks = networks
        self.calls: list[Call] = []
        self._stand_ins: dict[tuple, torch.Tensor] = {}

    @contextmanager
    def noting(self) -> Iterator[None]:
        """While this lasts, evaluations are noted."""
        hooks = [n.register_forward_pre_hook(self._note, with_kwargs=True) for n in self.networks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def rows(self, network: torch.nn.Module) -> int:
        """How many rows a network has evaluated; the first tensor of a call says how many it has."""
        return sum(len(_tensors(call)[0]) for call in self.calls if call.network is network)

    def __call__(self) -> None:
        for call in self.calls:
            with torch.set_grad_enabled(call.gradient):
                args, kwargs = tree_map(_leaf, (call.args, call.kwargs))
                values = {
                    n: p.detach().requires_grad_(True) for n, p in call.network.named_parameters() if n in call.learned
                }
                found = functional_call(call.network, values, args, kwargs)
                if call.gradient:
                    _first(found).pow(2).mean().backward()

    def _note(self, network: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        learned = tuple(n for n, p in network.named_parameters() if p.requires_grad) if torch.is_grad_enabled() else ()
        args, kwargs = tree_map(self._stand_in, (args, kwargs))
        given = any(t.requires_grad for t in _tensors(Call(network, args, kwargs, (), False)))
        self.calls.append(Call(network, args, kwargs, learned, bool(learned or (given and torch.is_grad_enabled()))))

    def _stand_in(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        key = (tuple(value.shape), value.dtype, value.requires_grad)
        kept = self._stand_ins.setdefault(key, value.detach().clone())
        return kept.requires_grad_(value.requires_grad) if value.is_floating_point() else kept


def bare_of(function: Callable[[], object], *networks: torch.nn.Module) -> Replay:
    """What a function asks of networks, from one run of it."""
    replay = Replay(*networks)
    with replay.noting():
        function()
    return replay


def _leaf(value: Any) -> Any:
    return value.detach().requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value


def _tensors(call: Call) -> list[torch.Tensor]:
    return [t for t in (*call.args, *call.kwargs.values()) if isinstance(t, torch.Tensor) and t.ndim]


def _first(found: Any) -> torch.Tensor:
    return found if isinstance(found, torch.Tensor) else found[0]
