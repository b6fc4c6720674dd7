"""Writes down who made which file out of what, in ``data/runs/<run id>/``, for ``kedro verify`` and ``kedro stale``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from .options import options_of

if TYPE_CHECKING:
    from excise.provenance import File

RUNS = "data/runs"  # where globals.yml says nothing else
NOT_INPUTS = {"cache", "cost", "run_info"}  # they decide no result


class RecordHook:
    """One record a node, written when all that it makes is stored: a node that was stopped leaves none."""

    def __init__(self) -> None:
        self._project = Path.cwd()
        self._runs = Path(RUNS)
        self._env = "local"
        self._parameters: dict[str, Any] = {}
        self._run: str | None = None  # None: no run is open, as in a child process of a parallel runner
        self._inputs: dict[str, dict[str, File]] = {}
        self._outputs: dict[str, dict[str, File]] = {}
        self._catalog: Any = None
        self._known: dict[tuple[str, int], File] = {}

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Note where things are, and the parameters as they are written."""
        from kedro.config import MissingConfigException

        self._project, self._env = Path(context.project_path), context.env or "local"
        with suppress(MissingConfigException):
            self._parameters = context.config_loader["parameters"]
        self._runs = records_folder(context)

    @hook_impl(trylast=True)  # when everything else has agreed to start, and the model's precision is settled
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Write down the run, and tell ``run_info`` with what it runs."""
        from excise.models.spec import ModelSpec
        from excise.provenance import RunRecord, describe_environment, forget_nodes, write_record

        self._run, info = None, catalog["run_info"].load()
        model = None
        if "params:model" in pipeline.inputs():
            model = options_of(catalog, "model", ModelSpec)
        info["environment"] = describe_environment(self._project, model)
        if not catalog["cache"].load().shard.whole:  # it saves nothing: the run of the whole does
            return
        self._run, self._catalog = info["id"], catalog
        seed = self._parameters.get("seed")
        record = RunRecord(
            id=info["id"],
            pipelines=list(run_params.get("pipeline_names") or ["__default__"]),
            env=self._env,
            params={
                k: v for k, v in (run_params.get("runtime_params") or {}).items() if k not in ("shard", "processes")
            },
            seed=seed if isinstance(seed, int) else None,
            versions=info["versions"],
            environment=info["environment"],
        )
        write_record(self._runs, record)
        forget_nodes(self._runs, info["id"], (node.name for node in pipeline.nodes))  # of an earlier try

    @hook_impl
    def before_node_run(self, node: Any, catalog: Any) -> None:
        """What the node reads, before it can be replaced."""
        if self._run is None:
            return
        stored = {name: stored_file(catalog, name, "load") for name in node.inputs}
        self._inputs[node.name] = {name: self._file(path) for name, path in stored.items() if path is not None}
        self._outputs[node.name] = {}

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """What the node made; with the last of it the record is complete."""
        if self._run is None or node.name not in self._outputs:
            return
        path = stored_file(self._catalog, dataset_name, "save")
        if path is None:
            return
        made = self._outputs[node.name]
        made[dataset_name] = self._file(path)
        wanted = {n for n in node.outputs if stored_file(self._catalog, n, "save") is not None}
        if wanted <= made.keys():
            self._write(node)

    def _write(self, node: Any) -> None:
        from excise.provenance import NodeRecord, write_record

        parts = parts_of(node, self._parameters, self._catalog["concepts"].load())
        last = {"inputs": self._inputs.pop(node.name), "outputs": self._outputs.pop(node.name)}
        write_record(self._runs, NodeRecord(run=self._run, node=node.name, **parts, **last))

    def _file(self, path: Path) -> File:
        """What a file holds; each is read once a run."""
        from excise.provenance import File, content_of, file_sha256
        from excise.provenance.contents import TELLING

        key = (str(path), path.stat().st_mtime_ns)
        if key not in self._known:
            place = Path(os.path.relpath(path, self._project)).as_posix()  # as it is called: data/ may be a link
            sha256 = file_sha256(path)
            told = content_of(path) if path.suffix in TELLING else sha256  # exports of gigabytes are read once
            self._known[key] = File(file=place, sha256=sha256, content=told)
        return self._known[key]


def records_folder(context: Any) -> Path:
    """Where the records of all runs lie, by a Kedro context."""
    from kedro.config import MissingConfigException

    told = RUNS
    with suppress(MissingConfigException):
        told = context.config_loader["globals"].get("runs", RUNS)
    return Path(context.project_path) / told


def stored_file(catalog: Any, name: str, what: str) -> Path | None:
    """The versioned file that a data set is loaded from (``load``) or saved to (``save``); None where it has none."""
    dataset = catalog.get(name) if name in catalog else None
    if getattr(dataset, "_version", None) is None or not hasattr(dataset, "_filepath"):
        return None
    path = Path(str(dataset._filepath))
    version = dataset.resolve_load_version() if what == "load" else dataset.resolve_save_version()
    return path / version / path.name


def parts_of(node: Any, parameters: dict[str, Any], concepts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What decides a node's result besides the files that it reads: ``parameters``, ``code``, ``told``."""
    from excise.provenance.code import code_of_node, methods_of

    concept = (node.namespace or "").partition(".")[0]
    read = {
        name: _value(parameters, name.removeprefix("params:")) for name in node.inputs if name.startswith("params:")
    }
    fixed = {name: repr(value) for name, value in getattr(node.func, "keywords", {}).items()}
    told: dict[str, Any] = {f"argument {name}": value for name, value in fixed.items()}
    if "concepts" in node.inputs:
        told["the concept's description"] = concepts.get(concept, concepts)
    function = getattr(node.func, "__wrapped__", node.func)
    judged = concepts.get(concept) if any(n.endswith(".concept") for n in node.inputs) else None
    described = None if judged is None else {"name": concept, **judged}
    return {"parameters": read, "code": code_of_node(function, methods_of(function, read, described)), "told": told}


def _value(parameters: dict[str, Any], name: str) -> Any:
    value: Any = parameters
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value
