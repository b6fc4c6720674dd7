"""What is trained: all weights of a denoiser, or low-rank additions to its attention."""

from __future__ import annotations

import torch
from torch import nn


class Student(nn.Module):
    """Args:
    rank: 0 for all weights.
    """

    def __init__(self, denoiser: nn.Module, rank: int, seed: int):
        super().__init__()
        self.names, self.rank = [], rank
        self.frozen: dict[str, torch.Tensor] = {}  # what a low-rank addition is added to
        down, up = [], []
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in denoiser.named_parameters():
            value = parameter.detach()
            if value.dtype != torch.float64:  # most steps are smaller than half precision can tell
                value = value.float()
            if not rank:
                self.names.append(name)
                up.append(nn.Parameter(value.clone()))
            elif ".attn" in name and value.ndim == 2:
                self.names.append(name)
                self.frozen[name] = value
                first = torch.randn(rank, value.shape[1], generator=generator) / value.shape[1] ** 0.5
                down.append(nn.Parameter(first.to(value)))
                up.append(nn.Parameter(value.new_zeros(value.shape[0], rank)))
        self.down, self.up = nn.ParameterList(down), nn.ParameterList(up)

    def values(self) -> dict[str, torch.Tensor]:
        """Parameter name -> present value; differentiable."""
        if not self.rank:
            return dict(zip(self.names, self.up, strict=True))
        low_rank = zip(self.names, self.up, self.down, strict=True)
        return {name: self.frozen[name] + up @ down for name, up, down in low_rank}
