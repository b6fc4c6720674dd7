"""Changed weights alone, by diffusers' names: ``unet.…``, ``text_encoder.…``, or the bare names of one part.

So ESD and UCE are released, and ``kedro run --pipeline=export`` writes them; a whole model by these names is one too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from excise.errors import UserError

from .checkpoint import PARTS
from .kind import Change

if TYPE_CHECKING:
    import torch

    from .checkpoint import Checkpoint
    from .layout import Layout, Part

DIFFUSERS = (  # how the names of a denoiser's parts begin
    *("conv_in.", "conv_out.", "conv_norm_out.", "down_blocks.", "mid_block.", "up_blocks."),
    *("time_embedding.", "add_embedding.", "transformer_blocks.", "single_transformer_blocks.", "context_embedder."),
    *("time_text_embed.", "x_embedder.", "pos_embed.", "norm_out.", "proj_out."),
)


class Weights:
    """A file of weights."""

    what = "changed weights"

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return any(key.startswith((*DIFFUSERS, *(f"{part}." for part in PARTS))) for key in checkpoint.keys)

    def masks(self, checkpoint: Checkpoint) -> bool:
        return False

    def read(self, checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor], layout: Layout) -> Change:
        weights, autoencoder = place_parts(layout, by_part(checkpoint, tensors, layout), checkpoint)
        return Change(weights=weights, autoencoder=autoencoder, base=base_of(checkpoint))


def by_part(
    checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor], layout: Layout
) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by the part that their keys begin with; keys without one are the denoiser's."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key in checkpoint.keys:
        part, _, name = key.partition(".")
        bare = part not in PARTS
        part, name = (layout.denoiser.name, key) if bare else (part, name)
        found.setdefault(part, {})[name] = tensors[key]
    return found


def place_parts(
    layout: Layout, parts: Mapping[str, Mapping[str, torch.Tensor]], checkpoint: Checkpoint
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights by the names of an eraser, and apart from them the autoencoder's.

    Raises:
        UserError: the base model has no such part, or the part no such weight.
    """
    weights: dict[str, torch.Tensor] = {}
    autoencoder: dict[str, torch.Tensor] = {}
    for name, tensors in parts.items():
        part = layout.parts.get(name)
        if part is None:
            raise UserError(
                f"'{checkpoint.path}' was not made from {layout.model}: it has weights of a part '{name}', and the "
                f"base model is made of {', '.join(layout.parts)}."
            )
        placed = layout.place(part, tensors, checkpoint.path)
        (autoencoder if name == "vae" else weights).update(placed)
    return weights, autoencoder


def refuse_incomplete(part: Part, tensors: Mapping[str, torch.Tensor], checkpoint: Checkpoint) -> None:
    """Raise a ``UserError`` where what should be a whole part lacks a weight."""
    found = {part.find(key) for key in tensors}
    lacking = [name for name in part.shapes if name not in found]
    if lacking:
        raise UserError(
            f"'{checkpoint.path}' should hold the whole {part.name}, and lacks {len(lacking)} of its weights, such as "
            f"'{lacking[0]}': fetch it anew, or look whether it is of another base model."
        )


def base_of(checkpoint: Checkpoint) -> str:
    """The hash of the base model that an export of excise's was made from; empty for other files."""
    for key, text in checkpoint.metadata.items():
        if key.startswith("excise_"):
            try:
                return str(json.loads(text)["base"]["sha256"])
            except (ValueError, KeyError, TypeError):
                return ""
    return ""
