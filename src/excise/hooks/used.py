"""What a pipeline does with the model: which erasers it trains, and how much it attacks and draws at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from excise.attacks import AttackOptions
    from excise.erasers import EraserOptions
    from excise.images import DrawOptions
    from excise.models.memory import Use
    from excise.prompts import PromptOptions

TRAINING = {"params:study", "params:ablation", "params:benchmark"}  # these name their erasers and attacks themselves
SILENCING = "params:silencing"  # trains nothing and attacks nothing
GRIDS = TRAINING | {SILENCING}
Used = tuple[dict[str, "EraserOptions"], list["AttackOptions"], "DrawOptions | None", "PromptOptions | None"]


def named_options(pipeline: Any, what: str) -> set[str]:
    """The ``erasers`` or ``attacks`` whose options a pipeline reads."""
    start = f"params:{what}."
    return {name.removeprefix(start).split(".")[0] for name in pipeline.inputs() if name.startswith(start)}


def attacks_of(catalog: Any, pipeline: Any) -> list[AttackOptions]:
    """All attacks that are made."""
    return _used(catalog, pipeline)[1]


def use_of(catalog: Any, pipeline: Any) -> Use:
    """What needs memory beside the model's own weights."""
    from excise.models.memory import Use

    erasers, attacks, draw, prompts = _used(catalog, pipeline)
    if erasers or attacks:
        from excise.attacks import make_attack
        from excise.erasers import make_method

    trained = []
    for name, options in sorted(erasers.items()):
        method = make_method(options)
        if method.trained:
            trained.append((name, options.group or method.group, options.batch))
    asked = prompts.test if prompts else 0
    attacked = [min(o.batch, asked) for o in attacks if make_attack(o).work(o, 1)]
    return Use(tuple(trained), max(attacked, default=0), min(draw.batch, asked) if draw else 0)


def _used(catalog: Any, pipeline: Any) -> Used:
    """Options of erasers and attacks, how pictures are drawn, and of how many prompts."""
    if SILENCING in pipeline.inputs():
        return _used_by_silencing(catalog)
    for grid in sorted(TRAINING & pipeline.inputs()):
        return _used_by_ablation(catalog) if grid == "params:ablation" else _used_by_study(catalog, grid)

    def given(name: str, kind: str) -> Any:
        package, _, options = kind.partition(":")  # imported where it is used: a stage may need neither
        return getattr(import_module(f"excise.{package}"), options).model_validate(catalog[f"params:{name}"].load())

    erasers = {n: given(f"erasers.{n}", "erasers:EraserOptions") for n in named_options(pipeline, "erasers")}
    attacks = [given(f"attacks.{n}", "attacks:AttackOptions") for n in named_options(pipeline, "attacks")]
    draw = given("draw", "images:DrawOptions") if "params:draw" in pipeline.inputs() else None
    return erasers, attacks, draw, given("prompts", "prompts:PromptOptions") if attacks or draw else None


def _used_by_study(catalog: Any, grid: str) -> Used:
    from excise.models import ModelSpec
    from excise.pipelines.benchmark.nodes import BenchmarkOptions
    from excise.pipelines.erase.nodes import NeuronOptions
    from excise.pipelines.study_pruning.nodes import settings_of
    from excise.pipelines.study_pruning.plan import StudyOptions

    kind = BenchmarkOptions if grid == "params:benchmark" else StudyOptions
    study = kind.model_validate(catalog[grid].load())
    model = ModelSpec.model_validate(catalog["params:model"].load())
    own = (dict(catalog[f"params:{name}"].load()) for name in ("erasers", "attacks", "prune"))
    settings = settings_of(study, model, *own, NeuronOptions(), 0)
    return settings.erasers, [*settings.attacks.values(), settings.fit_attack], settings.draw, settings.prompts


def _used_by_silencing(catalog: Any) -> Used:
    from excise.pipelines.silence_neurons.plan import SilencingOptions

    silencing = SilencingOptions.model_validate(catalog[SILENCING].load())
    return {}, [], silencing.draw, silencing.prompts


def _used_by_ablation(catalog: Any) -> Used:
    from excise.pipelines.ablate_pruning.nodes import AblationOptions, attacks_of, eraser_of

    ablation = AblationOptions.model_validate(catalog["params:ablation"].load())
    erasers, attacks = (dict(catalog[f"params:{name}"].load()) for name in ("erasers", "attacks"))
    made = {ablation.eraser: eraser_of(ablation, erasers)}
    return made, list(attacks_of(ablation, attacks).values()), ablation.draw, ablation.prompts
