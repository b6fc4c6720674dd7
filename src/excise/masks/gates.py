"""Gates that learn which weights to drop."""

from __future__ import annotations

import torch
from torch import nn

from .layout import LAYOUTS
from .options import PruneOptions


class Gates(nn.Module):
    """One logit a gate; the higher a weight's score, the lower it starts. Only gates of the support exist."""

    def __init__(self, layout, scores: dict[str, torch.Tensor], options: PruneOptions):
        super().__init__()
        self.options, self.layout, self.names = options, layout, layout.names
        start = []
        for chosen in layout.scores(scores):
            rank = chosen.argsort().argsort().float() / max(1, len(chosen) - 1)
            # a layer without contrast says nothing about its weights: all start alike
            start.append(options.start - options.spread * (rank if chosen.any() else torch.zeros_like(rank)))
        self.logits = nn.Parameter(torch.cat(start))

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        """Gates for one step of training, (gates,) on [0, 1]."""
        raise NotImplementedError

    def closed_fraction(self) -> torch.Tensor:
        """Expected share of gates that are exactly zero."""
        raise NotImplementedError

    def final(self) -> torch.Tensor:
        """Gates without noise, (gates,) on [0, 1]."""
        raise NotImplementedError

    def spread_out(self, gates: torch.Tensor) -> dict[str, torch.Tensor]:
        """Gates as full tensors, open outside the support: parameter name -> (shape)."""
        return self.layout.spread_out(gates)

    @torch.no_grad()
    def pruned(self) -> dict[str, torch.Tensor]:
        """The gates without noise, cut at one half: parameter name -> bool, True where the weight goes."""
        return {n: (g < 0.5).cpu() for n, g in self.spread_out(self.final()).items()}


class HardConcrete(Gates):
    """Hard concrete distributions (Louizos, Welling, Kingma 2018).

    z = clamp(s (ζ − γ) + γ, 0, 1) with s = σ((log u − log(1 − u) + logit) / β), u uniform (eq. 10, 11); without noise
    s = σ(logit) (eq. 13).
    """

    def _stretch(self, s: torch.Tensor) -> torch.Tensor:
        low, high = self.options.stretch
        return (s * (high - low) + low).clamp(0, 1)

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        u = torch.rand(self.logits.shape, generator=generator).clamp(1e-6, 1 - 1e-6).to(self.logits.device)
        return self._stretch(torch.sigmoid((u.log() - (1 - u).log() + self.logits) / self.options.temperature))

    def closed_fraction(self) -> torch.Tensor:
        """Eq. 12's complement."""
        low, high = self.options.stretch
        shift = self.options.temperature * torch.log(torch.tensor(-low / high))
        return 1 - torch.sigmoid(self.logits - shift).mean()

    def final(self) -> torch.Tensor:
        return self._stretch(torch.sigmoid(self.logits))


class TopK(Gates):
    """Exactly ``rate`` of the gates closed, those with the lowest logits; the gradient passes straight through to
    σ(logit) (edge-popup, Ramanujan et al. 2020)."""

    def _closed(self) -> torch.Tensor:
        count = round(self.options.rate * len(self.logits))
        closed = torch.zeros_like(self.logits, dtype=torch.bool)
        closed[self.logits.detach().topk(count, largest=False).indices] = True
        return closed

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        soft = torch.sigmoid(self.logits)
        return self.final() + soft - soft.detach()

    def closed_fraction(self) -> torch.Tensor:
        return self._closed().float().mean()

    def final(self) -> torch.Tensor:
        return 1.0 - self._closed().to(self.logits.dtype)


GATES: dict[str, type[Gates]] = {"hard_concrete": HardConcrete, "top_k": TopK}


def make_gates(
    support: dict[str, torch.Tensor], scores: dict[str, torch.Tensor], options: PruneOptions, denoiser: nn.Module
) -> Gates:
    """Gates of the kind and layout that the options name, started from the scores."""
    return GATES[options.gates](LAYOUTS[options.unit](support, denoiser), scores, options)
