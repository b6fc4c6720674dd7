"""The base model's place, precision and memory."""

from __future__ import annotations

import logging
from typing import Any

from excise.errors import UserError

from .options import options_of
from .used import TRAINING, attacks_of, named_options, use_of, whole_job

logger = logging.getLogger(__name__)


def model_is_there(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The base model's folder exists, if the pipeline reads the model."""
    from excise.models.spec import ModelSpec

    if any(name == "params:model" or name.startswith("params:model.") for name in pipeline.inputs()):
        _ = options_of(catalog, "model", ModelSpec).folder  # says itself what to download or where to point


def precision_can_train(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Nothing is trained through half-precision floats, whose gradients overflow."""
    from excise.models.spec import ModelSpec

    if "params:model" not in pipeline.inputs():
        return
    if options_of(catalog, "model", ModelSpec).dtype != "float16":
        return
    pipeline = whole_job(run_params, catalog, pipeline)
    if named_options(pipeline, "erasers") or TRAINING & pipeline.inputs() or _relearns(catalog, pipeline):
        raise UserError(
            "model.dtype is float16, in which gradients overflow: set it to float32, or where memory is short to "
            "bfloat16."
        )


def _relearns(catalog: Any, pipeline: Any) -> bool:
    """Whether an attack trains the model's weights."""
    from excise.attacks import make_attack

    return any(getattr(make_attack(o), "trained", lambda _: 0)(o) for o in attacks_of(catalog, pipeline))


def memory_suffices(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The model, what is trained of it and what is drawn fit where they will be computed; ``auto`` is settled here, for
    what later tasks and stages do with the model, too."""
    from excise.models.spec import ModelSpec

    if "params:model" not in pipeline.inputs():
        return
    from kedro.io import MemoryDataset

    from excise.models.memory import choose_settings, least_memory, memory_here, refuse_too_large

    spec, use = options_of(catalog, "model", ModelSpec), use_of(catalog, pipeline)
    here = memory_here(spec)
    settled, _ = choose_settings(spec, use_of(catalog, whole_job(run_params, catalog, pipeline)), here)
    needed = least_memory(settled, use)
    refuse_too_large(settled, use, needed, here)
    logger.info("'%s' needs at least %.1f GB of memory, and there are %.1f.", spec.name, needed.total / 1e9, here / 1e9)
    if settled.device == "auto":  # what is kept of one device's work is not another one's
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        catalog["params:model"] = MemoryDataset(settled.model_copy(update={"device": device}), copy_mode="assign")
    elif settled != spec:
        catalog["params:model"] = MemoryDataset(settled, copy_mode="assign")
    if settled != spec:
        logger.info(
            "Chosen for that: model.dtype=%s, model.gradient_checkpointing=%s, model.offload=%s.",
            *(settled.dtype, settled.gradient_checkpointing, settled.offload),
        )
