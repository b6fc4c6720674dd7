"""Say at the start how long a job will take on this machine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from .used import AUDITED, GRIDS, named_options

if TYPE_CHECKING:
    from excise.planning import Work

logger = logging.getLogger(__name__)
NEEDED = ("prompts", "prune", "draw", "model")


class AnnounceHook:
    """Times the model and the judge, and scales up; for whole jobs and audits only."""

    @hook_impl(trylast=True)  # when everything else has agreed to start
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        counted = next((found for count in (_audit, _job) if (found := count(pipeline, catalog)) is not None), None)
        name = next((o.partition(".")[0] for o in pipeline.all_outputs() if o.endswith(".report")), None)
        if counted is None or name is None:
            return
        from excise.concepts import load_concept
        from excise.planning import measure_seconds

        doing, work, batch = counted
        model = _validated("model", catalog["params:model"].load())
        minutes = measure_seconds(work, model, load_concept(name, catalog["concepts"].load()), batch) / 60
        budget = catalog["params:budget"].load()
        logger.info(
            "%s, budget '%s': %s evaluations of the model, %s of them in training, and %s judged images. "
            "That takes about %s here, less what an earlier run has left in the cache.",
            f"{doing} '{name}', base model {model.name}",
            budget,
            f"{work.forward + work.training:,}",
            f"{work.training:,}",
            f"{work.images:,}",
            _spell(minutes),
        )


def _job(pipeline: Any, catalog: Any) -> tuple[str, Work, int] | None:
    """What a whole job does and costs, and the batch that it trains with; None for anything else."""
    if not {f"params:{n}" for n in NEEDED} <= pipeline.inputs():
        return None
    from excise.planning import count_work

    options = {n: _validated(n, catalog[f"params:{n}"].load()) for n in NEEDED if n != "model"}
    from excise.pipelines.selection import selected_attack, selected_eraser

    # P-X may learn against another attack than the one that is reported: the time is told for the latter
    for what, name in (("eraser", selected_eraser()), ("attack", selected_attack())):
        if name not in named_options(pipeline, f"{what}s"):
            return None
        options[what] = _validated(what, catalog[f"params:{what}s.{name}"].load())
    models = sum(d.endswith(".eraser") for d in pipeline.datasets())
    return "Erasing", count_work(**options, models=models), options["eraser"].batch


def _audit(pipeline: Any, catalog: Any) -> tuple[str, Work, int] | None:
    """The same for an audit."""
    if AUDITED not in pipeline.inputs() or GRIDS & pipeline.inputs():
        return None
    from excise.pipelines.names import comparing
    from excise.planning import count_audit

    prompts, draw = (_validated(n, catalog[f"params:{n}"].load()) for n in ("prompts", "draw"))
    attacks = {
        n: _validated("attack", catalog[f"params:attacks.{n}"].load()) for n in named_options(pipeline, "attacks")
    }
    work = count_audit(prompts, [(options, 1 if comparing(n) else 2) for n, options in attacks.items()], draw)
    doing = f"Auditing {catalog[AUDITED].load()} under {len(attacks)} attacks for"
    return doing, work, max((options.batch for options in attacks.values()), default=draw.batch)


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
