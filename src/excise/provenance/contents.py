"""What a file holds: its bytes, and what it says whoever wrote it when."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

# what two runs that made the same thing say differently
OF_THE_RUN = {"run_id", "versions", "made_of"}  # in headers
OF_THE_JOB = {"cost", "run"}  # in metrics.json
CHUNK = 1 << 20
TELLING = {".json", ".safetensors"}  # files of which what they say is not just their bytes


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes; of a folder's files with their names."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}:{file_sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_of(path: Path) -> str:
    """Hex digest of what a file says, less its run's id, versions and cost: equal for two runs that made the same.

    Raises:
        ValueError: a safetensors or JSON file that is none.
    """
    if path.suffix == ".safetensors":
        return _tensors(path)
    if path.suffix == ".json":
        return hashlib.sha256(json.dumps(lasting(json.loads(path.read_text())), sort_keys=True).encode()).hexdigest()
    return file_sha256(path)


def lasting(metrics: Any) -> Any:
    """``metrics.json`` without what differs from run to run; other JSON as it is."""
    if not isinstance(metrics, dict):
        return metrics
    return {key: value for key, value in metrics.items() if key not in OF_THE_JOB}


def _tensors(path: Path) -> str:
    """Of a safetensors file: the length of its header in 8 bytes, the header as JSON, the tensors."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length)) if length <= path.stat().st_size else None
        told = header.pop("__metadata__", {}) if isinstance(header, dict) else None
        if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
            raise ValueError(f"{path} is no safetensors file")
        written = {name: _header(text) for name, text in told.items()}
        digest.update(json.dumps([header, written], sort_keys=True).encode())
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _header(text: str) -> Any:
    try:
        return _stripped(json.loads(text))
    except ValueError:  # a plain word
        return text


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key not in OF_THE_RUN}
    return [_stripped(item) for item in value] if isinstance(value, list) else value
