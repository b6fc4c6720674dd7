"""Eraser files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .local import LocalDataset


class EraserDataset(LocalDataset):
    """An ``excise.erasers.eraser.Eraser`` as ``eraser.safetensors``."""

    def read(self, path: Path) -> Any:
        from excise.erasers.eraser import Eraser

        return Eraser.load(path)

    def write(self, path: Path, data: Any) -> None:
        data.save(path)
