"""Gates that learn which weights to drop: hard concrete distributions (Louizos, Welling, Kingma 2018)."""

from __future__ import annotations

import torch
from torch import nn

from .options import PruneOptions


class HardConcrete(nn.Module):
    """One gate a weight.

    z = clamp(s (ζ − γ) + γ, 0, 1) with s = σ((log u − log(1 − u) + logit) / β), u uniform (eq. 10, 11); without noise
    s = σ(logit) (eq. 13). Only gates of the support exist; all other weights are open.
    """

    def __init__(self, support: dict[str, torch.Tensor], scores: dict[str, torch.Tensor], options: PruneOptions):
        super().__init__()
        self.options = options
        self.support = support
        self.names = list(support)
        start = []
        for name in self.names:
            chosen = scores[name][support[name]]
            rank = chosen.argsort().argsort().float() / max(1, len(chosen) - 1)
            # a layer without contrast says nothing about its weights: all start alike
            start.append(options.start - options.spread * (rank if chosen.any() else torch.zeros_like(rank)))
        self.sizes = [len(s) for s in start]
        self.logits = nn.Parameter(torch.cat(start))

    def _stretch(self, s: torch.Tensor) -> torch.Tensor:
        low, high = self.options.stretch
        return (s * (high - low) + low).clamp(0, 1)

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        """Noisy gates, (gates,) on [0, 1]."""
        u = torch.rand(self.logits.shape, generator=generator).clamp(1e-6, 1 - 1e-6).to(self.logits.device)
        return self._stretch(torch.sigmoid((u.log() - (1 - u).log() + self.logits) / self.options.temperature))

    def closed_fraction(self) -> torch.Tensor:
        """Expected share of gates that are exactly zero, (eq. 12's complement)."""
        low, high = self.options.stretch
        shift = self.options.temperature * torch.log(torch.tensor(-low / high))
        return 1 - torch.sigmoid(self.logits - shift).mean()

    def spread_out(self, gates: torch.Tensor) -> dict[str, torch.Tensor]:
        """Gates as full tensors, open outside the support: parameter name -> (shape)."""
        out = {}
        for name, part in zip(self.names, gates.split(self.sizes), strict=True):
            full = torch.ones(self.support[name].shape, device=gates.device)
            out[name] = full.masked_scatter(self.support[name].to(gates.device), part)
        return out

    @torch.no_grad()
    def pruned(self) -> dict[str, torch.Tensor]:
        """The gates without noise, cut at one half: parameter name -> bool, True where the weight goes."""
        gates = self.spread_out(self._stretch(torch.sigmoid(self.logits)))
        return {n: (g < 0.5).cpu() for n, g in gates.items()}
