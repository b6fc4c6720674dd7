"""By any one id: the DAG run, the Kedro run with what it left in ``data``, the MLflow run, the champion's versions."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape
from pathlib import Path
from typing import Any

from excise.errors import UserError

from .mlflow_hook import without_password
from .registry import RUN, MlflowRegistry, client_of, store_is_there, store_uri, told

DAG, DAG_RUN = "airflow.dag_id", "airflow.dag_run_id"


def find_run(project: Path, asked: str) -> Iterator[str]:
    """Lines that say what belongs to an id.

    Args:
        asked: the id of a Kedro run (the version of what it saved), of a DAG run, or of an MLflow run.

    Raises:
        UserError: nothing is known of it.
    """
    uri = store_uri(project)
    runs = _mlflow_runs(uri, asked) if store_is_there(uri) else []
    versions = list(dict.fromkeys([r.data.tags[RUN] for r in runs if RUN in r.data.tags]))
    if not runs and _saved(project, asked):
        versions = [asked]
    if not runs and not versions:
        raise UserError(
            f"Nothing is known of '{asked}': give the id of a Kedro run (a folder of versions in data/), of an Airflow "
            "DAG run, or of an MLflow run."
        )
    dags = dict.fromkeys((r.data.tags.get(DAG, "?"), r.data.tags[DAG_RUN]) for r in runs if DAG_RUN in r.data.tags)
    for dag, dag_run in dags:
        yield f"Airflow: DAG {dag}, run {dag_run}"
    if not dags:
        yield "Airflow: none that MLflow knows of"
    for version in versions:
        saved = _saved(project, version)
        yield f"Kedro: run {version}, {len(saved)} results in data"
        read = [path for path in saved if path.parts[1] in ("08_reporting", "06_models")]
        yield from (f"  {path}" for path in read)
        if len(saved) > len(read):
            yield f"  and {len(saved) - len(read)} more in folders called {version}"
    for run in runs:
        pipeline = run.data.tags.get("pipeline", "?")
        yield f"MLflow: run {run.info.run_id} ({pipeline}, {run.info.status}) in {without_password(uri)}"
    if not runs:
        yield f"MLflow: nothing in {without_password(uri)}"
    if runs:
        registry = MlflowRegistry(project)
        for name in registry.names():
            for version in registry.versions(name):
                if version.run in versions:
                    now = ", the champion" if version.champion else ""
                    yield f"Registry: {name} version {version.number}, gate {version.tags.get('gate', '?')}{now}"


def _mlflow_runs(uri: str, asked: str) -> list[Any]:
    """All runs that share a Kedro run with the one that was asked for."""
    with told(uri):
        client = client_of(uri)
        experiments = [e.experiment_id for e in client.search_experiments()]

    def tagged(tag: str, value: str) -> list[Any]:
        if "'" in value and '"' in value:  # MLflow's language of filters cannot say that, and no id looks so
            return []
        quoted = f"'{value}'" if "'" not in value else f'"{value}"'
        return list(client.search_runs(experiments, f"tags.`{tag}` = {quoted}", order_by=["start_time ASC"]))

    found = [*tagged(RUN, asked), *tagged(DAG_RUN, asked)]
    if not found:
        try:
            found = [client.get_run(asked)]
        except Exception as error:
            if getattr(error, "error_code", "") not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return []
    for version in {r.data.tags[RUN] for r in found if RUN in r.data.tags}:
        found += tagged(RUN, version)
    return list({r.info.run_id: r for r in found}.values())


def _saved(project: Path, version: str) -> list[Path]:
    """What a Kedro run saved, below the project, reports first."""
    if not version or "/" in version or version.startswith(".") or len(version) > 255:  # no file is called so
        return []
    data = project / "data"
    layers = sorted(data.glob("0*"), reverse=True)
    folders = [folder for layer in layers for folder in sorted(layer.rglob(escape(version))) if folder.is_dir()]
    saved = [folder / folder.parent.name for folder in folders]  # as Kedro keeps versions: name/version/name
    return [path.relative_to(project) for path in saved if path.exists()]
