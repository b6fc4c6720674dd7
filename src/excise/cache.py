"""Work in progress: a folder for each piece of long work, named by a fingerprint of all that determines it.

A restart finds the folder and goes on; a changed parameter, input or line of code does not find it.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import importlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from excise.equal_code import ALL, Pairs, as_before, pairs_for
from excise.shards import WHOLE, Shard
from excise.whole import is_whole


def fingerprint(value: Any) -> str:
    """Hex digest of plain data, pydantic models, tables, arrays, tensors and files (a ``Path`` counts by content).

    Raises:
        TypeError: for anything whose content is not plain to see.
    """
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()[:20]


def _feed(digest, value: Any) -> None:
    import numpy as np
    import pandas as pd
    from pydantic import BaseModel

    digest.update(type(value).__name__.encode() + b":")
    if value is None or isinstance(value, (str, int, float, bool)):
        digest.update(repr(value).encode())
    elif isinstance(value, BaseModel):
        digest.update(json.dumps(value.model_dump(mode="json"), sort_keys=True).encode())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            _feed(digest, str(key))
            _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        digest.update(str(len(value)).encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, pd.DataFrame):
        _feed(digest, list(map(str, value.columns)))
        digest.update(pd.util.hash_pandas_object(value.reset_index(drop=True), index=False).to_numpy().tobytes())
    elif isinstance(value, np.ndarray):
        digest.update(str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, np.generic):
        digest.update(repr(value.item()).encode())
    elif isinstance(value, Path):
        digest.update(hashlib.sha256(value.read_bytes()).digest())
    elif hasattr(value, "detach"):
        array = value.detach().cpu().contiguous()
        digest.update(
            str((tuple(array.shape), str(array.dtype))).encode() + array.flatten().view(_byte()).numpy().tobytes()
        )
    else:
        raise TypeError(f"cannot take a fingerprint of {type(value).__name__}")


def _byte():
    import torch

    return torch.uint8


INSIDE = {"excise.models": ("excise.models.families",)}  # all work of a room goes through what is inside it


def code_fingerprint(*modules: str, pairs: Pairs = ALL) -> str:
    """Digest of the source of modules; a package counts with its own files, and not with the packages inside it.

    Comments, docstrings and layout do not count: nothing that is finished is lost because a sentence was mended. Nor
    does a package's ``__init__`` that only names what is there: a new method makes nothing of the others stale.

    Args:
        pairs: changes that are known to change no result (``excise.equal_code``).
    """
    digest = hashlib.sha256()
    within = {inner for module in modules for inner in INSIDE.get(module, ())}
    for name in sorted({*modules, *within}):
        file = Path(importlib.import_module(name).__file__ or "")
        inside = [path for path in sorted(file.parent.glob("*.py")) if path != file or _defines(path)]
        for path in inside if file.name == "__init__.py" else [file]:
            digest.update(bare_source(path.read_text(), pairs).encode())
    return digest.hexdigest()[:20]


def code_of(*methods: type) -> tuple[str, ...]:
    """The packages that methods live in, with those of the methods they are derived from, here or in a plugin."""
    found = {c.__module__ for method in methods for c in method.__mro__}
    ours = (m for m in found if m.partition(".")[0] not in {"builtins", "abc", "typing", "pydantic", "enum"})
    return tuple(sorted({m.rpartition(".")[0] or m for m in ours}))


def _defines(path: Path) -> bool:
    """Whether a file makes something of its own, and does not just name what others make."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, kinds) for node in ast.parse(path.read_text()).body)


@lru_cache(1024)
def bare_source(source: str, pairs: Pairs = ALL) -> str:
    """Source without its comments, docstrings and layout, the same in every Python, and without the changes that are
    known to change no result (``excise.equal_code``)."""
    tree = ast.parse(as_before(source, pairs))
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.Pass()
    return _spell(tree)


def _spell(part: Any) -> str:
    """A syntax tree as text, the same in every Python: ``ast.dump`` shows fields that are empty in some versions."""
    if isinstance(part, ast.AST):
        fields = ((name, _spell(value)) for name, value in ast.iter_fields(part))
        return f"{type(part).__name__}({', '.join(f'{n}={v}' for n, v in fields if v not in ('[]', 'None'))})"
    return f"[{', '.join(map(_spell, part))}]" if isinstance(part, list) else repr(part)


class Cache:
    """Folders for work in progress below ``root`` (``data/cache``).

    Attributes:
        shard: the part of the work in progress that this process does.
    """

    def __init__(self, root: str | Path, shard: Shard = WHOLE):
        self.root, self.shard = Path(root), shard

    def folder(self, what: str, code: tuple[str, ...], **inputs: Any) -> Path:
        """The folder for this piece of work, made if it is not there.

        Args:
            what: a word for people who look into the cache.
            code: modules whose source decides the result.
            inputs: everything else that decides it.
        """
        name = f"{what}-{fingerprint({'inputs': inputs, 'code': code_fingerprint(*code, pairs=pairs_for(inputs))})}"
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """While no other process that shares the cache is in a block of the same name."""
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / f"{what}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, also by a process that is killed
            yield


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call ``write(draft)`` and move the finished draft, a file or a folder, to ``path``.

    Nobody sees half of it: not who reads meanwhile, not who comes after a kill, nor (the draft is on the disk before it
    is moved) after the power was lost. Of several processes each writes a draft of its own, and the last one's file
    stays; of a folder the first one's.
    """
    draft = path.with_name(f".{os.getpid()}-{secrets.token_hex(3)}.{path.name}")
    try:
        write(draft)
        _to_disk(draft)
        if draft.is_dir() and path.is_dir():
            _remove(draft)  # another process was first
        else:
            os.replace(draft, path)
        _to_disk(path.parent, deep=False)
    except BaseException:  # a full disk is not kept full by halves
        _remove(draft)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _to_disk(path: Path, deep: bool = True) -> None:
    """Wait until a file, or a folder's names (``deep``: and all that is in it), would survive the loss of power."""
    if path.is_dir() and deep:
        for file in path.iterdir():
            _to_disk(file)
    if path.is_dir() and os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def finished(path: Path) -> bool:
    """Whether a file of work in progress is there, and whole.

    What ``write_atomically`` wrote is whole. A disk that failed, or somebody's copy that was cut short, can still leave
    a damaged file: that is said, and the file is made anew.
    """
    if not path.exists():
        return False
    whole = is_whole(path)
    if not whole:
        logging.getLogger("excise").warning("%s is damaged, and is made anew.", path)
    return whole
