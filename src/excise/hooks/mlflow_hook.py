"""One MLflow run a pipeline run. With the registry beside it the only file that knows MLflow; nodes and datasets
stay free of it.

A catalog entry says in its metadata what of it is tracked (one of these words, or a list of them)::

    metadata: {mlflow: metrics}       # every number in it, by its dotted place
    metadata: {mlflow: artifact}      # the file or folder
    metadata: {mlflow: curve}         # rows with a `step`; every other column is a curve

The store is ``mlflow.db`` with files in ``mlartifacts``, in the project's folder, unless ``MLFLOW_TRACKING_URI`` is
set. ``EXCISE_MLFLOW=off`` switches tracking off. Whatever goes wrong in tracking is said in one warning, and the run
goes on: a tracking server that is away must not cost finished results.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from .airflow import airflow_tags
from .given_id import given_id
from .left_over import close_left_over, process_tags
from .record import records_folder, stored_file

logger = logging.getLogger(__name__)

RUN_ID, URI = "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"
BATCH = 100  # parameters or metrics in one request; MLflow's limit for parameters


class MlflowHook:
    """Tracks parameters, metrics, curves and artifacts of a run.

    The run's id and the store's address are exported for the time of the run, so that child processes join it; a run
    id that is set already (by a scheduler that runs node by node) is joined.
    """

    def __init__(self, experiment: str = "excise") -> None:
        self._experiment = experiment
        self._project, self._context = Path.cwd(), None
        self._catalog: Any = None
        self._outer: dict[str, str | None] | None = None  # the environment before the run; None: no run is open
        self._broken = False
        self._whole: Any = None  # a run of several processes: which one, and all nodes of its pipelines

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Note where the project is."""
        self._project, self._context = context.project_path, context

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Start or join a run and log the parameters of the pipeline."""
        self._close("KILLED")  # a run before this one, in this process, that was interrupted
        if _switched_off():
            return
        self._broken, self._catalog = False, catalog
        self._outer = {name: os.environ.get(name) for name in (RUN_ID, URI)}
        atexit.register(self._close, "KILLED")  # Kedro tells hooks of errors, but not of Ctrl-C
        self._whole = (run_params["run_id"], _all_nodes(run_params)) if given_id() else None
        with self._shielded():
            self._start(run_params)
            self._log_parameters(pipeline, catalog)

    @hook_impl
    def before_node_run(self, catalog: Any) -> None:
        """Note the catalog; in a child process nothing else does."""
        self._catalog = catalog

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log what the dataset's metadata asks for."""
        if _switched_off() or self._broken or RUN_ID not in os.environ:
            return
        dataset = self._catalog[dataset_name]
        kinds = (getattr(dataset, "metadata", None) or {}).get("mlflow", [])
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            with self._shielded():
                TRACKERS[kind](_client(), os.environ[RUN_ID], dataset_name, dataset, data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the run; one of several processes when all that it consists of is done, whoever ends last."""
        self._close("FINISHED" if self._whole is None or self._all_done(*self._whole) else None)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Close the run as failed."""
        self._close("FAILED")

    def _start(self, run_params: dict[str, Any]) -> None:
        artifacts = None
        if URI not in os.environ:
            os.environ[URI] = f"sqlite:///{self._project / 'mlflow.db'}"
            artifacts = (self._project / "mlartifacts").as_uri()
        # MLflow tries for minutes by default
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        with _alone(self._project):  # the first client also makes the store's tables
            client = _client()
            joins = RUN_ID in os.environ
            if not joins:
                os.environ[RUN_ID] = self._join_or_create(client, run_params, artifacts)
        if joins:
            client.update_run(os.environ[RUN_ID], status="RUNNING")
        logger.info("MLflow run %s in %s", os.environ[RUN_ID], without_password(os.environ[URI]))

    def _join_or_create(self, client: Any, run_params: dict[str, Any], artifacts: str | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", self._experiment)
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name, artifacts)
        pipelines = ", ".join(run_params.get("pipeline_names") or ["__default__"])
        if given := given_id():
            same = f"tags.`kedro.run_id` = '{given}' and tags.pipeline = '{pipelines}'"
            if runs := client.search_runs([experiment], same, max_results=1):
                client.update_run(runs[0].info.run_id, status="RUNNING")
                return runs[0].info.run_id
        if killed := close_left_over(client, experiment):
            logger.info("Marked %d MLflow runs as killed, whose process is gone", killed)
        tags = {
            "kedro.run_id": run_params["run_id"],
            "kedro.env": run_params.get("env") or "local",
            "pipeline": pipelines,
            **_git_tag(self._project),
            **airflow_tags(),
            # a run of several processes stays open between them
            **({} if given_id() else process_tags()),
        }
        return client.create_run(experiment, tags=tags, run_name=pipelines).info.run_id

    def _log_parameters(self, pipeline: Any, catalog: Any) -> None:
        from mlflow.entities import Param

        found: dict[str, Any] = {}
        for name in sorted(n for n in pipeline.inputs() if n == "parameters" or n.startswith("params:")):
            prefix = name.partition(":")[2]
            found |= {_key(k): v for k, v in leaves(catalog[name].load(), prefix, lists=False)}
        rows = [Param(k, v if isinstance(v, str) else json.dumps(v, default=str)) for k, v in found.items()]
        for batch in _batches(rows):
            _client().log_batch(os.environ[RUN_ID], params=batch)

    def _all_done(self, run: str, nodes: list[Any]) -> bool:
        from excise.provenance import recorded_nodes

        stored = (n.name for n in nodes if any(stored_file(self._catalog, name, "save") for name in n.outputs))
        return set(stored) <= recorded_nodes(records_folder(self._context), run)

    def _close(self, status: str | None) -> None:
        """With a status, or leaving the run open for other processes."""
        if self._outer is None:
            return
        atexit.unregister(self._close)
        if RUN_ID in os.environ and status is not None:
            with self._shielded():
                _client().set_terminated(os.environ[RUN_ID], status)
        for name, value in self._outer.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        self._outer = None

    @contextmanager
    def _shielded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is: results matter more than their record
            if not self._broken:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                logger.warning(
                    "MLflow misses the rest of this run, which goes on and keeps its results: %s",
                    without_password(reason),
                )
            self._broken = True


@contextmanager
def _alone(project: Path) -> Iterator[None]:
    """While no other process of this project makes the store, an experiment or a run."""
    from excise.cache import Cache

    with Cache(project / "data" / "cache").alone("mlflow"):
        yield


def _all_nodes(run_params: dict[str, Any]) -> list[Any]:
    """Of the whole pipelines that a run is of, in whatever process."""
    from kedro.framework.project import pipelines

    return [node for name in run_params.get("pipeline_names") or ["__default__"] for node in pipelines[name].nodes]


def without_password(uri: str) -> str:
    """An address, or a sentence with one in it, that may be shown."""
    return re.sub(r"//[^@/\s]*@", "//***@", uri)


def leaves(value: Any, prefix: str = "", *, lists: bool = True) -> Iterator[tuple[str, Any]]:
    """Dotted names and values of all that is nested in dicts, pydantic models and (if ``lists``) lists."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)) and lists:
        items = enumerate(value)
    else:
        yield prefix, value
        return
    for key, item in items:
        yield from leaves(item, f"{prefix}.{key}" if prefix else str(key), lists=lists)


def _track_metrics(client: Any, run_id: str, name: str, dataset: Any, data: Any) -> None:
    _log_metrics(client, run_id, ((key, value, 0) for key, value in leaves(data, name)))


def _track_curve(client: Any, run_id: str, name: str, dataset: Any, data: Any) -> None:
    rows = data.to_dict("records") if hasattr(data, "to_dict") else data
    points = ((f"{name}.{k}", v, int(row["step"])) for row in rows for k, v in row.items() if k != "step")
    _log_metrics(client, run_id, points)


def _track_artifact(client: Any, run_id: str, name: str, dataset: Any, data: Any) -> None:
    path = saved_path(dataset)
    send = client.log_artifacts if path.is_dir() else client.log_artifact
    send(run_id, str(path), name.replace(".", "/"))


TRACKERS = {"metrics": _track_metrics, "curve": _track_curve, "artifact": _track_artifact}


def saved_path(dataset: Any) -> Path:
    """The file or folder that a dataset has just written: of this save version, which need not be the latest one."""
    path = Path(str(dataset._filepath))
    version = dataset.resolve_save_version() if hasattr(dataset, "resolve_save_version") else None
    return path / version / path.name if version else path


def _log_metrics(client: Any, run_id: str, values: Iterable[tuple[str, Any, int]]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    numbers = [(k, v, s) for k, v, s in values if isinstance(v, Real) and not isinstance(v, bool)]
    for batch in _batches([Metric(_key(k), float(v), now, s) for k, v, s in numbers]):
        client.log_batch(run_id, metrics=batch)


def _batches(rows: list[Any]) -> Iterator[list[Any]]:
    return (rows[i : i + BATCH] for i in range(0, len(rows), BATCH))


def _key(name: str) -> str:
    return re.sub(r"[^\w.\-/ ]", "_", name)[:250]  # what MLflow allows in a name


def _client() -> Any:
    from mlflow import MlflowClient

    return MlflowClient(os.environ[URI])


def _switched_off() -> bool:
    return os.environ.get("EXCISE_MLFLOW", "").lower() == "off"


def _git_tag(folder: Path) -> dict[str, str]:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # an installed package is no git checkout
        return {}
    return {"git.sha": done.stdout.strip()}
