"""A diffusers folder: a whole model, some of its parts, or one part alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from excise.errors import UserError

from .kind import Change, autoencoder_alone
from .text_encoder import which_encoder
from .weights import by_part, place_parts, refuse_incomplete

if TYPE_CHECKING:
    import torch

    from .checkpoint import Checkpoint
    from .layout import Layout


class Folder:
    """A folder that ``save_pretrained`` has written."""

    what = "a diffusers folder"

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return bool(set(checkpoint.configs) - {"adapter"})

    def masks(self, checkpoint: Checkpoint) -> bool:
        return False

    def read(self, checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor], layout: Layout) -> Change:
        _refuse_other_model(checkpoint, layout)
        if "" in checkpoint.configs:  # one part
            part = which_encoder(checkpoint, layout) if "architectures" in checkpoint.configs[""] else layout.denoiser
            parts = {part.name: {key: tensors[key] for key in checkpoint.keys}}
        else:
            parts = by_part(checkpoint, tensors, layout)
        weights, autoencoder = place_parts(layout, parts, checkpoint)
        for name, own in parts.items():
            refuse_incomplete(layout.parts[name], own, checkpoint)
        return Change(weights=weights, autoencoder=autoencoder)


def _refuse_other_model(checkpoint: Checkpoint, layout: Layout) -> None:
    """A folder of another pipeline, or of a model that predicts something else."""
    made = checkpoint.configs.get("index", {}).get("_class_name", layout.pipeline)
    if made != layout.pipeline:
        raise UserError(
            f"'{checkpoint.path}' is a {made}, and {layout.model} a {layout.pipeline}: choose the base model "
            "that it was made from, with --env."
        )
    own = type(layout.denoiser.module).__name__
    alone = str(checkpoint.configs.get("", {}).get("_class_name", own))  # a text encoder's config names none
    if alone.startswith("Autoencoder"):
        raise UserError(autoencoder_alone(checkpoint.path))
    if alone != own:
        raise UserError(
            f"'{checkpoint.path}' is a {alone}, and the denoiser of {layout.model} a {own}: choose the base model "
            "that it was made from, with --env."
        )
    told = checkpoint.configs.get("scheduler", {}).get("prediction_type", layout.prediction)
    if told != layout.prediction:
        raise UserError(
            f"'{checkpoint.path}' predicts '{told}', and {layout.model} '{layout.prediction}': choose the base model "
            "that it was made from, with --env."
        )
