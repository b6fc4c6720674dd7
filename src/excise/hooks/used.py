"""What a pipeline does with the model: which erasers it trains, and how much it attacks and draws at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from excise.errors import UserError, refuse_unknown

from .options import options_of

if TYPE_CHECKING:
    from excise.attacks import AttackOptions
    from excise.erasers import EraserOptions
    from excise.images import DrawOptions
    from excise.masks import PruneOptions
    from excise.models.memory import Use
    from excise.prompts import PromptOptions

TRAINING = {"params:study", "params:ablation", "params:benchmark"}  # these name their erasers and attacks themselves
SILENCING = "params:silencing"  # trains nothing and attacks nothing
AUDITED = "params:checkpoint"  # what an audit reads
GRIDS = TRAINING | {SILENCING}
Used = tuple[dict[str, "EraserOptions"], list["AttackOptions"], "DrawOptions | None", "PromptOptions | None"]


def named_options(pipeline: Any, what: str) -> set[str]:
    """The ``erasers`` or ``attacks`` whose options a pipeline reads."""
    start = f"params:{what}."
    return {name.removeprefix(start).split(".")[0] for name in pipeline.inputs() if name.startswith(start)}


def concepts_of(catalog: Any, grid: str) -> list[str]:
    """The concepts of a grid, as they are written: of an ablation those that a variation names, too."""
    told = dict(catalog[grid].load())
    variations = (v for v in dict(told.get("variations") or {}).values() if isinstance(v, dict))
    named = [told["concepts"], *(v.get("concepts") or [] for v in variations)]
    return list(dict.fromkeys(str(n) for names in named for n in ([names] if isinstance(names, str) else names)))


def erasers_of(catalog: Any, pipeline: Any) -> dict[str, EraserOptions]:
    """All erasers that are made, by name."""
    return _used(catalog, pipeline)[0]


def attacks_of(catalog: Any, pipeline: Any) -> list[AttackOptions]:
    """All attacks that are made."""
    return _used(catalog, pipeline)[1]


def whole_job(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> Any:
    """All that is done with the model that these nodes settle: other tasks of the command, and later stages.

    Raises:
        UserError: a later stage would use an eraser or an attack that is unknown, or has no options.
    """
    names = run_params.get("pipeline_names")
    if not names or not any(name.endswith(".model") for name in pipeline.all_outputs()):
        return pipeline
    from kedro.framework.project import pipelines

    from excise.pipelines.job import create_job
    from excise.pipelines.selection import selected_concept

    whole = pipeline + sum((pipelines[name] for name in names[1:]), pipelines[names[0]])
    if "params:draw" in whole.inputs():
        return whole
    job = create_job(selected_concept("nsfw"))
    for what in ("erasers", "attacks"):
        for name in (n for n in named_options(job, what) if f"params:{what}.{n}" not in catalog):
            refuse_unknown(what[:-1], name, getattr(import_module(f"excise.{what}"), what.upper()))
            raise UserError(f"There are no options for '{name}': add {what}.{name} to the parameters.")
    return whole + job


def use_of(catalog: Any, pipeline: Any) -> Use:
    """What needs memory beside the model's own weights."""
    from excise.models.memory import Use

    erasers, attacks, draw, prompts = _used(catalog, pipeline)
    if erasers or attacks:
        from excise.attacks import make_attack
        from excise.erasers import ERASERS, make_method

    trained, through = [], []
    for name, options in sorted(erasers.items()):
        method = make_method(options)
        if method.trained and ERASERS[options.method].grouped:
            trained.append((f"erasers.{name}", options.group or method.group, options.batch))
        elif method.trained:  # other parameters than the denoiser's, which the gradient passes through
            through.append(options.batch)
    for options in attacks:
        attack = make_attack(options)
        if getattr(attack, "trained", lambda _: 0)(options) and not getattr(attack, "rank", 1):
            trained.append((f"attacks.{options.method}", "full", options.batch))  # an attack on all weights
    asked = prompts.test if prompts else 0
    attacked = [*through, *(min(o.batch, asked) for o in attacks if make_attack(o).work(o, 1))]
    return Use(tuple(trained), max(attacked, default=0), min(draw.batch, asked) if draw else 0)


