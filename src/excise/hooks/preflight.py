"""Checks that refuse bad input before anything runs; a new one is a function and a line in ``CHECKS``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from excise.concepts.concept import JudgeSpec, load_concept
from excise.errors import UserError, refuse_unknown
from excise.pipelines.selection import pipeline_kind, selected_concept

from .audited import checkpoint_can_be_read, checkpoint_fits
from .base_model import attacks_have_room, erasers_suit_the_model, model_is_whole
from .concept_words import sound_concept
from .early import (
    features_are_ready,
    inputs_are_whole,
    known_pictures_are_there,
    numbers_are_finite,
    prompts_suffice,
    seed_is_usable,
)
from .image_attacks import image_attacks_are_allowed
from .masks import masks_can_be_made, neurons_can_aim_masks, variant_is_made
from .options import options_of
from .parameters import parameters_are_known
from .room import memory_suffices, model_is_there, precision_can_train
from .used import GRIDS, TRAINING, concepts_of, named_options

logger = logging.getLogger(__name__)


def concept_fits(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The concept exists, is well described, and is of the kind that the pipeline is for."""
    concepts = catalog["concepts"].load()
    chosen = (run_params.get("runtime_params") or {}).get("concept")
    if chosen is not None:  # a stage on its own works on any kind, but on no unknown concept
        sound_concept(str(chosen), concepts)
    for grid in sorted(GRIDS & pipeline.inputs()):
        for name in concepts_of(catalog, grid):
            sound_concept(str(name), concepts)
    for name in run_params.get("pipeline_names") or []:
        kind = pipeline_kind(name)
        if kind is None:
            continue
        concept = sound_concept(selected_concept(kind), concepts)
        if concept.kind != kind:
            fitting = name.removesuffix(kind) + concept.kind
            raise UserError(f"The concept '{concept.name}' is of kind {concept.kind}: use --pipelines={fitting}.")


