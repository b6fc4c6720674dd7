"""Folders that were made elsewhere, such as exports."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .local import LocalDataset


class FolderDataset(LocalDataset):
    """A folder, given and returned as a path. What is saved is moved here, so that nothing large lies on disk twice."""

    def read(self, path: Path) -> Any:
        return path

    def write(self, path: Path, data: Any) -> None:
        shutil.move(Path(data), path)
