"""Is a file whole? Told from its beginning and its end, without reading what lies between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from excise.errors import UserError


def _safetensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(path), "np"):  # compares the header with the file's length
        pass


def _parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.ParquetFile(path).close()  # reads the footer, which is written last


def _json(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        json.load(file)


def _png(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.verify()


KINDS: dict[str, Callable[[Path], None]] = {
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".json": _json,
    ".png": _png,
}


def refuse_damaged(path: Path, what: str) -> None:
    """Look at a file of one of ``KINDS``; others pass.

    Args:
        what: it is, for the sentence.

    Raises:
        UserError: it is cut short, or not of the kind that its name says.
    """
    look = KINDS.get(path.suffix)
    if look is None or not path.is_file():
        return
    try:
        look(path)
    except Exception:  # every library has its own kind of error for this
        raise UserError(
            f"{path} ({what}) is damaged or not whole: delete its folder and run what makes it anew."
        ) from None
