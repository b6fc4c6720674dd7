"""What every run needs: the chosen concept, the concepts' configuration, the cache, and a check of the input."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl
from kedro.io import MemoryDataset

from excise.cache import Cache
from excise.errors import UserError, refuse_no_name
from excise.pipelines.selection import ATTACK, ERASER, MASKS, AuditChoice, set_selection
from excise.shards import WHOLE, Shard

from .preflight import preflight


class ProjectHook:
    """Puts ``concepts`` and ``cache`` into the catalog, chooses the concept, refuses bad input."""

    def __init__(self) -> None:
        self._concepts: dict[str, Any] = {}
        self._cache = Path("data/cache")
        self._shard = WHOLE

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Choose the concept, before Kedro builds any pipeline."""
        settings = _config(context, "globals")
        parameters = _config(context, "parameters")
        if "model" in settings:
            refuse_no_name("a model (globals.yml)", str(settings["model"]))  # a folder of results
        for what in ("concept", "eraser", "attack"):
            if isinstance(parameters.get(what), dict):
                plural = f"{what}s.NAME" if what != "concept" else "the concept's file"
                raise UserError(f"The parameter '{what}' is a name; options are given in {plural}.")
        concept, export = parameters.get("concept"), parameters.get("export")
        variant = export.get("variant") if isinstance(export, dict) else None
        set_selection(
            None if concept is None else str(concept),
            settings.get("concepts", {}),
            eraser=str(parameters.get("eraser", ERASER)),
            attack=str(parameters.get("attack", ATTACK)),
            masks=str(parameters.get("masks", MASKS[0])),
            variant=None if variant is None else str(variant),
            audit=_audit_choice(parameters, _config(context, "concepts")),
        )
        self._shard = _shard_of(parameters.get("shard"))
        self._concepts = _config(context, "concepts")
        self._cache = context.project_path / settings.get("cache", "data/cache")

    @hook_impl
    def after_catalog_created(self, catalog: Any) -> None:
        """Add the inputs that no file holds; nodes get the very objects, not copies."""
        catalog["concepts"] = MemoryDataset(self._concepts, copy_mode="assign")
        catalog["cache"] = MemoryDataset(Cache(self._cache, self._shard), copy_mode="assign")

    @hook_impl(tryfirst=True)  # before any other hook takes the run for started
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Refuse bad input before anything runs."""
        preflight(run_params, catalog, pipeline)
        if not self._shard.whole:  # what a shard makes is in the cache; results are saved by the run of the whole
            for name in pipeline.all_outputs():
                catalog[name] = MemoryDataset(copy_mode="assign")

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Leave the group of processes that this one may be of."""
        if not self._shard.whole:
            from excise.processes import leave_group

            leave_group()


def _shard_of(asked: Any) -> Shard:
    if asked is None:
        return WHOLE
    from excise.processes import RANKED, own_shard

    return own_shard() if asked == RANKED else Shard.parse(asked)


def _audit_choice(parameters: dict[str, Any], concepts: dict[str, Any]) -> AuditChoice | None:
    """What an audit would run; a checkpoint that cannot be read is refused later, with a sentence."""
    if not isinstance(parameters.get("audit"), dict):
        return None
    named, masked = parameters["audit"].get("attacks") or "all", False
    if parameters.get("checkpoint") is not None:
        from excise.checkpoints import find_checkpoint, kind_of

        with suppress(UserError):
            checkpoint = find_checkpoint(str(parameters["checkpoint"]))
            masked = kind_of(checkpoint)[1].masks(checkpoint)
    described = parameters.get("attacks")
    known = list(described) if isinstance(described, dict) else []
    attacks = known if named == "all" else named if isinstance(named, list) else [named]
    unsafe = frozenset(name for name, told in concepts.items() if isinstance(told, dict) and told.get("unsafe"))
    return AuditChoice(tuple(map(str, attacks)), named == "all", masked, unsafe)


def _config(context: Any, kind: str) -> dict[str, Any]:
    try:
        return context.config_loader[kind]
    except MissingConfigException:  # an environment need not have every kind of file
        return {}
