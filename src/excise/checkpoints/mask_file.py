"""A mask file of excise's: which weights are zero, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .eraser_file import refuse_foreign
from .kind import Change

if TYPE_CHECKING:
    import torch

    from .checkpoint import Checkpoint
    from .layout import Layout


class MaskFile:
    """A pruning mask."""

    what = "a pruning mask of excise's"

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return "excise_mask" in checkpoint.metadata

    def masks(self, checkpoint: Checkpoint) -> bool:
        return True

    def read(self, checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor], layout: Layout) -> Change:
        from excise.masks.mask import Mask

        mask = Mask.load(checkpoint.files[0])  # the path may be a folder
        refuse_foreign(mask.pruned, checkpoint, layout, masks=True)
        notes = ["Where an eraser trained weights beside its mask, those are not part of this."]
        return Change(pruned=mask.pruned, base=str(mask.header.get("base", {}).get("sha256", "")), notes=notes)
