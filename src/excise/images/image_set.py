"""A folder of pictures and the manifest that says what each shows."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from excise.cache import write_atomically

COLUMNS = ["image_id", "prompt_id", "set", "split", "seed", "file", "sha256"]


@dataclass(frozen=True)
class ImageSet:
    """Pictures of one model under one attack.

    Attributes:
        folder: where the files are.
        manifest: one row an image: image_id, prompt_id, set, split, seed, file (below ``folder``), sha256.
    """

    folder: Path
    manifest: pd.DataFrame

    def load(self, image_ids: list[str] | None = None) -> np.ndarray:
        """Pictures in the order asked for (all, in the manifest's order), (n, H, W, 3) uint8 RGB.

        Raises:
            FileNotFoundError: a file of the manifest is gone.
            ValueError: a file is not the one that was drawn, or lies outside the folder.
        """
        from PIL import Image

        rows = self.manifest if image_ids is None else self.manifest.set_index("image_id").loc[image_ids]
        pictures = []
        for file, sha256 in zip(rows["file"], rows["sha256"], strict=True):
            if not (self.folder / file).resolve().is_relative_to(self.folder.resolve()):
                raise ValueError(f"{file} lies outside the folder of its manifest")
            data = (self.folder / file).read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise ValueError(
                    f"{file} is not the picture that the manifest speaks of; delete its folder and draw again"
                )
            pictures.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        return np.stack(pictures) if pictures else np.zeros((0, 0, 0, 3), np.uint8)

    @property
    def complete(self) -> bool:
        """Every picture of the manifest is there."""
        return all((self.folder / file).exists() for file in self.manifest["file"])


def png_of(picture: np.ndarray) -> bytes:
    """A picture, (H, W, 3) uint8 RGB, as the bytes of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def save_picture(picture: np.ndarray, path: Path) -> str:
    """Write a PNG whole or not at all; returns its sha256."""
    data = png_of(picture)
    write_atomically(path, lambda draft: draft.write_bytes(data))
    return hashlib.sha256(data).hexdigest()
