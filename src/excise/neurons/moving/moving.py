"""Has the concept moved? The concept's neurons are looked for again in an erased model, and held against its mask."""

from __future__ import annotations

import pandas as pd
import torch
from torch import nn

from excise.masks import PruneOptions, mask_support
from excise.models.layers import cross_attentions
from excise.neurons.activations import moments_of
from excise.neurons.correlation import neuron_table
from excise.neurons.units import Unit

Activations = dict[str, torch.Tensor]
Norms = dict[str, torch.Tensor]


def located(
    units: list[Unit],
    base: tuple[Activations, Norms],
    erased: tuple[Activations, Norms],
    top: float,
    pruned: dict[str, torch.Tensor],
    denoiser: nn.Module,
) -> pd.DataFrame:
    """The ``top`` share of each layer's neurons by correlation with the concept, in the base model and afresh in an
    erased one (method.md, step 4: our reconstruction).

    Args:
        base, erased: activations, the concept (a) beside its neutral twin (b), and unit -> norms of the weights that
            read each neuron, (width,).
        pruned: parameter name -> bool, what a mask sets to zero; empty where there is none.

    Returns:
        Three rows, ``which`` being ``stayed`` (found in both), ``new`` (in the erased model alone) and ``left`` (in the
        base model alone), with ``neurons``, how many; ``signal``, the sum of |contrast| times norm over them in the
        erased model, in shares of what the base model's own carry there; and ``pruned``, the share of the weights that
        write to feed-forward units or read from them, or write to value channels, which is zero; NaN without a mask.
    """
    was, now = (neuron_table(units, seen, seen, top)["correlated"] for seen, _ in (base, erased))
    table = neuron_table(units, base[0], base[0], top)
    reference = _signal(units, *base)[was.to_numpy()].sum()
    carried = _signal(units, *erased)
    rows = []
    for which, chosen in (("stayed", was & now), ("new", now & ~was), ("left", was & ~now)):
        rows.append(
            {
                "which": which,
                "neurons": int(chosen.sum()),
                "signal": float(carried[chosen.to_numpy()].sum() / reference) if reference > 0 else float("nan"),
                "pruned": _pruned(table.assign(correlated=chosen), units, pruned, denoiser),
            }
        )
    return pd.DataFrame(rows)


def _signal(units: list[Unit], seen: Activations, norms: Norms) -> pd.Series:
    """|contrast| times outgoing norm of every neuron, in the order of ``neuron_table``."""
    parts = [moments_of(seen, u.name, "d").mean.mean(0).abs() * norms[u.name].double() for u in units]
    return pd.Series(torch.cat(parts).numpy())


def _pruned(table: pd.DataFrame, units: list[Unit], pruned: dict[str, torch.Tensor], denoiser: nn.Module) -> float:
    if not pruned:
        return float("nan")
    group = "ffn+kv" if any(u.kind == "value" for u in units) else "ffn"
    support = mask_support(denoiser, PruneOptions(group=group, neurons="correlated"), table)
    keys = {f"{layer.key}.weight" for layer in cross_attentions(denoiser)}  # no value channel's
    reached = {name: places for name, places in support.items() if name not in keys}
    total = sum(int(places.sum()) for places in reached.values())
    zero = sum(int((pruned[name] & places).sum()) for name, places in reached.items() if name in pruned)
    return zero / total if total else float("nan")
