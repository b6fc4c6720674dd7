"""Named tensors with a header of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .local import LocalDataset


class TensorsDataset(LocalDataset):
    """A dict of torch tensors as safetensors.

    Saves a dict, or a pair of a dict and a header (str -> str); loads the dict. ``header`` reads the header alone.
    """

    def read(self, path: Path) -> dict[str, Any]:
        from safetensors.torch import load_file

        return load_file(path)

    def write(self, path: Path, data: Any) -> None:
        from safetensors.torch import save_file

        tensors, header = data if isinstance(data, tuple) else (data, None)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=header)

    @property
    def header(self) -> dict[str, str]:
        """The header of the version that would be loaded; empty if it was saved without one."""
        from safetensors import safe_open

        with safe_open(str(self._get_load_path()), "pt") as file:
            return file.metadata() or {}
