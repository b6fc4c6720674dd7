"""Checks that refuse bad input before anything runs; a new one is a function and a line in ``CHECKS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from excise.concepts.concept import load_concept
from excise.errors import UserError
from excise.pipelines.selection import pipeline_kind, selected_concept


def concept_fits(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The concept exists, is well described, and is of the kind that the pipeline is for."""
    concepts = catalog["concepts"].load()
    chosen = (run_params.get("runtime_params") or {}).get("concept")
    if chosen is not None:  # a stage on its own works on any kind, but on no unknown concept
        load_concept(str(chosen), concepts)
    for name in run_params.get("pipeline_names") or []:
        kind = pipeline_kind(name)
        if kind is None:
            continue
        concept = load_concept(selected_concept(kind), concepts)
        if concept.kind != kind:
            fitting = name.removesuffix(kind) + concept.kind
            raise UserError(f"The concept '{concept.name}' is of kind {concept.kind}: use --pipelines={fitting}.")


def model_is_there(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The base model's folder exists, if the pipeline reads the model."""
    from excise.models.spec import ModelSpec

    if any(name == "params:model" or name.startswith("params:model.") for name in pipeline.inputs()):
        model = catalog["params:model"].load()
        _ = ModelSpec.model_validate(model).folder  # says itself what to download or where to point


Check = Callable[[dict[str, Any], Any, Any], None]
CHECKS: list[Check] = [
    concept_fits,
    model_is_there,
]


def preflight(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Run every check.

    Args:
        run_params: what Kedro passes to ``before_pipeline_run``.
        catalog: with ``concepts`` in it.
        pipeline: the nodes that are about to run.

    Raises:
        UserError: the first thing that the user has to mend.
    """
    for check in CHECKS:
        check(run_params, catalog, pipeline)
