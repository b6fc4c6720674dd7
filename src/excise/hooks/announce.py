"""Say at the start how long a job will take on this machine."""

from __future__ import annotations

import logging
from typing import Any

from kedro.framework.hooks import hook_impl

from .preflight import named_options

logger = logging.getLogger(__name__)
NEEDED = ("prompts", "prune", "draw", "model")


class AnnounceHook:
    """Times the model and the judge, and scales up; for whole jobs only."""

    @hook_impl(trylast=True)  # when everything else has agreed to start
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        if not {f"params:{n}" for n in NEEDED} <= pipeline.inputs():
            return
        from excise.concepts import load_concept
        from excise.planning import count_work, measure_seconds

        options = {n: _validated(n, catalog[f"params:{n}"].load()) for n in NEEDED}
        for what in ("eraser", "attack"):
            chosen = named_options(pipeline, f"{what}s")
            if len(chosen) != 1:
                return
            options[what] = _validated(what, catalog[f"params:{what}s.{chosen.pop()}"].load())
        name = next(o for o in pipeline.all_outputs() if o.endswith(".report")).removesuffix(".report")
        model = options.pop("model")
        models = sum(d.endswith(".eraser") for d in pipeline.datasets())
        work = count_work(**options, models=models)
        minutes = (
            measure_seconds(work, model, load_concept(name, catalog["concepts"].load()), options["eraser"].batch) / 60
        )
        budget = catalog["params:budget"].load()
        logger.info(
            "Erasing '%s' from %s, budget '%s': %s evaluations of the model, %s of them in training, "
            "and %s judged images. "
            "That takes about %s here, less what an earlier run has left in the cache.",
            name,
            model.name,
            budget,
            f"{work.forward + work.training:,}",
            f"{work.training:,}",
            f"{work.images:,}",
            _spell(minutes),
        )


def _validated(name: str, value: Any) -> Any:
    from excise.attacks import AttackOptions
    from excise.erasers import EraserOptions
    from excise.images import DrawOptions
    from excise.masks import PruneOptions
    from excise.models import ModelSpec
    from excise.prompts import PromptOptions

    kinds = {
        "prompts": PromptOptions,
        "eraser": EraserOptions,
        "prune": PruneOptions,
        "attack": AttackOptions,
        "draw": DrawOptions,
        "model": ModelSpec,
    }
    return kinds[name].model_validate(value)


def _spell(minutes: float) -> str:
    if minutes < 1:
        return "a minute"
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
