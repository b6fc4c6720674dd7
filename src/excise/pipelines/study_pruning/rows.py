"""A row that is made once: finished work is a file, and nothing is begun when the time is over."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable

from excise.cache import Cache, finished, write_atomically


def deadline(hours: float | None) -> float:
    """When no further row is begun, on the monotonic clock."""
    return math.inf if hours is None else time.monotonic() + 3600 * hours


def made_once(cache: Cache, what: str, mark: str, end: float, make: Callable[[], dict]) -> dict:
    """The row of a fingerprint: from its file, or made; ``{"missing": ...}`` where there is no time for it."""
    path = cache.folder(what, (), fingerprint=mark) / "row.json"
    if not finished(path):
        if time.monotonic() > end:
            return {"missing": mark}
        row = make() | {"fingerprint": mark}
        write_atomically(path, lambda draft: draft.write_text(json.dumps(row)))
    return json.loads(path.read_text())
