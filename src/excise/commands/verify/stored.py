"""What a node read and made, in the versions that its record names."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ValidationError

from excise.errors import short
from excise.provenance import File, NodeRecord, RunRecord

from ..jobs import Job

CHANGED = "{} is not the file that was written"


class GoneError(Exception):
    """A stored input is no longer there, or no longer what was stored.

    Attributes:
        outcome: of what was to be checked with it: what has the bytes that were noted and is no such file differs.
    """

    def __init__(self, told: str, outcome: Literal["differs", "unchecked"] = "unchecked") -> None:
        super().__init__(told)
        self.outcome = outcome


def load_stored(job: Job, name: str, file: File, changed: Collection[str] = (), compared: bool = False) -> Any:
    """A stored data set, in the version that a record names.

    Args:
        compared: it is what something is compared with, so that a changed one is read, too, to tell how it differs.
    """
    if file.file in changed and not compared:
        raise GoneError(CHANGED.format(file.file))
    dataset, version = job.catalog.get(name), Path(file.file).parent.name
    place = Path(str(dataset._filepath)) if hasattr(dataset, "_filepath") else None
    try:
        return job.catalog.load(name, version=version)
    except Exception as error:  # libraries have many words for a damaged file
        there = place is not None and (place / version / place.name).exists() and file.file not in changed
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise GoneError(f"'{name}' cannot be read: {cause}", "differs" if there else "unchecked") from None


def inputs_of(
    run: RunRecord, record: NodeRecord, node: Any, job: Job, scratch: Path, changed: Collection[str] = ()
) -> dict[str, Any]:
    """What a node read: stored files in the version that it read, parameters as they were."""
    from excise.cache import Cache

    info = {"id": run.id, "versions": run.versions, "command": "", "environment": run.environment}
    given = {"cache": Cache(scratch), "cost": [], "run_info": info, "concepts": job.concepts}
    function = getattr(node.func, "__wrapped__", node.func)
    hints, arguments = get_type_hints(function), arguments_of(node, function)
    for name in node.inputs:
        if name in record.inputs:
            given[name] = load_stored(job, name, record.inputs[name], changed)
        elif name in record.parameters:
            hint, value = hints.get(arguments.get(name, "")), record.parameters[name]
            if name == "params:model":
                value = _settled(value, record, job, changed)
            checked = inspect.isclass(hint) and issubclass(hint, BaseModel)
            try:
                given[name] = hint.model_validate(value) if checked else value
            except ValidationError as error:
                raise GoneError(f"its '{name}' is no longer valid: {short(str(error), 120)}") from None
    lacking = [name for name in node.inputs if name not in given]
    if lacking:
        raise GoneError(f"today it reads '{lacking[0]}' too, which it did not then")
    return {name: given[name] for name in node.inputs}


def _settled(model: dict[str, Any], record: NodeRecord, job: Job, changed: Collection[str]) -> dict[str, Any]:
    """The base model's parameters, with what ``auto`` became when they were read: it stands in what was stored."""
    name = next((name for name in record.outputs if name.endswith(".model")), None)
    if name is None:
        return model
    stored = load_stored(job, name, record.outputs[name], changed)
    if not isinstance(stored, dict):
        raise GoneError(f"'{name}' is no description of a model", "differs")
    auto = {key for key, value in model.items() if value == "auto"} & stored.keys()
    return model | {key: stored[key] for key in auto}


def arguments_of(node: Any, function: Any) -> dict[str, str]:
    """Data set -> the argument that it is given as."""
    if isinstance(node._inputs, dict):
        return {data: argument for argument, data in node._inputs.items()}
    names = [node._inputs] if isinstance(node._inputs, str) else node._inputs
    return dict(zip(names, inspect.signature(function).parameters, strict=False))
