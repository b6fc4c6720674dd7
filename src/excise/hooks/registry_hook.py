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
        self._promotions: dict[str, dict[str, Any]] = {}

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

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Forget an earlier run of this process."""
        self._promotions = {}

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Note the verdict as this run saved it: what lies on disk may be a newer run's."""
        if dataset_name.endswith(".promotion"):
            self._promotions[dataset_name] = data

    @hook_impl(trylast=True)  # when everything is saved and MLflow's run is closed
    def after_pipeline_run(self) -> None:
        """Say that the gate was not passed, so that a scheduler can tell.

        Raises:
            GateError: it was not.
        """
        for promotion in self._promotions.values():
            if not promotion["passed"]:
                raise GateError(promotion["sentence"])
