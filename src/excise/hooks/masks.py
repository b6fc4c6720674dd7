"""Masks, and the variants of an eraser that they make."""

from __future__ import annotations

from typing import Any

from excise.errors import UserError, refuse_unknown

from .options import options_of
from .used import GRIDS, masks_of


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
    """Masks of correlated neurons hold only what such neurons choose."""
    if {"params:prune", "params:neurons"} <= pipeline.inputs():
        from excise.pipelines.controls import refuse_unbound
        from excise.pipelines.erase.nodes import NeuronOptions

        values = options_of(catalog, "neurons", NeuronOptions).values
        for place, prune in masks_of(catalog, pipeline).items():
            refuse_unbound(prune, values, place)
