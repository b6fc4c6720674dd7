"""A checkpoint as an eraser: what of the base model it changes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.errors import UserError

from .checkpoint import find_checkpoint
from .kind import Change, Low, autoencoder_alone, kind_of

if TYPE_CHECKING:
    import torch

    from excise.erasers.eraser import Eraser
    from excise.models.diffusion import DiffusionModel
    from excise.models.spec import ModelSpec

VARIANT = "audited"  # the eraser's name


def check_checkpoint(path: str, spec: ModelSpec) -> str:
    """Look whether a checkpoint fits a base model by names and shapes alone; returns its kind.

    Raises:
        UserError: it does not, or cannot be read.
    """
    from excise.models.sketch import Sketch

    from .layout import Layout

    checkpoint = find_checkpoint(path)
    name, kind = kind_of(checkpoint)
    _refuse_autoencoder_alone(path, kind.read(checkpoint, checkpoint.sketch(), Layout.of(Sketch(spec).model)))
    return name


def read_checkpoint(path: str, model: DiffusionModel, concept: str, run: Mapping[str, Any]) -> tuple[Eraser, dict]:
    """What a checkpoint changes in a base model, as an eraser that can be worn.

    A weight counts as unchanged where it is the base model's up to the rounding of the coarser of the two files: then
    it stays as the base model has it.

    Args:
        concept: that it is said to erase.
        run: id and versions, for the eraser's header.

    Returns:
        The eraser, and what was read: name, kind, what, sha256, changed and compared weights by part, notes.

    Raises:
        UserError: it cannot be read, is not of this base model, has weights that are NaN or infinite, or changes
            nothing.
    """
    from excise.erasers.eraser import Eraser

    from .layout import Layout

    checkpoint, base = find_checkpoint(path), model.sha256
    name, kind = kind_of(checkpoint)
    change = kind.read(checkpoint, checkpoint.tensors(), Layout.of(model))
    _refuse_autoencoder_alone(path, change)
    if change.base and change.base != base:
        raise UserError(
            f"'{path}' was made from another base model ({change.base[:12]}…) than {model.spec.name} ({base[:12]}…): "
            "choose that one, with --env or model.path."
        )
    weights, compared = changed_weights(model, change)
    wrong = next((n for n, value in weights.items() if not value.float().isfinite().all()), None)
    if wrong is not None:
        raise UserError(
            f"'{path}' has weights that are no finite numbers ({wrong}): fetch it anew, or point elsewhere."
        )
    pruned = {n: mask for n, mask in change.pruned.items() if mask.any()}
    if not weights and not pruned:
        raise UserError(
            f"'{path}' changes nothing: all of its {len(compared):,} weights are those of {model.spec.name}, so there "
            "is no erased model to audit."
        )
    notes = [*change.notes, *_about_autoencoder(model, change)]
    told = {
        "name": Path(path).name,
        "kind": name,
        "what": kind.what,
        "sha256": checkpoint.sha256,
        "changed": _by_part(model, {*weights, *pruned}),
        "compared": _by_part(model, {*compared, *change.pruned}),
        "notes": notes,
    }
    header = {
        **{"method": name, "variant": VARIANT, "concept": concept},
        "base": {"name": model.spec.name, "sha256": base},
        "options": {key: told[key] for key in ("name", "kind", "sha256")},
        **{"versions": run["versions"], "run_id": run["id"]},
    }
    return Eraser(header, weights, pruned), told


def changed_weights(model: DiffusionModel, change: Change) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Parameter -> new value, where it is new; and the names of all that were compared."""
    from tqdm import tqdm

    base = model.weights()
    found = {}
    names = [*change.weights, *change.added]
    for name in tqdm(names, desc="reading the checkpoint", mininterval=2.0, disable=None):
        own = base[name]
        if name in change.weights:
            value = change.weights[name]
            if same_values(value, own):
                continue
            if value.element_size() == 1:  # of eight bits, with which torch hardly computes
                value = value.float()
        else:
            value = merged(own, change.added[name])
            if value.equal(own.float().cpu()):
                continue
        found[name] = value.detach().cpu().contiguous()
    return found, names


def merged(base: torch.Tensor, differences: list[Low]) -> torch.Tensor:
    """The base model's value with differences of low rank added, in float32."""
    value = base.detach().float().cpu()
    for up, down, scale in differences:
        value = value + scale * (up.float().flatten(1) @ down.float().flatten(1)).reshape(value.shape)
    return value


def same_values(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are one, up to the rounding of the coarser of their types."""
    import torch

    one, other = one.detach().cpu(), other.detach().cpu()
    coarse, fine = sorted((one, other), key=lambda t: -torch.finfo(t.dtype).eps)
    rounded, eps = fine.to(coarse.dtype).float(), torch.finfo(coarse.dtype).eps
    if {one.dtype, other.dtype} == {torch.float16, torch.bfloat16}:  # each was rounded from a third, in its own way
        return torch.allclose(rounded, coarse.float(), rtol=eps, atol=1e-7)
    return torch.equal(rounded, coarse.float())


def _refuse_autoencoder_alone(path: str, change: Change) -> None:
    if change.autoencoder and not (change.weights or change.added or change.pruned):
        raise UserError(autoencoder_alone(path))


def _about_autoencoder(model: DiffusionModel, change: Change) -> list[str]:
    """A note where the checkpoint's autoencoder is another one."""
    own = {f"vae.{name}": parameter for name, parameter in model.pipe.vae.named_parameters()}
    if all(same_values(value, own[name]) for name, value in change.autoencoder.items()):
        return []
    return ["Its autoencoder is not the base model's; pictures were decoded with the base model's all the same."]


def _by_part(model: DiffusionModel, names: set[str]) -> dict[str, int]:
    """How many of the names are of each part."""
    from excise.models.parts import ENCODERS

    counts: dict[str, int] = {}
    for name in sorted(names):
        part = name.partition(".")[0]
        part = part if part in ENCODERS else model.family.denoiser_part
        counts[part] = counts.get(part, 0) + 1
    return counts
