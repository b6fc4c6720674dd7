"""One local file, written whole or not at all."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io.core import AbstractVersionedDataset, DatasetError, Version

from excise.cache import write_atomically


class LocalDataset(AbstractVersionedDataset[Any, Any]):
    """A versioned local file; a subclass says how to read and write it.

    Args:
        filepath: a local path.
        version: the version to load and to save, filled in by the catalog.
        metadata: anything; read by hooks and by kedro-viz.

    Raises:
        DatasetError: the path is a URL.
    """

    def __init__(self, *, filepath: str, version: Version | None = None, metadata: dict | None = None) -> None:
        if "://" in str(filepath):
            raise DatasetError(f"{type(self).__name__} keeps local files only; give a local path for '{filepath}'")
        super().__init__(PurePosixPath(filepath), version)
        self.metadata = metadata

    @abstractmethod
    def read(self, path: Path) -> Any:
        """The content of a file."""

    @abstractmethod
    def write(self, path: Path, data: Any) -> None:
        """Write a new file."""

    def load(self) -> Any:
        return self.read(Path(self._get_load_path()))

    def save(self, data: Any) -> None:
        path = Path(self._get_save_path())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda draft: self.write(draft, data))

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).exists()
        except DatasetError:  # no version yet
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}
