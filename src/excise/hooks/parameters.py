"""Parameters: each is one that something reads, and is of the right kind."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from excise.errors import UserError, refuse_unknown

from .used import AUDITED, GRIDS

OF_ONE = {"checkpoint", "export", "gate", "rejudge"}  # what one kind of pipeline is about


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
    _belongs_here(run_params, dict(pipelines))
    if base := _base_names(Path(str(run_params.get("project_path", ".")))):
        _configuration_is_read(catalog, {*chosen, *read, *base})
    options_are_used(run_params, pipeline)
    for name, kind in {"seed": int, "budget": str}.items():
        if f"params:{name}" in pipeline.inputs() and not isinstance(catalog[f"params:{name}"].load(), kind):
            raise UserError(f"The parameter '{name}' must be of the kind {kind.__name__}.")


def _belongs_here(run_params: dict[str, Any], pipelines: dict[str, Any]) -> None:
    """Whoever types an audit's checkpoint, or the gate's thresholds, for a pipeline without would miss them."""
    names = [name for name in run_params.get("pipeline_names") or [] if name in pipelines]
    for name in sorted(OF_ONE & set(run_params.get("runtime_params") or {})) if names else []:
        readers = sorted(n for n, one in pipelines.items() if n != "__default__" and _reads(one, name))
        if readers and not set(readers) & set(names):
            those = " or ".join(f"--pipeline={reader}" for reader in readers[:3])
            raise UserError(f"Nothing of this run reads the parameter '{name}': leave it out, or say {those}.")


def _reads(pipeline: Any, name: str) -> bool:
    read = {one.removeprefix("params:").split(".")[0] for one in pipeline.inputs() if one.startswith("params:")}
    also = {
        "export": "gate" in read,  # which is for the variant that is exported
        "checkpoint": any(".audit." in one for one in pipeline.inputs()),  # by it the attacks of an audit are chosen
    }
    return name in read or also.get(name, False)


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
