"""MLflow's model registry: one version an eraser, and the alias ``champion`` on one of them.

A registered model is called ``excise.<model>.<concept>``. Every eraser that was judged becomes a version of it, tagged
with the verdict, also where the gate was not passed: so the history says what was refused, and why. The version's
source is the eraser file among the artifacts of the MLflow run that made it.
"""

from __future__ import annotations

import json
import logging
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from excise.cache import Cache
from excise.errors import UserError

from .mlflow_hook import RUN_ID, URI, without_password

logger = logging.getLogger(__name__)

ALIAS = "champion"
RUN, ERASER, GATE = "kedro.run_id", "eraser", "gate"  # tags of a version, beside the MLflow run's own
BEFORE, ROLLED_BACK = "champion.before", "champion.rolled_back"
FILE = "eraser.safetensors"


@dataclass(frozen=True)
class Version:
    """A registered eraser."""

    number: str
    tags: dict[str, str]
    sentence: str
    mlflow_run: str
    source: str
    champion: bool

    @property
    def run(self) -> str:
        """The id of the Kedro run that made it."""
        return self.tags.get(RUN, "")


class MlflowRegistry:
    """The registry of the project's MLflow store, or of the one that ``MLFLOW_TRACKING_URI`` names.

    Raises:
        UserError: in all methods, where the store cannot be asked.
    """

    def __init__(self, project: Path, cache: Path | None = None) -> None:
        self._project = project
        self._lock = Cache(cache or project / "data/cache")

    # what a run asks ------------------------------------------------------------------------------------------------
    def check(self) -> None:
        """The store answers."""
        with told(self._uri):
            self._client().search_registered_models(max_results=1)

    def champion(self, model: str, concept: str) -> dict[str, Any] | None:
        """See ``excise.gate.Registry``."""
        with told(self._uri):
            found = next((v for v in self.versions(name_of(model, concept)) if v.champion), None)
            if found is None:
                return None
            return {"version": found.number, "run": found.run, "gate": self._gate_of(found, concept)}

    def record(self, gate: Mapping[str, Any], sha256: str, save: Callable[[Path], None]) -> dict[str, Any]:
        """See ``excise.gate.Registry``; repeating it changes nothing."""
        from excise.gate import may_take_over

        name = name_of(gate["model"], gate["concept"])
        with told(self._uri), self._lock.alone("champion"):
            client = self._client()
            version = self._register(client, name, gate, sha256, save)
            champion = next((v for v in self.versions(name) if v.champion), None)
            mine = champion is not None and champion.number == version.number
            moves, why = may_take_over(
                gate["run"], gate["passed"], ROLLED_BACK in version.tags, None if champion is None else champion.run
            )
            if moves and not mine:
                if champion is not None:
                    client.set_model_version_tag(name, version.number, BEFORE, champion.number)
                client.set_registered_model_alias(name, ALIAS, version.number)
        who = f"version {version.number} of {name}"
        if moves:
            sentence = f"Champion: {who} ({gate['eraser']}, run {gate['run']}), since {why}."
        elif mine:
            undo = " `kedro champion --rollback` undoes it." if BEFORE in version.tags else ""
            sentence = f"The champion stays {who}, though {why}: {gate['sentence']}{undo}"
        else:
            stays = (
                "There is still no champion" if champion is None else f"The champion stays version {champion.number}"
            )
            reason = f": {gate['sentence']}" if not gate["passed"] else "."
            sentence = f"{stays} of {name}, and {who} does not become it, since {why}{reason}"
        before = champion.number if champion is not None and not mine else version.tags.get(BEFORE)
        return {
            "registry": "mlflow",
            "name": name,
            "version": version.number,
            "mlflow_run": version.mlflow_run,
            "run": gate["run"],
            "passed": bool(gate["passed"]),
            "champion": moves or mine,
            "before": before,
            "sentence": sentence,
        }

    # what people ask ------------------------------------------------------------------------------------------------
    def names(self) -> list[str]:
        """All registered models of this project."""
        with told(self._uri):
            found = _pages(lambda token: self._client().search_registered_models(page_token=token))
            return sorted(m.name for m in found if m.name.startswith("excise."))

    def versions(self, name: str) -> list[Version]:
        """All versions, the newest first; none where nothing of the name is registered."""
        client = self._client()
        with told(self._uri):
            try:
                aliases = client.get_registered_model(name).aliases
            except Exception as error:
                if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                    return []
                raise
            found = _pages(lambda token: client.search_model_versions(f"name = '{name}'", page_token=token))
            rows = [
                Version(
                    number=str(v.version),
                    tags=dict(v.tags),
                    sentence=v.description or "",
                    mlflow_run=v.run_id or "",
                    source=v.source,
                    champion=str(aliases.get(ALIAS, "")) == str(v.version),
                )
                for v in found
            ]
        return sorted(rows, key=lambda v: int(v.number), reverse=True)

    def roll_back(self, name: str) -> tuple[Version, Version]:
        """Give the alias to the version that was champion before; returns the one that was taken back, and the new one.

        Raises:
            UserError: there is no champion, or none before it.
        """
        with told(self._uri), self._lock.alone("champion"):
            versions = {v.number: v for v in self.versions(name)}
            champion = next((v for v in versions.values() if v.champion), None)
            if champion is None:
                raise UserError(f"There is no champion of {name}: nothing can be rolled back.")
            before = versions.get(champion.tags.get(BEFORE, ""))
            if before is None:
                raise UserError(
                    f"No earlier champion of {name} is there to go back to: if version {champion.number} must not be "
                    f"shipped, delete the alias '{ALIAS}' in MLflow."
                )
            client = self._client()
            client.set_model_version_tag(name, champion.number, ROLLED_BACK, before.number)  # it may not come back
            client.set_registered_model_alias(name, ALIAS, before.number)
        return champion, before

    # how ------------------------------------------------------------------------------------------------------------
    @property
    def _uri(self) -> str:
        return store_uri(self._project)

    def _client(self) -> Any:
        return client_of(self._uri)

    def _register(
        self, client: Any, name: str, gate: Mapping[str, Any], sha256: str, save: Callable[[Path], None]
    ) -> Version:
        known = [v for v in self.versions(name) if (v.run, v.tags.get(ERASER)) == (gate["run"], gate["eraser"])]
        run = client.get_run(known[0].mlflow_run) if known else _run_of(client, gate["run"])
        concept, eraser = gate["concept"], gate["eraser"]
        client.log_dict(run.info.run_id, dict(gate), f"{concept}/gate/{eraser}/gate.json")
        verdict = "passed" if gate["passed"] else "failed"
        tags = {RUN: gate["run"], ERASER: eraser, GATE: verdict, "eraser.sha256": sha256}
        tags |= {f"hits.{k}": f"{f['hits']} / {f['n']}" for k, f in gate["figures"].items()}
        tags |= {k: v for k, v in run.data.tags.items() if k.startswith(("airflow.", "git."))}
        if known:
            number = known[0].number
            for key, value in tags.items():
                client.set_model_version_tag(name, number, key, value)
            client.update_model_version(name, number, gate["sentence"])
        else:
            folder = f"{concept}/{eraser}/eraser"
            if f"{folder}/{FILE}" not in [a.path for a in client.list_artifacts(run.info.run_id, folder)]:
                with TemporaryDirectory() as draft:  # the run was not tracked, or its tracking broke
                    save(Path(draft) / FILE)
                    client.log_artifact(run.info.run_id, str(Path(draft) / FILE), folder)
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name, description=f"Erasers of '{concept}' from {gate['model']}.")
            source = f"{run.info.artifact_uri.rstrip('/')}/{folder}"
            made = client.create_model_version(name, source, run.info.run_id, tags=tags, description=gate["sentence"])
            number = str(made.version)
        client.set_tag(run.info.run_id, GATE, verdict)
        return next(v for v in self.versions(name) if v.number == number)

    def _gate_of(self, version: Version, concept: str) -> dict[str, Any] | None:
        try:
            os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            with TemporaryDirectory() as folder:
                own, earlier = (f"{concept}/gate/{part}gate.json" for part in (f"{version.tags[ERASER]}/", ""))
                there = [a.path for a in self._client().list_artifacts(version.mlflow_run, f"{concept}/gate")]
                place = earlier if earlier in there and posixpath.dirname(own) not in there else own
                file = self._client().download_artifacts(version.mlflow_run, place, folder)
                gate = json.loads(Path(file).read_text())
            if gate["eraser"] != version.tags[ERASER]:
                raise ValueError(f"it is about '{gate['eraser']}'")
            return gate
        except Exception as error:  # the gate says that nothing was compared, and why
            logger.warning("The champion's gate.json cannot be read: %s", _first_line(error))
            return None


