"""Where a base model is, and how it is loaded: what travels between nodes instead of a live model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from excise.errors import UserError

from .hub import HUB, fetch_hub

EMBEDDED = Path(__file__).parent.parent / "embedded"


class ModelSpec(BaseModel):
    """A base model.

    Attributes:
        name: short name; a folder of results.
        path: a diffusers folder; ``embedded:NAME`` is one that ships with excise; ``hub:OWNER/NAME@REVISION`` is
            fetched from the hub, at a commit's full hash.
        pixels: height and width of a picture; None for what the model was made for.
        dtype: of the weights; ``auto`` is float32 where that fits, else bfloat16.
        gradient_checkpointing: compute activations again in the backward pass, and do not keep them: a third more time
            for much less memory; ``auto`` where it has to be.
        offload: keep what only reads or decodes (text encoders whose words are not searched, the autoencoder) in the
            machine's memory, and bring it to the device for each call; ``auto`` where it has to be.
        unet: folder of a U-Net that takes the place of the model's own, named likewise; all other parts are shared.
        help: the sentence that a user reads when the folder is not there.
        sha256: identity of the weights (``models.identity``), filled in when the model is first loaded.
        files: hash of all of its files, filled in with it, so that nothing is taken for the work of other files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern="^[a-z][a-z0-9_]*$", max_length=64)
    path: str
    unet: str | None = None
    help: str = "Set the parameter model.path to a diffusers folder."
    dtype: Literal["auto", "float32", "float16", "bfloat16", "float64"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    pixels: int | None = Field(None, ge=8)
    gradient_checkpointing: bool | Literal["auto"] = False
    offload: bool | Literal["auto"] = False
    sha256: str | None = None
    files: str | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be chosen for the device (``memory.choose_settings``)."""
        return "auto" not in (self.dtype, self.gradient_checkpointing, self.offload)

    @property
    def folder(self) -> Path:
        """The model's folder.

        Raises:
            UserError: there is no model there.
        """
        folder = fetch_hub(self.path, self.help) if self.path.startswith(HUB) else find_folder(self.path)
        if not (folder / "model_index.json").exists():
            raise UserError(f"There is no diffusers model in '{self.path}': {self.help}")
        return folder

    @property
    def pipeline_class(self) -> str:
        """The class of diffusers that the folder was saved from.

        Raises:
            UserError: there is no model, or the folder does not say.
        """
        index = self.folder / "model_index.json"
        try:
            return str(json.loads(index.read_text())["_class_name"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"The model_index.json in '{self.path}' is damaged: fetch the model anew.") from None

    @property
    def unet_folder(self) -> Path | None:
        """The folder of the U-Net that replaces the model's own, if one does.

        Raises:
            UserError: there is no U-Net there.
        """
        if self.unet is None:
            return None
        folder = find_folder(self.unet)
        if not (folder / "config.json").exists():
            raise UserError(f"There is no U-Net in '{self.unet}': name a folder with its config.json and weights.")
        return folder


def find_folder(path: str) -> Path:
    """The folder that a path names; ``embedded:NAME`` is one that ships with excise."""
    if path.startswith("embedded:"):
        return EMBEDDED / path.removeprefix("embedded:")
    return Path(path).expanduser()
