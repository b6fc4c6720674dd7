"""A recorded command, opened again: its pipeline, catalog and parameters as they are today."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.errors import UserError

if TYPE_CHECKING:
    from excise.provenance import RunRecord


RUNS = "data/runs"


@dataclass(frozen=True)
class Job:
    """One command of ``kedro run``.

    Attributes:
        parameters: raw, as the configuration and the command line give them.
    """

    session: Any
    pipeline: Any
    catalog: Any
    parameters: dict[str, Any]
    concepts: dict[str, Any]

    def node(self, name: str) -> Any:
        """A node by its full name, or None."""
        return next((node for node in self.pipeline.nodes if node.name == name), None)


def runs_folder(root: Path) -> Path:
    """Where runs leave their records: ``runs`` in ``globals.yml``."""
    from kedro.config import MissingConfigException

    from excise.configuration import ConfigLoader
    from excise.settings import CONFIG_LOADER_ARGS

    loader = ConfigLoader(str(root / "conf"), env=os.environ.get("KEDRO_ENV"), **CONFIG_LOADER_ARGS)
    try:
        return root / loader["globals"].get("runs", RUNS)
    except MissingConfigException:
        return root / RUNS


def sentence_for(error: Exception) -> str:
    """What is wrong with a command of then, in a sentence; an error of our own passes on."""
    from excise.sentences import sentence_of

    sentence = sentence_of(error)
    if sentence is None:
        raise error
    return sentence


@contextmanager
def open_job(root: Path, run: RunRecord) -> Iterator[Job]:
    """The command that a run was started with; what it selects (concept, eraser, attack) holds while it is open.

    Raises:
        UserError: its pipeline or environment is no longer there.
    """
    from kedro.framework.project import pipelines
    from kedro.framework.session import KedroSession

    if run.env != "local" and not (root / "conf" / run.env).is_dir():
        raise UserError(f"The run {run.id} was made with --env={run.env}, and there is no folder conf/{run.env}.")
    with KedroSession.create(root, env=run.env, runtime_params=run.params) as session:
        context = session.load_context()
        catalog = context.catalog
        names = [name for name in run.pipelines if name not in pipelines]
        if names:
            raise UserError(f"The run {run.id} was of the pipeline '{names[0]}', which is no longer there.")
        pipeline = sum((pipelines[name] for name in run.pipelines[1:]), pipelines[run.pipelines[0]])
        concepts = catalog["concepts"].load()
        yield Job(session, pipeline, catalog, context.config_loader["parameters"], concepts)


def spell_job(run: RunRecord) -> str:
    """The command, in short."""
    from excise.hooks.account import command

    given = {"pipeline_names": run.pipelines, "runtime_params": run.params}
    return command(given, run.env).removeprefix("kedro run ")
