"""A text encoder alone, by transformers' names, as AdvUnlearn is released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from excise.errors import UserError

from .kind import Change
from .layout import spell
from .weights import base_of

if TYPE_CHECKING:
    import torch

    from .checkpoint import Checkpoint
    from .layout import Layout, Part

TRANSFORMERS = ("text_model.", "encoder.layers.", "embeddings.", "encoder.block.", "shared.", "final_layer_norm.")


class TextEncoder:
    """One text encoder, or some of its weights."""

    what = "a text encoder alone"

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return any(key.startswith(TRANSFORMERS) for key in checkpoint.keys)

    def masks(self, checkpoint: Checkpoint) -> bool:
        return False

    def read(self, checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor], layout: Layout) -> Change:
        part = which_encoder(checkpoint, layout)
        notes = [f"It was taken for the base model's {part.name}, whose shapes it has."] * (len(layout.encoders) > 1)
        found = {key: tensors[key] for key in checkpoint.keys}
        return Change(weights=layout.place(part, found, checkpoint.path), base=base_of(checkpoint), notes=notes)


def which_encoder(checkpoint: Checkpoint, layout: Layout) -> Part:
    """The encoder that a file's names and shapes fit.

    Raises:
        UserError: none does, or more than one.
    """
    fitting = [part for part in layout.encoders if _misfit(checkpoint, part) is None]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(part.name for part in fitting)
        raise UserError(
            f"'{checkpoint.path}' fits more than one text encoder of {layout.model} ({names}): put the name of the one "
            "that is meant, and a dot, before its keys."
        )
    nearest = min(layout.encoders, key=lambda part: _misfit(checkpoint, part) or (0, ""))
    raise UserError(
        f"'{checkpoint.path}' was not made from {layout.model}: {(_misfit(checkpoint, nearest) or '  ')[1]}."
    )


def _misfit(checkpoint: Checkpoint, part: Part) -> tuple[int, str] | None:
    """How many keys do not fit, and how the first of them does not; None where all fit."""
    wrong = []
    for key, entry in checkpoint.entries.items():
        name = part.find(key)
        if name is None:
            wrong.append(f"its '{key}' is no weight of the {part.name}")
        elif name and entry.shape != part.shapes[name]:
            shapes = f"{spell(entry.shape)}, and the base model's is {spell(part.shapes[name])}"
            wrong.append(f"its '{key}' is of shape {shapes}")
    return (len(wrong), wrong[0]) if wrong else None
