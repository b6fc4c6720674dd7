"""Mask files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .local import LocalDataset


class MaskDataset(LocalDataset):
    """An ``excise.masks.Mask`` as ``mask.safetensors``."""

    def read(self, path: Path) -> Any:
        from excise.masks.mask import Mask

        return Mask.load(path)

    def write(self, path: Path, data: Any) -> None:
        data.save(path)
