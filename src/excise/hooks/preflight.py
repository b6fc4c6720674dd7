"""Checks that refuse bad input before anything runs; a new one is a function and a line in ``CHECKS``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from excise.concepts.concept import load_concept
from excise.errors import UserError, refuse_unknown
from excise.pipelines.selection import pipeline_kind, selected_audit, selected_concept

from .base_model import attacks_have_room, model_is_whole
from .concept_words import sound_concept
from .early import (
    features_are_ready,
    inputs_are_whole,
    known_pictures_are_there,
    numbers_are_finite,
    prompts_suffice,
    seed_is_usable,
)
from .options import options_of
from .used import GRIDS, TRAINING, concepts_of, masks_of, named_options, use_of, whole_job

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


def model_is_there(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The base model's folder exists, if the pipeline reads the model."""
    from excise.models.spec import ModelSpec

    if any(name == "params:model" or name.startswith("params:model.") for name in pipeline.inputs()):
        _ = options_of(catalog, "model", ModelSpec).folder  # says itself what to download or where to point


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


def parameters_are_known(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """No parameter is given that nothing reads, and the plain ones are what they must be."""
    from kedro.framework.project import pipelines

    inputs = {name for one in [pipeline, *dict(pipelines).values()] for name in one.inputs()}
    read = {name.removeprefix("params:").split(".")[0] for name in inputs if name.startswith("params:")}
    chosen = {"concept", "eraser", "attack", "masks", "shard", "processes", "audit"}
    mute: set[str] = {*chosen, "prompts", "draw"} if GRIDS & pipeline.inputs() else set()
    if AUDITED in pipeline.inputs():
        mute = mute | {"eraser", "attack", "masks"}
    if "params:gate" in pipeline.inputs():
        read.add("export")  # export.variant chooses the eraser that is held against the gate
    mute = mute | {grid.removeprefix("params:") for grid in GRIDS - pipeline.inputs()}
    for name in run_params.get("runtime_params") or {}:
        if name in mute:
            raise UserError(f"The parameter '{name}' chooses nothing here: this pipeline has parameters of its own.")
        if name not in {*chosen, *read}:
            near = get_close_matches(name, sorted(read), n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"these are read: {', '.join(sorted(read))}."
            raise UserError(f"Nothing reads the parameter '{name}': {hint}")
    if base := _base_names(Path(str(run_params.get("project_path", ".")))):
        _configuration_is_read(catalog, {*chosen, *read, *base})
    options_are_used(run_params, pipeline)
    for name, kind in {"seed": int, "budget": str}.items():
        if f"params:{name}" in pipeline.inputs() and not isinstance(catalog[f"params:{name}"].load(), kind):
            raise UserError(f"The parameter '{name}' must be of the kind {kind.__name__}.")


def _base_names(project: Path) -> set[str]:
    """The parameters of ``conf/base``, by which other environments call theirs."""
    import yaml

    found = [yaml.safe_load(path.read_text()) for path in (project / "conf/base").rglob("parameters*.yml")]
    return {name for one in found if isinstance(one, dict) for name in one}


def _configuration_is_read(catalog: Any, read: set[str]) -> None:
    """What stands in the configuration under a name that nothing reads is a slip of the pen, and would do nothing."""
    listed = set(catalog.keys())
    names = [name.removeprefix("params:").split(".") for name in listed if name.startswith("params:")]
    for first in sorted({name[0] for name in names} - read):
        if near := get_close_matches(first, sorted(read), n=1, cutoff=0.75):
            raise UserError(f"Nothing reads the parameter '{first}' of the configuration: did you mean '{near[0]}'?")
    for section in ("erasers", "attacks"):
        for name in sorted({one[1] for one in names if one[0] == section and len(one) > 1}):
            known = getattr(import_module(f"excise.{section}"), section.upper())
            if name not in known and f"params:{section}.{name}.method" not in listed:
                refuse_unknown(section[:-1], name, known)


def options_are_used(run_params: dict[str, Any], pipeline: Any) -> None:
    """Options typed for an eraser or an attack that this run does not use change nothing, and nobody would notice."""
    typed = {what: (run_params.get("runtime_params") or {}).get(f"{what}s") for what in ("eraser", "attack")}
    audited = any(".audit." in name for name in pipeline.inputs() | pipeline.outputs())
    if not any(typed.values()) or audited or GRIDS & pipeline.inputs():
        return  # these have erasers and attacks of their own
    from excise.pipelines.names import learning_attack
    from excise.pipelines.selection import selected_attack, selected_eraser

    # of the whole job, not of the nodes at hand: a stage, a shard or a repaired step is given the same parameters
    used = {"eraser": [selected_eraser()], "attack": [selected_attack(), learning_attack(selected_attack())]}
    for what, names in used.items():
        given = typed[what]
        for name in given if isinstance(given, dict) else {}:
            if name not in names:
                raise UserError(
                    f"This run does not read '{what}s.{name}', since its {what} is {names[0]}: add {what}={name}, or "
                    f"give {what}s.{names[0]}."
                )


def variant_is_made(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The eraser to export, or to hold against the gate, is one that a job with these parameters makes."""
    if {"params:export", "params:gate"} & pipeline.inputs():
        from excise.erasers import ERASERS
        from excise.exports import ExportOptions
        from excise.pipelines.names import variants
        from excise.pipelines.selection import selected_eraser

        options = options_of(catalog, "export", ExportOptions)
        refuse_unknown("eraser", selected_eraser(), ERASERS)
        made = variants(selected_eraser())
        if options.variant is not None and options.variant not in made:
            hint = ", or masks to all" if options.variant in ("scored", "random") and "learned" in made else ""
            raise UserError(
                f"No '{options.variant}' is made of the eraser '{selected_eraser()}': set export.variant to "
                f"{' or '.join(made)}{hint}."
            )


def masks_can_be_made(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The masks of this job can be held against each other; grids look after their own."""
    if "params:prune" in pipeline.inputs() and not GRIDS & pipeline.inputs():
        from excise.masks import PruneOptions
        from excise.pipelines.controls import refuse_no_control
        from excise.pipelines.names import variants
        from excise.pipelines.selection import selected_eraser

        prune = options_of(catalog, "prune", PruneOptions)
        refuse_no_control(prune, variants(selected_eraser()))


def neurons_can_aim_masks(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Masks of correlated neurons hold no keys where value channels are looked at."""
    if {"params:prune", "params:neurons"} <= pipeline.inputs():
        from excise.pipelines.controls import refuse_keys_by_values
        from excise.pipelines.erase.nodes import NeuronOptions

        if options_of(catalog, "neurons", NeuronOptions).values:
            for place, prune in masks_of(catalog, pipeline).items():
                refuse_keys_by_values(prune, place)


def checkpoint_can_be_read(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """There is a checkpoint to audit, of a kind that is known; its attacks may be run on the concept."""
    if AUDITED not in pipeline.inputs():
        return
    from excise.attacks import ATTACKS, ThreatModel
    from excise.checkpoints import AuditOptions, find_checkpoint, kind_of

    path = catalog[AUDITED].load()
    if path is None:
        raise UserError("There is nothing to audit: name an erased model with --params=checkpoint=PATH.")
    kind_of(find_checkpoint(str(path)))
    options_of(catalog, "audit", AuditOptions)
    concept = selected_concept("nsfw")
    for name in sorted(named_options(pipeline, "attacks") & ATTACKS.keys()):
        if ATTACKS[name]().threat_model == ThreatModel.IMAGE and concept in selected_audit().unsafe:
            raise UserError(
                f"The attack '{name}' keeps latents of the concept's pictures, which '{concept}' forbids since it is "
                "marked unsafe: take it out of audit.attacks."
            )
        if getattr(ATTACKS[name](), "revives", False) and not selected_audit().masked:
            raise UserError(
                f"The attack '{name}' brings back what a mask has set to zero, and this checkpoint does not say which "
                "weights that are: take it out of audit.attacks."
            )


def checkpoint_fits(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The checkpoint's names and shapes are the base model's; no weight is read."""
    if AUDITED in pipeline.inputs():
        from excise.checkpoints import check_checkpoint
        from excise.models.spec import ModelSpec

        spec = options_of(catalog, "model", ModelSpec)
        check_checkpoint(str(catalog[AUDITED].load()), spec)


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
        make_judge(judge_of(concept, options_of(catalog, "rejudge", Rejudge)))


def precision_can_train(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Nothing is trained through half-precision floats, whose gradients overflow."""
    from excise.models.spec import ModelSpec

    if "params:model" not in pipeline.inputs():
        return
    pipeline = whole_job(run_params, catalog, pipeline)
    if named_options(pipeline, "erasers") or TRAINING & pipeline.inputs():
        dtype = options_of(catalog, "model", ModelSpec).dtype
        if dtype == "float16":
            raise UserError(
                "model.dtype is float16, in which gradients overflow: set it to float32, or where memory is short to "
                "bfloat16."
            )


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
    if settled != spec:
        catalog["params:model"] = MemoryDataset(settled, copy_mode="assign")
        logger.info(
            "Chosen for that: model.dtype=%s, model.gradient_checkpointing=%s, model.offload=%s.",
            *(settled.dtype, settled.gradient_checkpointing, settled.offload),
        )


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


AUDITED = "params:checkpoint"  # what an audit reads
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
    judges_are_ready,
    model_is_whole,
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
