"""The layers that carry concepts, found by what they are and not by what one model calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class FeedForwardLayers:
    """A transformer block's feed-forward part.

    Attributes:
        up: name of the linear that writes the hidden units (twice as wide when gated).
        down: name of the linear that reads them. That of a single-stream block (FLUX) reads the channels of its
            attention before them: neurons, too, that no row of ``up`` writes.
        gated: hidden unit j is row j of ``up`` times a function of row j + hidden (GEGLU).
    """

    name: str
    up: str
    down: str
    gated: bool

    def rows_of_up(self, neurons: torch.Tensor, rows: int) -> torch.Tensor:
        """What is said of each neuron that ``down`` reads, for each of so many rows of ``up``: (rows,)."""
        return neurons.repeat(2) if self.gated else neurons[-rows:]


@dataclass(frozen=True)
class CrossAttentionLayers:
    """Key and value projections of the prompt.

    In a U-Net those of a cross-attention; in a transformer with joint attention (MMDiT) those that the prompt's tokens
    have to themselves.
    """

    name: str
    key: str
    value: str


def feed_forwards(denoiser: nn.Module) -> list[FeedForwardLayers]:
    """All feed-forward parts of a denoiser, in the order of its modules."""
    from diffusers.models.activations import GEGLU, SwiGLU
    from diffusers.models.attention import FeedForward
    from torch import nn

    found = []
    for name, module in denoiser.named_modules():
        if isinstance(module, FeedForward):
            act = module.net[0]
            index = next(i for i in range(len(module.net) - 1, -1, -1) if isinstance(module.net[i], nn.Linear))
            gated = isinstance(act, (GEGLU, SwiGLU))
            found.append(FeedForwardLayers(name, f"{name}.net.0.proj", f"{name}.net.{index}", gated))
        elif isinstance(getattr(module, "proj_mlp", None), nn.Linear):  # a single-stream block
            found.append(FeedForwardLayers(name, f"{name}.proj_mlp", f"{name}.proj_out", False))
    return found


def cross_attentions(denoiser: nn.Module) -> list[CrossAttentionLayers]:
    """All attentions that read the prompt."""
    from diffusers.models.attention_processor import Attention

    found = []
    for name, module in denoiser.named_modules():
        if isinstance(module, Attention) and module.is_cross_attention:
            found.append(CrossAttentionLayers(name, f"{name}.to_k", f"{name}.to_v"))
        elif getattr(module, "add_v_proj", None) is not None:
            found.append(CrossAttentionLayers(name, f"{name}.add_k_proj", f"{name}.add_v_proj"))
    return found


ParameterGroup = Literal["esd-x", "esd-x-strict", "esd-u", "ffn", "kv", "v", "ffn+kv", "ffn+v", "full"]


def parameter_names(denoiser: nn.Module, group: ParameterGroup) -> list[str]:
    """Names of the parameters in a group.

    ``esd-x``: Linear layers inside cross-attention. ``esd-x-strict``: its keys and values. ``esd-u``: everything
    outside cross-attention, without the output and the time embedding (Gandikota et al. 2023, as in their code for a
    U-Net; a transformer's are called otherwise). ``ffn``: weights of feed-forward layers. ``kv``: weights of the
    prompt's key and value projections; ``v``: of the value projections alone.
    """
    crossing = tuple(f"{c.name}." for c in cross_attentions(denoiser))
    kv = {f"{n}.weight" for c in cross_attentions(denoiser) for n in (c.key, c.value)}
    v = {f"{c.value}.weight" for c in cross_attentions(denoiser)}
    ffn = {f"{n}.weight" for f in feed_forwards(denoiser) for n in (f.up, f.down)}
    names = [n for n, _ in denoiser.named_parameters()]
    excluded = ("conv_out", "conv_norm_out", "time_embedding", "proj_out", "norm_out", "time_text_embed")
    groups = {
        "esd-x": lambda n: n.startswith(crossing),
        "esd-x-strict": lambda n: n in kv,
        "esd-u": lambda n: not n.startswith(crossing) and not n.startswith(excluded),
        "ffn": lambda n: n in ffn,
        "kv": lambda n: n in kv,
        "v": lambda n: n in v,
        "ffn+kv": lambda n: n in ffn or n in kv,
        "ffn+v": lambda n: n in ffn or n in v,
        "full": lambda n: True,
    }
    return [n for n in names if groups[group](n)]
