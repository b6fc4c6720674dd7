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
    if not path.read_bytes().endswith(b"IEND\xaeB`\x82"):  # which verify does not look at
        raise ValueError("the last chunk is cut short")


KINDS: dict[str, Callable[[Path], None]] = {
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".json": _json,
    ".png": _png,
}


def is_whole(path: Path) -> bool:
    """Whether a file is not cut short, and of the kind that its name says; one of no kind here must not be empty."""
    look = KINDS.get(path.suffix)
    if look is None:
        return path.stat().st_size > 0
    try:
        look(path)
    except Exception:  # every library has its own kind of error for this
        return False
    return True


def refuse_damaged(path: Path, what: str) -> None:
    """Pass what is whole, is of no kind that can be told, or is not there.

    Args:
        what: it is, for the sentence.

    Raises:
        UserError: it is cut short, or not of the kind that its name says.
    """
    if path.suffix in KINDS and path.is_file() and not is_whole(path):
        mend = "delete its folder and run what makes it anew"
        if what.endswith(".committed"):  # beside it lie pages that nobody wants deleted
            mend = "take it from version control again"
        raise UserError(f"{path} ({what}) is damaged or not whole: {mend}.")
