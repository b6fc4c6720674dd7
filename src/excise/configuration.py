"""Kedro's configuration loader, which reads every kind of file once: hooks ask it a dozen times, and YAML is slow."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from kedro.config import OmegaConfigLoader


class ConfigLoader(OmegaConfigLoader):
    """Everybody gets a copy of what was read first; a session has a loader of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._read: dict[str, Any] = {}
        super().__init__(*args, **kwargs)

    def __getitem__(self, key: str) -> Any:
        if key not in self._read:
            self._read[key] = super().__getitem__(key)
        return deepcopy(self._read[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self._read.pop(key, None)
        super().__setitem__(key, value)
