"""The whole erased model as a diffusers folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from excise.erasers.eraser import Eraser
    from excise.models.diffusion import DiffusionModel

LOCAL = ("_name_or_path", "name_or_path")  # where a part was loaded from: a path of one machine


def save_folder(model: DiffusionModel, eraser: Eraser | None, folder: Path) -> None:
    """Write the model wearing an eraser, in the precision it has; the eraser is taken off again."""
    with model.wearing(eraser):
        write_folder(model.pipe, Path(folder))


def write_folder(pipe, folder: Path) -> None:
    """Write a pipeline as safetensors that ``from_pretrained`` finds, without any path of this machine."""
    pipe.save_pretrained(folder, safe_serialization=True)
    for config in [*folder.glob("*.json"), *folder.glob("*/*config.json")]:
        told = json.loads(config.read_text())
        if any(key in told for key in LOCAL):
            told = {k: v for k, v in told.items() if k not in LOCAL}
            config.write_text(json.dumps(told, indent=2) + "\n")
    for encoder in folder.glob("text_encoder*"):
        load_in_single_precision(encoder)


def load_in_single_precision(folder: Path) -> None:
    """Unless told otherwise diffusers computes in float32, transformers in what the config says: the same here."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float32"}, indent=2) + "\n")
