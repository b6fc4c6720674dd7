"""The checkpoint that an audit is of."""

from __future__ import annotations

from typing import Any

from excise.errors import UserError
from excise.pipelines.selection import selected_audit, selected_concept

from .options import options_of
from .used import AUDITED, named_options


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