def masks_of(catalog: Any, pipeline: Any) -> dict[str, PruneOptions]:
    """How masks are made: where it says so -> options; nothing where none is made."""
    from excise.masks import PruneOptions
    from excise.pipelines.names import variants
    from excise.pipelines.selection import selected_eraser
    from excise.pipelines.study_pruning.nodes import laid_over

    prune = dict(catalog["params:prune"].load())
    for grid in sorted(TRAINING & pipeline.inputs()):
        study = _study(catalog, grid)
        if grid == "params:ablation":
            from excise.pipelines.ablate_pruning.variations import masks_of as masks_of_variations

            return dict(masks_of_variations(study, dict(catalog["params:erasers"].load()), prune))
        base = PruneOptions.model_validate(laid_over(prune, study.instead.prune))
        made = {v for how in study.studied.values() for v in (*how.variants, *how.once)}
        return {"prune": base} if made - {"unpruned", "plus", "plus_plain"} else {}
    return {"prune": PruneOptions.model_validate(prune)} if "learned" in variants(selected_eraser()) else {}


def _study(catalog: Any, grid: str) -> Any:
    """The options of a grid that trains."""
    from excise.pipelines.ablate_pruning.variations import AblationOptions
    from excise.pipelines.benchmark.nodes import BenchmarkOptions
    from excise.pipelines.study_pruning.plan import StudyOptions

    kinds = {"params:ablation": AblationOptions, "params:benchmark": BenchmarkOptions, "params:study": StudyOptions}
    return options_of(catalog, grid.removeprefix("params:"), kinds[grid])


def _used(catalog: Any, pipeline: Any) -> Used:
    """Options of erasers and attacks, how pictures are drawn, and of how many prompts."""
    if SILENCING in pipeline.inputs():
        return _used_by_silencing(catalog)
    for grid in sorted(TRAINING & pipeline.inputs()):
        return _used_by_ablation(catalog) if grid == "params:ablation" else _used_by_study(catalog, grid)

    def given(name: str, kind: str) -> Any:
        package, _, options = kind.partition(":")  # imported where it is used: a stage may need neither
        return options_of(catalog, name, getattr(import_module(f"excise.{package}"), options))

    erasers = {n: given(f"erasers.{n}", "erasers:EraserOptions") for n in named_options(pipeline, "erasers")}
    attacks = [given(f"attacks.{n}", "attacks:AttackOptions") for n in named_options(pipeline, "attacks")]
    draw = given("draw", "images:DrawOptions") if "params:draw" in pipeline.inputs() else None
    return erasers, attacks, draw, given("prompts", "prompts:PromptOptions") if attacks or draw else None


def _used_by_study(catalog: Any, grid: str) -> Used:
    from excise.models import ModelSpec
    from excise.pipelines.erase.nodes import NeuronOptions
    from excise.pipelines.study_pruning.nodes import settings_of

    study = _study(catalog, grid)
    model = options_of(catalog, "model", ModelSpec)
    own = (dict(catalog[f"params:{name}"].load()) for name in ("erasers", "attacks", "prune"))
    settings = settings_of(study, model, *own, NeuronOptions(), 0)
    return settings.erasers, [*settings.attacks.values(), settings.fit_attack], settings.draw, settings.prompts


def _used_by_silencing(catalog: Any) -> Used:
    from excise.pipelines.silence_neurons.plan import SilencingOptions

    silencing = options_of(catalog, SILENCING.removeprefix("params:"), SilencingOptions)
    return {}, [], silencing.draw, silencing.prompts


def _used_by_ablation(catalog: Any) -> Used:
    from excise.pipelines.ablate_pruning.variations import attacks_of, rows_of

    ablation = _study(catalog, "params:ablation")
    erasers, attacks = (dict(catalog[f"params:{name}"].load()) for name in ("erasers", "attacks"))
    rows = rows_of(ablation, erasers, dict(catalog["params:prune"].load()), 0)
    made = {f"{ablation.eraser} ({row.name})" if row.said.eraser else ablation.eraser: row.eraser for row in rows}
    return made, list(attacks_of(ablation, attacks).values()), ablation.draw, ablation.prompts
