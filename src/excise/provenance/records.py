"""Who made which file out of what: a small JSON for each node of each run, ``data/runs/<run id>/<node>.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from excise.cache import write_atomically
from excise.errors import UserError

RUN = "run.json"


class Recorded(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(Recorded):
    """A stored data set.

    Attributes:
        file: path below the project.
        sha256: of its bytes.
        content: of what it says, whichever run wrote it (``contents.content_of``).
    """

    file: str
    sha256: str
    content: str


class RunRecord(Recorded):
    """A run: the command in parts, and with what it ran."""

    id: str
    pipelines: list[str]
    env: str
    params: dict[str, Any]
    seed: int | None
    versions: dict[str, str]
    environment: dict[str, Any]

    @property
    def job(self) -> str:
        """What is done again when the same command is given again."""
        return json.dumps([self.pipelines, self.env, self.params], sort_keys=True)


class NodeRecord(Recorded):
    """One node's work.

    Attributes:
        inputs, outputs: data set -> file.
        parameters: raw values, as the configuration and the command line give them.
        code: room -> fingerprint of what of it the node leads to.
        told: what else decides it: fixed arguments, the concept's configuration.
    """

    run: str
    node: str
    inputs: dict[str, File]
    outputs: dict[str, File]
    parameters: dict[str, Any]
    code: dict[str, str]
    told: dict[str, Any] = {}


def write_record(folder: Path, record: RunRecord | NodeRecord) -> None:
    """Store a record below ``data/runs``; one that is there already is replaced."""
    run, name = (record.id, RUN) if isinstance(record, RunRecord) else (record.run, f"{record.node}.json")
    path = folder / run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda draft: draft.write_text(record.model_dump_json(indent=1)))


def recorded_nodes(folder: Path, run: str) -> set[str]:
    """The names of a run's nodes whose work is stored."""
    return {path.stem for path in (folder / run).glob("*.json") if path.name != RUN}


def forget_nodes(folder: Path, run: str, nodes: Iterable[str]) -> None:
    """Remove the records of nodes that are about to run again in the same run."""
    for node in nodes:
        (folder / run / f"{node}.json").unlink(missing_ok=True)


def read_run(folder: Path, run: str) -> tuple[RunRecord, list[NodeRecord]]:
    """A run and its nodes.

    Raises:
        UserError: there is no record of it, or one is damaged.
    """
    if not (folder / run / RUN).exists():
        known = sorted(p.parent.name for p in folder.glob(f"*/{RUN}"))
        hint = f"the newest is {known[-1]}" if known else "no run has left any"
        raise UserError(f"There are no records of a run '{run}' in {folder}: {hint}.")
    return _read(folder / run / RUN, RunRecord), list(_nodes(folder / run))


def newest_run(folder: Path) -> str:
    """The id of the newest run that left records.

    Raises:
        UserError: there is none.
    """
    for run in sorted((p.parent for p in folder.glob(f"*/{RUN}")), reverse=True):
        if len(list(run.glob("*.json"))) > 1:  # one that was refused or stopped at its start has no nodes
            return run.name
    raise UserError(f"No run has left records in {folder}: run a pipeline first.")


def latest_records(folder: Path, project: Path) -> tuple[list[tuple[RunRecord, NodeRecord]], list[str]]:
    """Who made the newest version of every stored data set.

    Returns:
        (run, node) of the newest versions, each once; and the newest versions that no record speaks of, as when a run
        was killed between a file and its record.
    """
    made: dict[str, tuple[RunRecord, NodeRecord]] = {}
    for run_file in sorted(folder.glob(f"*/{RUN}")):
        run = _read(run_file, RunRecord)
        for node in _nodes(run_file.parent):
            made |= {file.file: (run, node) for file in node.outputs.values()}
    found, untold = {}, []
    for base in sorted({Path(file).parents[1] for file in made}):
        versions = sorted((project / base).glob(f"*/{base.name}"))
        if not versions:
            continue  # deleted since
        newest = versions[-1].relative_to(project).as_posix()
        if newest in made:
            run, node = made[newest]
            found[run.id, node.node] = (run, node)
        else:
            untold.append(newest)
    return list(found.values()), untold


def _nodes(folder: Path) -> Iterator[NodeRecord]:
    for path in sorted(folder.glob("*.json")):
        if path.name != RUN:
            yield _read(path, NodeRecord)


def _read(path: Path, kind: type[Any]) -> Any:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError:
        raise UserError(f"{path} is damaged or of another version of excise: delete it and run again.") from None
