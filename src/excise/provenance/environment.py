"""With what a result is made: the package's code, the pinned versions, the machine."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path
from typing import Any

import excise

from .contents import file_sha256

LOCK = "constraints.txt"


def describe_environment(project: Path, model: Any = None) -> dict[str, Any]:
    """Hashes of code and lock file; where a base model is used (a ``ModelSpec``), the device that computes.

    Returns:
        ``code``; ``lock`` (None where there is no such file); ``device`` (type, name, dtype, threads) or None.
    """
    return {"code": code_sha256(), "lock": lock_sha256(project), "device": None if model is None else device_of(model)}


@cache
def code_sha256() -> str:
    """Hex digest of the package's Python files, comments and all: the very text that ran."""
    root = Path(excise.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}:{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def lock_sha256(project: Path) -> str | None:
    """Hex digest of the project's lock file, or of the one beside the package's source; None where neither is."""
    for folder in (project, Path(excise.__file__).parents[2]):
        if (folder / LOCK).is_file():
            return file_sha256(folder / LOCK)
    return None


def device_of(model: Any) -> dict[str, Any]:
    """What computes, how exactly, and in how many threads: floating-point sums depend on all three."""
    import torch

    from excise.models.spec import ModelSpec

    spec: ModelSpec = model
    kind = spec.device if spec.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if kind == "cuda" else _processor()
    return {"type": kind, "name": name, "dtype": spec.dtype, "threads": torch.get_num_threads()}


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
