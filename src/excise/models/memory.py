"""How much memory a model and its training take at least, before anything is loaded, and which settings make it fit."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from excise.errors import UserError

from .spec import ModelSpec

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
NOT_NEEDED = ("safety_checker", "image_encoder")  # parts that are not loaded
TRAINED = 16  # bytes a trained weight: its copy, its gradient and Adam's two moments, in float32
ROOM = 1.2  # settings are chosen so that the least memory times this fits: an allocator needs some air
GB = 1e9


@dataclass(frozen=True)
class Use:
    """What is to be done with a model.

    Attributes:
        trained: (where its options stand, the group of parameters that it trains, latents evaluated together), for each
            eraser and each attack that trains all weights.
        attacked: latents that an attack takes a gradient through together; 0 for none.
        drawn: pictures drawn together; 0 for none.
    """

    trained: tuple[tuple[str, str, int], ...] = ()
    attacked: int = 0
    drawn: int = 0


@dataclass(frozen=True)
class Memory:
    """Bytes on the device. All are lower bounds.

    Attributes:
        weights: of all parts of the model that are there at once.
        training: of the eraser, or attack, that trains most: copies, gradients, the optimiser's state.
        activations: kept for a gradient, by that eraser or by the attack.
        drawing: of the widest operation when a batch of pictures is drawn.
        trains: where that eraser's options stand; empty where nothing is trained.
    """

    weights: int = 0
    training: int = 0
    activations: int = 0
    drawing: int = 0
    trains: str = ""

    @property
    def total(self) -> int:
        return self.weights + max(self.training + self.activations, self.drawing)


def least_memory(spec: ModelSpec, use: Use) -> Memory:
    """What is certain to be needed at once: weights, what training adds, what gradients keep, what drawing reads."""
    besides = _besides_weights(spec, use) if use != Use() else Memory()
    return replace(besides, weights=_weights(spec))


@lru_cache(16)
def _besides_weights(spec: ModelSpec, use: Use) -> Memory:
    from .layers import parameter_names
    from .sketch import Sketch

    sketch = Sketch(spec)
    sizes = {name: p.numel() for name, p in sketch.model.denoiser.named_parameters()}
    most = Memory(activations=sketch.kept_for_backward(use.attacked, []) if use.attacked else 0)
    for place, group, batch in use.trained:
        names = parameter_names(sketch.model.denoiser, group)
        kept = sketch.kept_for_backward(batch, names)
        one = Memory(training=TRAINED * sum(sizes[n] for n in names), activations=kept, trains=place)
        most = max(most, one, key=lambda memory: memory.total)
    return replace(most, drawing=sketch.widest_step(use.drawn) if use.drawn else 0)


def _weights(spec: ModelSpec) -> int:
    """Bytes of weights that are on the device at once, from the headers of the model's files."""
    folder = spec.folder
    named = {name for name, of in json.loads((folder / "model_index.json").read_text()).items() if _is_part(of)}
    parts = {part.name: part for part in folder.iterdir() if part.name in named - {*NOT_NEEDED}}
    if spec.unet_folder:
        parts["unet"] = spec.unet_folder
    sizes = {name: sum(map(elements, _loaded(part))) for name, part in parts.items()}
    resting: list[int] = []
    if spec.offload is True:
        from .families import family_of

        resting = [sizes.pop(name) for name in family_of(spec.pipeline_class).resting() if name in sizes]
    return (sum(sizes.values()) + max(resting, default=0)) * BYTES[spec.dtype]


def _is_part(of: Any) -> bool:
    """Whether an entry of ``model_index.json`` is a part that is loaded; what else lies in the folder is not."""
    return isinstance(of, list) and all(of)


def _loaded(part: Path) -> list[Path]:
    """The files that are read: copies in another precision, as ``model.fp16.safetensors``, lie beside them unread."""
    files = sorted(part.glob("*.safetensors"))
    return [file for file in files if "." not in file.stem] or files


def elements(file: Path) -> int:
    """How many numbers a safetensors file holds, from its header alone.

    Raises:
        UserError: it is damaged, or shorter than its header says.
    """
    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > 100_000_000:
                raise ValueError("no header is that long")
            header = json.loads(stream.read(size))
        tensors = [one for name, one in header.items() if name != "__metadata__"]
        if file.stat().st_size < 8 + size + max((one["data_offsets"][1] for one in tensors), default=0):
            raise ValueError("its end is missing")
        return sum(prod(one["shape"]) for one in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise UserError(f"{file} is damaged: fetch the model anew.") from None


def memory_here(spec: ModelSpec) -> int:
    """Bytes of the device that the model will be on: a GPU's all, of a machine what is free now.

    Raises:
        UserError: a GPU is asked for, and there is none.
    """
    import psutil
    import torch

    if spec.device == "cuda" and not torch.cuda.is_available():
        raise UserError("model.device is cuda, and there is none here that torch can use: set it to auto or cpu.")
    if spec.device != "cpu" and torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return int(psutil.virtual_memory().available)


def choose_settings(spec: ModelSpec, use: Use, here: int) -> tuple[ModelSpec, Memory]:
    """The specification with every ``auto`` replaced by what fits.

    Precision goes last: offloading and computing twice cost time, halves cost digits. Where nothing fits, the smallest
    comes back, to be refused.
    """
    offloads = [False, True] if spec.offload == "auto" else [spec.offload]
    checkpoints = [False, True] if spec.gradient_checkpointing == "auto" else [spec.gradient_checkpointing]
    dtypes = ["float32", "bfloat16"] if spec.dtype == "auto" else [spec.dtype]
    for dtype, checkpointing, offload in product(dtypes, checkpoints, offloads):
        chosen = {"dtype": dtype, "gradient_checkpointing": checkpointing, "offload": offload}
        settled = spec.model_copy(update=chosen)
        needed = least_memory(settled, use)
        if ROOM * needed.total <= here:
            break
    return settled, needed


def refuse_too_large(spec: ModelSpec, use: Use, needed: Memory, here: int) -> None:
    """Stop before anything is loaded that cannot fit.

    Raises:
        UserError: it needs more than there is.
    """
    if needed.total <= here:
        return
    ways = []
    if spec.dtype not in ("bfloat16", "float16"):
        ways.append("model.dtype=bfloat16")
    if not spec.offload:
        ways.append("model.offload=true")
    parts = f"{needed.weights / GB:.1f} GB of weights in {spec.dtype}"
    if needed.training + needed.activations >= needed.drawing:
        if needed.activations and not spec.gradient_checkpointing:
            ways.append("model.gradient_checkpointing=true")
        if needed.trains.startswith("attacks."):
            ways.append(f"a smaller {needed.trains}.batch or {needed.trains}.options.rank above 0")
        elif needed.trains:
            ways.append(f"a smaller {needed.trains}.batch or {needed.trains}.group=kv")
        elif use.attacked > 1:
            ways.append("a smaller batch of the attack")
        if needed.trains:
            parts += f", {needed.training / GB:.1f} GB to train with {needed.trains}"
        if needed.activations:
            parts += f", {needed.activations / GB:.1f} GB for its gradients"
    elif use.drawn > 1:
        ways.append(f"draw.batch below {use.drawn}")
        parts += f", {needed.drawing / GB:.1f} GB to draw {use.drawn} pictures"
    ways.append("a larger device, or a smaller model")
    raise UserError(
        f"'{spec.name}' needs at least {needed.total / GB:.1f} GB ({parts}) and there are {here / GB:.1f} GB: try "
        f"{', or '.join(ways)}."
    )
