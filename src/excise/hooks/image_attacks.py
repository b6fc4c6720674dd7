"""Attacks that start from pictures of the concept."""

from __future__ import annotations

from typing import Any

from excise.concepts.concept import load_concept
from excise.errors import UserError

from .used import AUDITED, TRAINING, attacks_of, concepts_of


def image_attacks_are_allowed(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """No attack of this job or grid keeps latents of an unsafe concept's pictures; audits look after their own."""
    if AUDITED in pipeline.inputs():
        return
    grids = sorted(TRAINING & pipeline.inputs())
    names = [name for grid in grids for name in concepts_of(catalog, grid)] or [
        name.split(".")[0] for name in sorted(pipeline.datasets()) if name.endswith(".prompts")
    ]
    concepts = catalog["concepts"].load()
    forbidding = [name for name in names if load_concept(name, concepts).unsafe]
    if not forbidding:
        return
    from excise.attacks import ThreatModel, make_attack

    where = (
        f"take it out of {grids[0].removeprefix('params:')}.attacks" if grids else "choose one by words or on weights"
    )
    for options in attacks_of(catalog, pipeline):
        if make_attack(options).threat_model == ThreatModel.IMAGE:
            raise UserError(
                f"The attack '{options.method}' keeps latents of the concept's pictures, which '{forbidding[0]}' "
                f"forbids since it is marked unsafe: {where}."
            )
