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


def refuse_unbound(prune: PruneOptions, values: bool, place: str = "prune") -> None:
    """A mask of correlated neurons holds nothing that no measured neuron chooses.

    Keys are no neurons: the support would take a layer's value channels for their rows, and row 5 of the one has
    nothing to do with row 5 of the other, or all rows where no value channels were looked at. Values are bound where
    their channels were looked at, and else all free.

    Args:
        values: whether value channels are looked at.
        place: of the options, for the sentence.
    """
    if prune.neurons != "correlated":
        return
    if "kv" in prune.group:
        raise UserError(
            f"{place}.neurons is correlated, and keys, which {place}.group {prune.group} holds, are no neurons: set "
            f"{place}.group to ffn, or to v or ffn+v with neurons.values true."
        )
    if "v" in prune.group and not values:
        raise UserError(
            f"{place}.neurons is correlated, and no value channels are looked at, which would leave all values of "
            f"{place}.group {prune.group} free: set neurons.values to true, or {place}.group to ffn."
        )
