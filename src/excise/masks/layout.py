"""Where gates lie: one a weight, or one a neuron that opens and closes all of its weights together."""

from __future__ import annotations

import torch
from torch import nn

from excise.models.layers import feed_forwards


class PerWeight:
    """One gate for each weight of the support."""

    def __init__(self, support: dict[str, torch.Tensor], denoiser: nn.Module | None = None):
        self.support, self.names = support, list(support)
        self.sizes = [int(support[n].sum()) for n in self.names]

    def scores(self, scores: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """The gates' scores, a vector a layer."""
        return [scores[n][self.support[n]] for n in self.names]

    def spread_out(self, gates: torch.Tensor) -> dict[str, torch.Tensor]:
        """Gates as full tensors, open outside the support: parameter name -> (shape)."""
        out = {}
        for name, part in zip(self.names, gates.split(self.sizes), strict=True):
            full = torch.ones(self.support[name].shape, device=gates.device, dtype=gates.dtype)
            out[name] = full.masked_scatter(self.support[name].to(gates.device), part)
        return out


class PerNeuron:
    """One gate for each hidden unit of a feed-forward layer (its rows of the up projection, its gate's too, and its
    column of the down projection) and for each row of any other weight. A neuron without a weight in the support has
    no say."""

    def __init__(self, support: dict[str, torch.Tensor], denoiser: nn.Module):
        self.support, self.names = support, list(support)
        self.lines: dict[str, tuple[int, torch.Tensor]] = {}  # name -> dimension, and the gate of each line along it
        self.layers: list[list[str]] = []
        self.sizes: list[int] = []
        for f in feed_forwards(denoiser):
            parts = [n for n in (f"{f.up}.weight", f"{f.down}.weight") if n in support]
            if parts:
                width = denoiser.get_parameter(f"{f.down}.weight").shape[1]
                units = self._add(parts, width)
                for name in parts:
                    rows = f.rows_of_up(units, support[name].shape[0])
                    self.lines[name] = (0, rows) if name.startswith(f"{f.up}.") else (1, units)
        for name in self.names:
            if name not in self.lines:
                self.lines[name] = (0, self._add([name], support[name].shape[0]))

    def _add(self, parts: list[str], width: int) -> torch.Tensor:
        first = sum(self.sizes)
        self.layers.append(parts)
        self.sizes.append(width)
        return torch.arange(first, first + width)

    def scores(self, scores: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """The gates' scores, summed over their weights in the support, a vector a layer."""
        total = torch.zeros(sum(self.sizes))
        for name, (dim, gates) in self.lines.items():
            total.index_add_(0, gates, (scores[name] * self.support[name]).sum(1 - dim).float())
        return list(total.split(self.sizes))

    def spread_out(self, gates: torch.Tensor) -> dict[str, torch.Tensor]:
        """Gates as full tensors, open outside the support: parameter name -> (shape)."""
        out = {}
        for name in self.names:
            dim, chosen = self.lines[name]
            line = gates[chosen.to(gates.device)]
            line = line.view(-1, 1) if dim == 0 else line.view(1, -1)
            support = self.support[name].to(gates.device)
            out[name] = torch.where(support, line.expand(support.shape), torch.ones_like(line).expand(support.shape))
        return out


LAYOUTS = {"weight": PerWeight, "neuron": PerNeuron}
