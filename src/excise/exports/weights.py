"""The changed weights alone, and the mask alone: small files for whoever has the base model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from excise.cache import write_atomically
from excise.erasers.eraser import Eraser
from excise.errors import UserError
from excise.masks.mask import Mask
from excise.models.parts import ENCODERS

if TYPE_CHECKING:
    import torch

    from excise.models.diffusion import DiffusionModel


def origin(eraser: Eraser) -> dict:
    """Where an export comes from: what its file says in its header."""
    known = {k: eraser.header[k] for k in ("base", "concept", "method", "variant") if k in eraser.header}
    return {**known, "eraser_sha256": eraser.sha256}


def metadata(kind: str, eraser: Eraser, **more) -> dict[str, str]:
    """A safetensors header: one JSON text under ``excise_<kind>``, and ``format``, which other programs look for."""
    return {"format": "pt", f"excise_{kind}": json.dumps({**origin(eraser), **more}, sort_keys=True)}


def worn_pairs(model: DiffusionModel, eraser: Eraser) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Parameter -> (its value in the base model, its value under the eraser), where their bits differ.

    Names are an eraser's: the denoiser's own, those of the text encoder begin with ``text_encoder.``. Both values are
    copies, in the model's precision.

    Raises:
        UserError: the eraser changes something that the model does not have, or is another model's.
    """
    names = sorted({*eraser.weights, *eraser.pruned})
    base = model.weights()
    missing = [name for name in names if name not in base]
    if missing:
        raise UserError(f"The eraser changes '{missing[0]}', which this model does not have: make the eraser anew.")
    before = {name: base[name].clone() for name in names}
    with model.wearing(eraser):
        worn = model.weights()
        after = {name: worn[name].clone() for name in names if not _same_bits(worn[name], before[name])}
    return {name: (before[name], value) for name, value in after.items()}


def changed_weights(model: DiffusionModel, eraser: Eraser) -> dict[str, torch.Tensor]:
    """Parameter -> its value under the eraser, zeros of the mask included, for all that it changes in this model.

    Names begin with the pipeline's part: ``unet.``, ``transformer.``, ``text_encoder.`` and so on.
    """
    part = "unet" if model.denoiser is getattr(model.pipe, "unet", None) else "transformer"
    return {
        name if name.partition(".")[0] in ENCODERS else f"{part}.{name}": after
        for name, (_, after) in worn_pairs(model, eraser).items()
    }


def save_weights(model: DiffusionModel, eraser: Eraser, path: Path) -> int:
    """Write ``changed_weights`` as safetensors; returns how many parameters there are."""
    from safetensors.torch import save_file

    changed = {name: value.cpu().contiguous() for name, value in changed_weights(model, eraser).items()}
    write_atomically(Path(path), lambda draft: save_file(changed, draft, metadata("changed", eraser)))
    return len(changed)


def save_mask(eraser: Eraser, path: Path) -> None:
    """Write the pruning mask alone: ``Mask.load`` reads it."""
    Mask(eraser.pruned, {**eraser.mask.header, **origin(eraser)}).save(Path(path))


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    import torch

    return torch.equal(one.contiguous().flatten().view(torch.uint8), other.contiguous().flatten().view(torch.uint8))
