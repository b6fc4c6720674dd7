"""Stored files: each has the bytes that were noted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from excise.provenance import File, NodeRecord, file_sha256

from .finding import Finding


def _files(records: list[NodeRecord]) -> dict[str, File]:
    return {f.file: f for record in records for f in (*record.inputs.values(), *record.outputs.values())}


def changed_files(root: Path, records: list[NodeRecord]) -> set[str]:
    """Places of files that hold other bytes than were noted: nothing that is read from them counts."""
    files = _files(records).values()
    return {f.file for f in files if (root / f.file).exists() and file_sha256(root / f.file) != f.sha256}


def check_files(root: Path, records: list[NodeRecord], changed: Collection[str] | None = None) -> Iterator[Finding]:
    """Every file that the run read or wrote has the bytes that were noted.

    Args:
        changed: ``changed_files``, where they are known: each file is read once.
    """
    changed = changed_files(root, records) if changed is None else changed
    files = _files(records)
    gone = [place for place in files if not (root / place).exists()]
    for place in files:
        if place in changed:
            yield Finding("differs", place, "it is not the file that was written: its hash is another")
    for place in gone:
        yield Finding("unchecked", place, "it is gone")
    if len(files) > len(changed) + len(gone):
        yield Finding("agrees", f"{len(files) - len(changed) - len(gone)} files", "their hashes are those noted")