class NoRegistry:
    """What there is while ``EXCISE_MLFLOW=off``: nothing is kept, and the record says so."""

    def check(self) -> None:
        """There is nothing to ask."""

    def champion(self, model: str, concept: str) -> None:
        """There is none."""

    def record(self, gate: Mapping[str, Any], sha256: str, save: Callable[[Path], None]) -> dict[str, Any]:
        """Nothing is registered."""
        verdict = "The gate is passed" if gate["passed"] else f"The gate is not passed: {gate['sentence']}"
        return {
            "registry": None,
            "name": name_of(gate["model"], gate["concept"]),
            "version": None,
            "mlflow_run": None,
            "run": gate["run"],
            "passed": bool(gate["passed"]),
            "champion": False,
            "before": None,
            "sentence": f"{verdict.rstrip('.')}. Nothing is registered and no champion moves: MLflow is switched off.",
        }


def name_of(model: str, concept: str) -> str:
    """The registered model of a concept in a model."""
    return re.sub(r"[/:]", "_", f"excise.{model}.{concept}")  # what MLflow refuses in a name


def store_uri(project: Path) -> str:
    """Where MLflow keeps its record: the environment's word, or the project's own file."""
    return os.environ.get(URI) or f"sqlite:///{project / 'mlflow.db'}"


def store_is_there(uri: str) -> bool:
    """Whether a store is worth asking: a file that is not there would be made."""
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def client_of(uri: str) -> Any:
    """A client of the store and its registry."""
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # MLflow tries for minutes by default
    return MlflowClient(uri, os.environ.get("MLFLOW_REGISTRY_URI") or uri)


def _run_of(client: Any, run: str) -> Any:
    """The MLflow run of a Kedro run; where that was not tracked, the one that is open now."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`{RUN}` = '{run}'", order_by=["start_time DESC"], max_results=1)
    if found:
        return found[0]
    if RUN_ID not in os.environ:
        raise UserError(f"MLflow has no record of the run {run}, and none is open: switch tracking on and run again.")
    return client.get_run(os.environ[RUN_ID])


def _pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    page = ask(None)
    while True:
        yield from page
        if not page.token:
            return
        page = ask(page.token)


@contextmanager
def told(uri: str) -> Iterator[None]:
    """What a store answers wrongly, or not at all, is the user's to mend: one sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"MLflow at {without_password(uri)} did not answer as it should ({_first_line(error)}), and no champion "
            "was moved: mend that, or set MLFLOW_TRACKING_URI, and give the same command again."
        ) from error


def _first_line(error: Exception) -> str:
    return without_password((str(error) or type(error).__name__).splitlines()[0])
