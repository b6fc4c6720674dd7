"""An eraser file of excise's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .kind import Change

if TYPE_CHECKING:
    import torch

    from .checkpoint import Checkpoint
    from .layout import Layout


class EraserFile:
    """Changed weights, a mask, or both."""

    what = "an eraser of excise's"

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return "excise" in checkpoint.metadata

    def masks(self, checkpoint: Checkpoint) -> bool:
        return any(key.startswith("mask:") for key in checkpoint.keys)

    def read(self, checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor], layout: Layout) -> Change:
        from excise.erasers.eraser import Eraser

        eraser = Eraser.load(checkpoint.files[0])  # the path may be a folder
        refuse_foreign(eraser.weights, checkpoint, layout)
        refuse_foreign(eraser.pruned, checkpoint, layout, masks=True)
        told = json.loads(checkpoint.metadata["excise"])
        notes = [
            f"Its header says: method {told.get('method')}, variant {told.get('variant')}, made to erase "
            f"'{told.get('concept')}'."
        ]
        return Change(eraser.weights, pruned=eraser.pruned, base=eraser.header["base"]["sha256"], notes=notes)


def refuse_foreign(
    named: Mapping[str, torch.Tensor], checkpoint: Checkpoint, layout: Layout, *, masks: bool = False
) -> None:
    """Raise a ``UserError`` for names that are an eraser's and that this model does not have, or not in that shape."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in named.items():
        encoder, _, own = name.partition(".")
        known = encoder in {part.name for part in layout.encoders}
        part, own = (encoder, own) if known else (layout.denoiser.name, name)
        parts.setdefault(part, {})[own] = value
    for part, tensors in parts.items():
        layout.place(layout.parts[part], tensors, checkpoint.path, masks=masks)
