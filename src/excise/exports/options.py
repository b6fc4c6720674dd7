"""Which formats are written, and which cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from excise.erasers.eraser import Eraser
from excise.errors import UserError

from .single_file import why_no_single_file

Format = Literal["all", "folder", "weights", "mask", "single_file", "lora"]
FORMATS: dict[str, str] = {  # format -> where it lies in the export's folder
    "folder": "diffusers",
    "weights": "changed.safetensors",
    "mask": "mask.safetensors",
    "single_file": "checkpoint.safetensors",
    "lora": "lora.safetensors",
}


class ExportOptions(BaseModel):
    """What is exported, and how.

    Attributes:
        variant: ``learned`` (P-X), ``unpruned`` (X), ``plus`` (X+), ``scored`` or ``random``; None for P-X, or for X of
            a method that has no P-X.
        formats: one, several, or ``all`` that this eraser and this model have.
        rank: of the LoRA.
        dtype: what the files hold. The LoRA is fitted in single precision and then rounded.
    """

    model_config = ConfigDict(extra="forbid")
    variant: Literal["learned", "unpruned", "plus", "scored", "random"] | None = None
    formats: list[Format] = Field(["all"], min_length=1)
    rank: int = Field(16, ge=1)
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"

    @field_validator("formats", mode="before")
    @classmethod
    def _one_or_more(cls, formats: object) -> object:
        """One format may stand alone: on the command line there are no lists."""
        return [formats] if isinstance(formats, str) else formats


def choose_formats(options: ExportOptions, eraser: Eraser, base: Path) -> tuple[list[str], dict[str, str]]:
    """The formats to write, and why each of the others is left out.

    Args:
        base: the base model's diffusers folder.

    Raises:
        UserError: a format that was asked for by name cannot be written.
    """
    hindered = {name: reason for name, check in HINDRANCES.items() if (reason := check(eraser, base))}
    if "all" in options.formats:
        return [name for name in FORMATS if name not in hindered], hindered
    for name in options.formats:
        if name in hindered:
            raise UserError(f"The format '{name}' cannot be written: {hindered[name]}; take it out of export.formats.")
    return [name for name in FORMATS if name in options.formats], {}


def _no_mask(eraser: Eraser, base: Path) -> str | None:
    return None if eraser.pruned else "this eraser has no mask"


def _no_single_file(eraser: Eraser, base: Path) -> str | None:
    return why_no_single_file(base)


def _no_lora(eraser: Eraser, base: Path) -> str | None:
    """diffusers has other names for LoRAs of transformers: it would warn at most, and draw with the base model."""
    return "the base model draws with a transformer" if denoiser_of(base) == "transformer" else None


def denoiser_of(base: Path) -> str:
    """The part of a diffusers folder that draws: ``unet`` or ``transformer``."""
    return "transformer" if "transformer" in json.loads((base / "model_index.json").read_text()) else "unet"


HINDRANCES: dict[str, Callable[[Eraser, Path], str | None]] = {
    "mask": _no_mask,
    "single_file": _no_single_file,
    "lora": _no_lora,
}