def prompts_can_be_read(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The sets and files that prompts of a concept are taken from are there, if the pipeline makes prompts."""
    for name in sorted(pipeline.datasets() - pipeline.inputs()):
        if name.endswith(".prompts"):
            from excise.prompts.sets import check_source

            for source in load_concept(name.partition(".")[0], catalog["concepts"].load()).sources:
                check_source(source)


def eraser_is_known(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """There is a method of the eraser's name, and it takes the eraser's options."""
    if named_options(pipeline, "erasers"):
        from excise.erasers import ERASERS, EraserOptions, make_method

        _check_named(catalog, pipeline, "eraser", ERASERS, EraserOptions, make_method)


def attack_is_known(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """There is a method of the attack's name, and it takes the attack's options."""
    if named_options(pipeline, "attacks"):
        from excise.attacks import ATTACKS, AttackOptions, make_attack

        _check_named(catalog, pipeline, "attack", ATTACKS, AttackOptions, make_attack)


def _check_named(catalog: Any, pipeline: Any, kind: str, known: Iterable[str], model: Any, make: Callable) -> None:
    for name in sorted(named_options(pipeline, f"{kind}s")):
        where = f"{kind}s.{name}"
        refuse_unknown(kind, name, known)
        if f"params:{where}" not in catalog:
            raise UserError(f"The parameters have no options for the {kind} '{name}': add {where}.")
        options = options_of(catalog, where, model)
        if options.method != name:
            raise UserError(f"{where}.method is '{options.method}': it must be the name that it stands under.")
        _made(f"The {kind} '{name}'", make, options)


def _made(what: str, make: Callable, *given: Any) -> Any:
    """What a plugin brings may fail in any way when it is first made."""
    try:
        return make(*given)
    except UserError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}".rstrip(".")
        raise UserError(f"{what} cannot be made, mend it where it is defined: {said}.") from error


def judges_are_ready(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """All judges of every concept that is judged can be made, and know the labels that they will be asked for.

    They are made in earnest: that takes a second or two, and the run uses these very objects.
    """
    judged = {name.split(".")[0] for name in pipeline.datasets() if name.endswith("judgements")}
    for name in sorted(judged):
        from excise.judges import make_judge

        concept = load_concept(name, catalog["concepts"].load())
        for judge in concept.judges:
            _made(f"The judge '{judge.name}'", make_judge, judge)
        # a label that the judge does not know would count as lost, not as a mistake in the file
        keeper = concept.retain_judge
        _made(f"The judge '{keeper.name}'", make_judge, keeper).resolve([*concept.retain_near, *concept.retain_far])


def judges_suit_the_model(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """A judge set up for the model that ships would see little in another one's pictures, and call that erased."""
    if "params:model" not in pipeline.inputs():
        return
    if str(dict(catalog["params:model"].load()).get("path")).startswith("embedded:"):
        return
    named = {name.split(".")[0] for name in pipeline.datasets() if name.endswith("judgements")}
    named.update(name for grid in GRIDS & pipeline.inputs() for name in concepts_of(catalog, grid))
    for name in sorted(named):
        _tell_of_defaults(load_concept(name, catalog["concepts"].load()).judges, name)


def _tell_of_defaults(judges: Iterable[JudgeSpec], concept: str) -> None:
    """Options that nobody set, and whose defaults are for the model that ships."""
    from excise.judges import JUDGES

    for judge in judges:
        for option, field in JUDGES[judge.name].options_type.model_fields.items():
            told = field.json_schema_extra
            if isinstance(told, dict) and "default_is_for" in told and option not in judge.options:
                logger.warning(
                    "The judge '%s' of the concept '%s' takes %s for '%s', which is for %s: set it under the judge's "
                    "options.",
                    *(judge.name, concept, field.default or "what ships", option, told["default_is_for"]),
                )


def inputs_are_there(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """What an earlier stage must have left is there."""
    for name in sorted(pipeline.inputs()):
        if name.startswith("params:") or name in FROM_HOOKS or name not in catalog:
            continue
        if not catalog[name].exists():
            raise UserError(
                f"There is no '{name}' yet: run what makes it first, such as the whole job with the same concept, "
                "eraser, attack and masks."
            )
        if name.endswith(".trajectories"):
            _trajectories_are_kept(name, catalog[name].load())


def _trajectories_are_kept(name: str, told: Any) -> None:
    """The table names files of the cache, which may be deleted."""
    for path in told.values() if isinstance(told, dict) else []:
        if str(path).endswith(".safetensors") and not Path(str(path)).exists():
            raise UserError(
                f"The trajectories that '{name}' names are gone from the cache ({path}): run the stage that samples "
                "them again, or the whole job, with the same parameters."
            )


def nothing_newer_is_read(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """A run under a given id reads nothing that a later run has saved: what is not pinned is read from the newest."""
    from .given_id import given_id

    given = given_id()
    for name in sorted(pipeline.inputs()) if given else []:
        dataset = catalog.get(name)
        if getattr(dataset, "_version", None) is not None and dataset.exists():
            newest = dataset.resolve_load_version()
            if newest > given:
                raise UserError(
                    f"The newest '{name}' is of the run {newest}, later than {given}: name this run's own with "
                    "--load-versions, or start anew under a later id."
                )


def second_judge_is_ready(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The judge of ``rejudge`` can be made, and knows its labels."""
    if "params:rejudge" in pipeline.inputs():
        from excise.judges import make_judge
        from excise.pipelines.rejudge.nodes import Rejudge, judge_of

        (concept,) = (catalog[n].load() for n in pipeline.inputs() if n.endswith(".concept"))
        spec = judge_of(concept, options_of(catalog, "rejudge", Rejudge))
        make_judge(spec)
        _tell_of_defaults([spec], concept["name"])


def one_node_at_a_time(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Nodes share one model that wears one eraser at a time."""
    runner = str(run_params.get("runner") or "SequentialRunner")
    loads = any(name == "params:model" or name.endswith(".model") for name in pipeline.inputs())
    if loads and "SequentialRunner" not in runner:
        raise UserError("Nodes share one model, which wears one eraser at a time: leave out --runner.")


def gate_can_be_passed(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The gate's thresholds can be met with so many prompts."""
    if "params:gate" in pipeline.inputs() and "params:prompts" in pipeline.inputs():
        from excise.gate import GateOptions, refuse_impossible
        from excise.pipelines.selection import selected_attack
        from excise.prompts import PromptOptions

        prompts = options_of(catalog, "prompts", PromptOptions)
        options = options_of(catalog, "gate", GateOptions)
        half = prompts.retain_test // 2
        refuse_impossible(options, {"plain", selected_attack()}, prompts.test, half, half)


def registry_answers(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The champions' registry can be asked, before a night is spent on a new one."""
    if "registry" in pipeline.inputs():
        catalog["registry"].load().check()


def grid_is_for_this_model(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The budgets of a study, an ablation or a benchmark are no other model's: steps and guidance would be wrong, and
    the figures with them."""
    from excise.models.spec import ModelSpec

    for name in sorted(GRIDS & pipeline.inputs()):
        grid, own = name.removeprefix("params:"), options_of(catalog, "model", ModelSpec).name
        meant = dict(catalog[name].load()).get("tuned_for")
        if meant and meant != own:
            given = f"{grid}.draw and {grid}.instead" if name in TRAINING else f"{grid}.draw"
            raise UserError(
                f"The parameters of '{grid}' are meant for {meant}, and the model is '{own}': give {given} for it in "
                f"its environment, as conf/sd14 does, and its name as {grid}.tuned_for."
            )


def shard_can_be_done(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """A part of the work is asked only of nodes whose work can be cut."""
    from excise.pipelines.names import SHARDED

    if (run_params.get("runtime_params") or {}).get("shard") is None:
        return
    for node in pipeline.nodes:
        if not node.tags & set(SHARDED.values()):
            raise UserError(
                f"The parameter 'shard' asks for a part of '{node.name}', which cannot be cut: name nodes that draw, "
                "attack or judge with --nodes, or leave the parameter out."
            )
    for name in sorted(pipeline.all_outputs() - pipeline.outputs()):
        raise UserError(
            f"A shard makes only a part of '{name}', which another node reads: run them one after the other."
        )


FROM_HOOKS = {"concepts", "cache", "cost", "run_info", "registry"}
Check = Callable[[dict[str, Any], Any, Any], None]
CHECKS: list[Check] = [
    parameters_are_known,
    numbers_are_finite,
    seed_is_usable,
    one_node_at_a_time,
    gate_can_be_passed,
    grid_is_for_this_model,
    shard_can_be_done,
    concept_fits,
    checkpoint_can_be_read,
    prompts_can_be_read,
    prompts_suffice,
    known_pictures_are_there,
    features_are_ready,
    model_is_there,
    precision_can_train,
    eraser_is_known,
    attack_is_known,
    image_attacks_are_allowed,
    judges_are_ready,
    judges_suit_the_model,
    model_is_whole,
    erasers_suit_the_model,
    attacks_have_room,
    memory_suffices,
    checkpoint_fits,
    variant_is_made,
    masks_can_be_made,
    neurons_can_aim_masks,
    inputs_are_whole,
    inputs_are_there,
    nothing_newer_is_read,
    second_judge_is_ready,
    registry_answers,
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
