"""Which masks may stand beside each other, and which neurons may aim them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from excise.errors import UserError

if TYPE_CHECKING:
    from excise.masks import PruneOptions


def refuse_no_control(prune: PruneOptions, variants: Iterable[str], place: str = "prune") -> None:
    """Whole neurons are pruned by a learned mask of all neurons only.

    Scored and random masks close single weights, and so are no controls of whole neurons; and beside correlated neurons
    alone the gates count neurons that may not go, so that nearly all of what may go would.

    Args:
        variants: the masks that are to be made.
        place: of the options, for the sentence.
    """
    if prune.unit != "neuron":
        return
    if prune.neurons == "correlated":
        raise UserError(
            f"{place}.unit is neuron and {place}.neurons correlated, which would prune nearly all weights of these "
            f"neurons: set {place}.neurons to all, or {place}.unit to weight."
        )
    if {"scored", "random"} & set(variants):
        raise UserError(
            f"{place}.unit is neuron, and the scored and random masks close single weights, so that they are no "
            f"controls: leave them out (masks is learned), or set {place}.unit to weight."
        )


def refuse_keys_by_values(prune: PruneOptions, place: str = "prune") -> None:
    """Where value channels were looked at, a mask of correlated neurons may hold no keys.

    The support takes a layer's value channels for the rows of its keys too, and these are other channels: row 5 of the
    one has nothing to do with row 5 of the other. Where no value channels were looked at, all rows may go.

    Args:
        place: of the options, for the sentence.
    """
    if prune.neurons == "correlated" and "kv" in prune.group:
        raise UserError(
            f"neurons.values is true and {place}.neurons correlated, which would choose keys by the numbers of value "
            f"channels: set {place}.group to ffn, v or ffn+v, or neurons.values to false."
        )
