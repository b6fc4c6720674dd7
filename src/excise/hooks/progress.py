"""One line for every node that is done, and at the end where to look."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from .mlflow_hook import saved_path

logger = logging.getLogger(__name__)


class ProgressHook:
    """Says how far a run is. Kedro's runner says it in two lines a node, which ``conf/logging.yml`` leaves out."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._begun = self._node = time.monotonic()
        self._project = Path.cwd()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Note where the project is."""
        self._project = context.project_path

    @hook_impl(trylast=True)
    def before_pipeline_run(self, pipeline: Any) -> None:
        """Count."""
        self._total, self._done, self._begun = len(pipeline.nodes), 0, time.monotonic()

    @hook_impl
    def before_node_run(self) -> None:
        """Look at the clock."""
        self._node = time.monotonic()

    @hook_impl
    def after_node_run(self, node: Any) -> None:
        """``14 of 49: person.esd.train_unpruned, 38 s``; seconds from one on."""
        self._done += 1
        seconds = time.monotonic() - self._node
        logger.info("%d of %d: %s%s", self._done, self._total, node.name, f", {spell(seconds)}" if seconds >= 1 else "")

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """How long it took, and which file to open first."""
        logger.info("Done in %s.", spell(time.monotonic() - self._begun))
        pages = (n for n in pipeline.all_outputs() if n.endswith((".report", ".verdict")) and n in catalog)
        for name in sorted(pages):
            logger.info("Read %s", short_path(saved_path(catalog[name]), self._project))


def spell(seconds: float) -> str:
    """``0 s``, ``59 s``, ``2 min 5 s``, ``3 h 4 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def short_path(path: Path, project: Path) -> str:
    """A path as it is typed in the project's folder."""
    path = path if path.is_absolute() else project / path
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)
