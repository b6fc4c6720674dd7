"""What somebody means with a word on the command line: a run, or rows of a grid."""

from __future__ import annotations

from pathlib import Path

from excise.errors import UserError
from excise.provenance.records import newest_run

from ..jobs import runs_folder


def run_of(root: Path, what: str | None) -> str:
    """The run that somebody means: its id, a file or folder that it saved, or nothing for the newest.

    Raises:
        UserError: there is no such run.
    """
    runs = runs_folder(root)
    if what is None:
        return newest_run(runs)
    if (runs / what / "run.json").exists():
        return what
    path = (root / what).resolve()
    if not path.exists():
        raise UserError(f"There is neither a run nor a file '{what}': give a run's id or a result below data/.")
    inside = [path.name, *(p.name for p in path.parents)]
    known = {p.parent.name for p in runs.glob("*/run.json")}
    named = [name for name in inside if name in known]
    if not named and path.is_dir():  # a versioned data set: the newest version
        named = sorted(known & {p.name for p in path.iterdir()})[-1:]
    if not named:
        raise UserError(f"No run has a record of '{what}': give a result below data/, or a run's id.")
    return named[0]


def holds_rows(path: Path) -> bool:
    """Whether a file is a grid's rows, and no result of a run: by its name, since a damaged one is to be told too."""
    return path.name in ("results.json", "benchmark.json", "ablations.json", "neurons.json") or (
        path.suffix == ".json" and path.parent.name == "docs"
    )
