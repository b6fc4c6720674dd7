"""Which results no longer match code, parameters and inputs; and how to make those again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.provenance import Change, NodeRecord, RunRecord, compare, content_of, latest_records

from .jobs import Job, open_job, runs_folder, sentence_for, spell_job

if TYPE_CHECKING:
    from kedro.pipeline.node import Node

FOLLOWS = "follows from these"
DAMAGED = "damaged"  # no content is called that
SHOWN = 4  # names in a line


@dataclass
class JobState:
    """How the results of one command stand.

    Attributes:
        run: the newest run of it.
        nodes: node -> what has changed for it; nothing for one that is current.
        follows: nodes of which an input will be made again.
        gone: nodes that the command no longer has.
        versions: data set -> version that is the newest today, for what a new run takes over.
        superseded: nodes that these results rest on, and that another command has made since with other parameters.
        error: why the command cannot be opened.
    """

    run: RunRecord
    nodes: dict[str, list[Change]] = field(default_factory=dict)
    records: dict[str, NodeRecord] = field(default_factory=dict)
    follows: set[str] = field(default_factory=set)
    gone: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    superseded: dict[str, list[Change]] = field(default_factory=dict)
    error: str = ""

    @property
    def stale(self) -> list[str]:
        """Nodes to run again; none under a command whose own results are no longer beneath them."""
        return [] if self.superseded else [n for n, changes in self.nodes.items() if changes or n in self.follows]


def find_stale(root: Path) -> tuple[list[JobState], list[str]]:
    """Every command that made the newest version of something, the oldest first; and versions without a record.

    A result is held against what its own command would do today: the parameters of that command line included.
    """
    found, untold = latest_records(runs_folder(root), root)
    states: dict[str, JobState] = {}
    for run, record in sorted(found, key=lambda pair: pair[0].id):
        state = states.setdefault(run.job, JobState(run))
        state.run = max(state.run, run, key=lambda r: r.id)
        state.records[record.node] = record
    newest = {record.node: record for _, record in sorted(found, key=lambda pair: pair[0].id)}
    contents: dict[str, str] = {}
    for state in states.values():
        try:
            with open_job(root, state.run) as job:
                _compare_job(root, job, state, contents)
                state.superseded = _superseded(job, state, newest)
        except Exception as error:  # parameters of then may be none of today's
            state.error = sentence_for(error)
    _propagate(list(states.values()))
    return list(states.values()), untold


def _compare_job(root: Path, job: Job, state: JobState, contents: dict[str, str]) -> None:
    from excise.hooks.record import parts_of, stored_file

    for node in job.pipeline.nodes:
        record = state.records.get(node.name)
        if record is None:
            continue
        inputs: dict[str, str | None] = {}
        for name in node.inputs:
            path = _newest(job.catalog, name, stored_file)
            if path is not None:
                place = path.relative_to(root).as_posix()
                inputs[name] = _content(root, place, contents)
                state.versions[name] = path.parent.name
        parts = parts_of(node, job.parameters, job.concepts)
        changes = compare(record, parts["code"], parts["parameters"], inputs, parts["told"])
        for name, file in record.outputs.items():  # what is not as it was made is not for others to read
            content = _content(root, file.file, contents)
            if content != file.content:
                detail = "is gone" if content is None else "was changed or is damaged"
                changes.append(Change("result", name, detail))
        state.nodes[node.name] = changes
    _find_new(job, state, stored_file)
    known = {node.name for node in job.pipeline.nodes}
    state.gone = sorted(set(state.records) - known)


def _find_new(job: Job, state: JobState, stored_file: Any) -> None:
    """Steps that the command did not have when it ran, and what reads them: it did not then, and nothing is stored."""
    wanted: set[str] = set()
    for node in reversed(job.pipeline.nodes):
        record = state.records.get(node.name)
        if record is not None:
            wanted |= set(node.inputs) - set(record.inputs)
            continue
        kept = [n for n in node.outputs if getattr(job.catalog.get(n), "_version", None) is not None]
        if wanted & set(kept) and not any(_newest(job.catalog, name, stored_file) for name in kept):
            state.nodes[node.name] = [Change("step", "")]
            wanted |= set(node.inputs)
            state.follows |= {n.name for n in job.pipeline.only_nodes_with_inputs(*kept).nodes}


def _content(root: Path, place: str, contents: dict[str, str]) -> str | None:
    """What a file says, read once; ``DAMAGED`` where it says nothing, None where there is none."""
    if place not in contents and (root / place).exists():
        try:
            contents[place] = content_of(root / place)
        except ValueError:
            contents[place] = DAMAGED
    return contents.get(place)


def _superseded(job: Job, state: JobState, newest: dict[str, NodeRecord]) -> dict[str, list[Change]]:
    """What this command's results rest on, and another command has made since with other parameters: run again on that,
    they would be taken for results of this one."""
    from excise.hooks.record import parts_of

    found = {}
    own = [name for name in state.records if name in {node.name for node in job.pipeline.nodes}]
    for node in job.pipeline.to_nodes(*own).nodes if own else []:
        record = newest.get(node.name)
        if record is None or node.name in state.records:
            continue
        parts = parts_of(node, job.parameters, job.concepts)
        inputs = {name: file.content for name, file in record.inputs.items()}
        if changes := compare(record, record.code, parts["parameters"], inputs, record.told):
            found[node.name] = changes
    return found


def _newest(catalog: Any, name: str, stored_file: Any) -> Path | None:
    from kedro.io.core import DatasetError

    try:
        return stored_file(catalog, name, "load")
    except DatasetError:  # no version is left
        return None


def _base(file: str) -> str:
    return Path(file).parents[1].as_posix()


def _propagate(states: list[JobState]) -> None:
    """What reads a result that will be made again follows it, over all commands."""
    again = {_base(f.file) for s in states for n in s.stale if n in s.records for f in s.records[n].outputs.values()}
    while True:
        before = len(again)
        for state in states:
            for name, record in state.records.items():
                if name not in state.nodes:
                    continue
                if name not in state.stale and again & {_base(f.file) for f in record.inputs.values()}:
                    state.follows.add(name)
                if name in state.stale:
                    again |= {_base(f.file) for f in record.outputs.values()}
        if len(again) == before:
            return


def spell_stale(states: list[JobState], untold: list[str]) -> Iterator[str]:
    """The comparison for people."""
    for state in states:
        if state.error:
            yield f"{spell_job(state.run)}: {len(state.records)} results cannot be compared. {state.error}"
            continue
        if state.superseded:
            name, changes = next(iter(state.superseded.items()))
            yield (
                f"{spell_job(state.run)}: {len(state.nodes)} steps rest on results that another command has made since "
                f"({name}, {changes[0]}): run this command again if you want them."
            )
            continue
        changed = [n for n, changes in state.nodes.items() if changes]
        follow = [n for n in state.stale if n not in changed]
        current = len(state.nodes) - len(changed) - len(follow)
        yield f"{spell_job(state.run)}: {current} steps current, {len(changed)} changed, {len(follow)} follow."
        reasons: Counter[str] = Counter(str(change) for changes in state.nodes.values() for change in changes)
        for reason, _ in reasons.most_common():
            yield f"  {reason}: {_names([n for n in changed if reason in map(str, state.nodes[n])])}"
        if follow:
            yield f"  {FOLLOWS}: {_names(follow)}"
        if state.gone:
            yield f"  no longer part of this command: {_names(state.gone)}"
    if untold:
        yield f"{len(untold)} newest versions have no record of what they were made of, such as {untold[0]}."
    if any(state.stale for state in states):
        yield "kedro stale --run makes these steps again, and no others."


def _names(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def run_stale(root: Path, states: list[JobState]) -> Iterator[str]:
    """Make again what is stale, a command at a time; what is current is read in the version that is there."""
    from kedro.framework.session import KedroSession
    from kedro.runner import SequentialRunner

    remade: set[str] = set()
    for state in states:
        if not state.stale:
            continue
        yield f"{spell_job(state.run)}: {len(state.stale)} steps"
        with open_job(root, state.run) as job:
            nodes: list[Node] = [node for node in job.pipeline.nodes if node.name in state.stale]
        made = {name for node in nodes for name in node.outputs}
        read = {name for node in nodes for name in node.inputs} - made
        versions = {n: v for n, v in state.versions.items() if n in read - remade}  # else the newest, just made
        remade |= made
        with KedroSession.create(root, env=state.run.env, runtime_params=state.run.params) as session:
            session.run(
                pipeline_names=state.run.pipelines,
                node_names=[node.name for node in nodes],
                load_versions=versions,
                runner=SequentialRunner(),
            )
