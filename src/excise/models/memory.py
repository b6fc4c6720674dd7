"""How much memory a model and its training take at least, before anything is loaded."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from excise.errors import UserError

from .spec import ModelSpec

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
TRAINED = 16  # bytes a trained weight: its copy, its gradient and Adam's two moments, in float32
GB = 1e9


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Attributes:
        weights: of all parts of the model.
        training: of the eraser that trains most.
        trains: that eraser's name; empty where nothing is trained.
    """

    weights: int
    training: int
    trains: str

    @property
    def total(self) -> int:
        return self.weights + self.training


def least_memory(spec: ModelSpec, trained: dict[str, str]) -> Memory:
    """What is certain: weights, and what training keeps of them. Activations come on top, by batch and picture size.

    Args:
        trained: eraser -> the group of parameters that it trains.
    """
    folder = spec.folder
    count = sum(elements(file) for file in folder.glob("*/*.safetensors"))
    largest, trains = 0, ""
    shapes = parameter_sizes(folder) if trained else {}
    for eraser, group in trained.items():
        size = sum(shapes[name] for name in _names(folder, group))
        if size > largest:
            largest, trains = size, eraser
    return Memory(count * BYTES[spec.dtype], largest * TRAINED, trains)


def elements(file: Path) -> int:
    """How many numbers a safetensors file holds, from its header alone.

    Raises:
        UserError: it is damaged.
    """
    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > 100_000_000:
                raise ValueError("no header is that long")
            header = json.loads(stream.read(size))
        total = 0
        for name, one in header.items():
            if name != "__metadata__":
                count = 1
                for side in one["shape"]:
                    count *= side
                total += count
        return total
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        raise UserError(f"{file} is damaged: fetch the model anew.") from None


def parameter_sizes(folder: Path) -> dict[str, int]:
    """The denoiser's parameters and how many numbers each has; nothing is loaded."""
    return {name: p.numel() for name, p in _skeleton(folder).named_parameters()}


def _names(folder: Path, group: str) -> list[str]:
    from .layers import parameter_names

    return parameter_names(_skeleton(folder), group)


def _skeleton(folder: Path):
    """The denoiser without its weights."""
    import diffusers
    import torch

    part = next((p for p in ("unet", "transformer") if (folder / p / "config.json").exists()), None)
    if part is None:
        raise UserError(f"The model in '{folder}' has neither a U-Net nor a transformer: fetch it anew.")
    config = json.loads((folder / part / "config.json").read_text())
    with torch.device("meta"):
        return getattr(diffusers, config["_class_name"]).from_config(config)


def memory_here(spec: ModelSpec) -> int:
    """Bytes of the device that the model will be on: a GPU's all, of a machine what is free now."""
    import psutil
    import torch

    if spec.device == "cuda" or (spec.device == "auto" and torch.cuda.is_available()):
        return int(torch.cuda.get_device_properties(0).total_memory)
    return int(psutil.virtual_memory().available)


def refuse_too_large(spec: ModelSpec, needed: Memory, here: int) -> None:
    """Stop before anything is loaded that cannot fit.

    Raises:
        UserError: it needs more than there is.
    """
    if needed.total <= here:
        return
    ways = []
    if BYTES[spec.dtype] > 2:
        ways.append("model.dtype=bfloat16")
    if needed.trains:
        ways.append(f"erasers.{needed.trains}.group=kv")
    ways.append("a larger device, or a smaller model")
    parts = f"{needed.weights / GB:.1f} GB of weights in {spec.dtype}"
    if needed.trains:
        parts += f", {needed.training / GB:.1f} GB to train {needed.trains}"
    raise UserError(
        f"'{spec.name}' needs at least {needed.total / GB:.1f} GB ({parts}) and there are {here / GB:.1f} GB: try "
        f"{', or '.join(ways)}."
    )
