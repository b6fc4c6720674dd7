"""Gives runs the input ``registry``, and ends a run whose gate was not passed with an exit code of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import MemoryDataset

from excise.errors import GateError


class RegistryHook:
    """The registry of champions, kept by MLflow unless ``EXCISE_MLFLOW=off``."""

    def __init__(self) -> None:
        self._project = Path.cwd()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Note where the project is."""
        self._project = context.project_path

    @hook_impl
    def after_catalog_created(self, catalog: Any) -> None:
        """Add the registry; nodes get the very object."""
        from .registry import MlflowRegistry, NoRegistry

        off = os.environ.get("EXCISE_MLFLOW", "").lower() == "off"
        catalog["registry"] = MemoryDataset(NoRegistry() if off else MlflowRegistry(self._project), copy_mode="assign")

    @hook_impl(trylast=True)  # when everything is saved and MLflow's run is closed
    def after_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Say that the gate was not passed, so that a scheduler can tell.

        Raises:
            GateError: it was not.
        """
        for name in sorted(n for n in pipeline.all_outputs() if n.endswith(".promotion")):
            promotion = catalog[name].load()
            if not promotion["passed"]:
                raise GateError(promotion["sentence"])
