"""What a run is and what it costs: the inputs ``run_info`` and ``cost``."""

from __future__ import annotations

import json
import platform
import resource
import shlex
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import MemoryDataset

from excise import __version__

from .given_id import given_id

PACKAGES = ("torch", "diffusers", "transformers", "nudenet", "kedro")
PACE = ("hours", "workers")  # of a study or grid: how far one run comes and how fast, and nothing of what comes out


class AccountHook:
    """Times every node. A resumed run's cost is that of its own work, not of what it found finished."""

    def __init__(self) -> None:
        self.cost: list[tuple[str, float, float]] = []
        self._started: dict[str, float] = {}
        self._env: str | None = None
        self._source: list[str] = []
        self._ledger: Path | None = None  # of a run that is many processes

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        self._env, self._source = context.env, other_source(context)
        given = given_id()
        self._ledger = context.project_path / f"data/cache/cost/{given}.jsonl" if given else None

    @hook_impl
    def after_catalog_created(self, catalog: Any, save_version: str) -> None:
        self.cost = [] if self._ledger is None else read_ledger(self._ledger)
        info = {"id": save_version, "versions": versions(), "command": "kedro run"}
        catalog["run_info"] = MemoryDataset(info, copy_mode="assign")
        catalog["cost"] = MemoryDataset(self.cost, copy_mode="assign")

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        catalog["run_info"].load()["command"] = command(run_params, self._env, self._source)

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        self._started[node.name] = time.perf_counter()

    @hook_impl
    def after_node_run(self, node: Any) -> None:
        seconds = time.perf_counter() - self._started.pop(node.name)
        self.cost.append((node.name, seconds, peak_megabytes()))
        if self._ledger is not None:
            self._ledger.parent.mkdir(parents=True, exist_ok=True)
            with open(self._ledger, "a") as file:  # a short line is written in one piece
                file.write(json.dumps(self.cost[-1]) + "\n")


def read_ledger(path: Path) -> list[tuple[str, float, float]]:
    """What the other processes of a run have spent; half a line, of one that was killed while writing, is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            name, seconds, peak = json.loads(line)
        except ValueError:
            continue
        rows.append((name, seconds, peak))
    return rows


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    return {"excise": __version__, "python": platform.python_version(), **{p: version(p) for p in PACKAGES}}


def other_source(context: Any) -> list[str]:
    """``--conf-source=…`` where a run's configuration is not the project's own."""
    from kedro.framework.project import settings

    source = str(context.config_loader.conf_source)
    own = Path(context.project_path) / settings.CONF_SOURCE
    return [] if source == str(own) else [f"--conf-source={source}"]


def command(run_params: dict[str, Any], env: str | None, source: Sequence[str] = ()) -> str:
    """The command that makes again what this run makes, without a limit of time."""
    words = ["kedro", "run"]
    if run_params.get("pipeline_names"):
        names = run_params["pipeline_names"]
        words.append(f"--pipeline={names[0]}" if len(names) == 1 else "--pipelines=" + ",".join(names))
    if env and env != "local":
        words.append(f"--env={env}")
    words += source
    given = [(k, v) for k, v in flat(run_params.get("runtime_params") or {}) if k.split(".")[-1] not in PACE]
    if given:
        words.append("--params=" + ",".join(f"{k}={spelled(v)}" for k, v in given))
    return shlex.join(words)


def spelled(value: Any) -> str:
    """A parameter as it is typed."""
    return "null" if value is None else str(value)


def flat(tree: dict[str, Any], prefix: str = ""):
    """Parameters by their dotted names."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def peak_megabytes() -> float:
    """Highest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
