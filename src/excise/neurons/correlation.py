"""Which neurons carry a concept, which ones an attack wakes up again.

The paper (arXiv 2405.16534) names these quantities; how they are computed is our reconstruction.
"""

from __future__ import annotations

import pandas as pd
import torch

from .activations import moments_of
from .units import Unit


def concept_correlation(activations: dict[str, torch.Tensor], unit: str) -> torch.Tensor:
    """Cohen's d of the paired contrast, mean(a − b) / sd(a − b), (bins, width): a under the concept, b its twin."""
    moments = moments_of(activations, unit, "d")
    return moments.mean / moments.variance.sqrt().clamp_min(1e-12)


def sensitivity(activations: dict[str, torch.Tensor], unit: str) -> torch.Tensor:
    """Neuron sensitivity (Zhang et al. 2020): mean |a − b| between a prompt and its adversarial counterpart, divided
    by the activation's scale (root mean square under both conditions), (bins, width)."""
    a, b = moments_of(activations, unit, "a"), moments_of(activations, unit, "b")
    scale = ((a.mean.pow(2) + b.mean.pow(2) + (a.m2 + b.m2) / max(1, a.count)) / 2).sqrt()
    return moments_of(activations, unit, "absd").mean / scale.clamp_min(1e-12)


def neuron_table(
    units: list[Unit], concept: dict[str, torch.Tensor], adversarial: dict[str, torch.Tensor], top: float
) -> pd.DataFrame:
    """One row a neuron.

    Args:
        concept: activations of the base model, concept prompts (a) beside neutral twins (b).
        adversarial: activations of the erased model, plain prompts (a) beside adversarial ones (b).
        top: share of each layer's neurons, by the size of the correlation averaged over bins, that count as
            concept-correlated.

    Returns:
        Columns layer, kind, neuron, correlation, sensitivity, correlated.

    Raises:
        ValueError: an activation was no finite number, or there are none.
    """
    parts = []
    for unit in units:
        correlation = concept_correlation(concept, unit.name).mean(0)
        if not torch.isfinite(correlation).all():
            raise ValueError(f"activations of {unit.name} are no finite numbers, or there are none: nothing ranks them")
        count = max(1, round(top * unit.width))
        chosen = torch.zeros(unit.width, dtype=torch.bool)
        chosen[correlation.abs().topk(count).indices] = True
        parts.append(
            pd.DataFrame(
                {
                    "layer": unit.name,
                    "kind": unit.kind,
                    "neuron": range(unit.width),
                    "correlation": correlation.numpy(),
                    "sensitivity": sensitivity(adversarial, unit.name).mean(0).numpy(),
                    "correlated": chosen.numpy(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def reactivation(
    neurons: pd.DataFrame,
    base: dict[str, torch.Tensor],
    erased: dict[str, torch.Tensor],
    base_norms: dict[str, torch.Tensor],
    erased_norms: dict[str, torch.Tensor],
) -> float:
    """How much of the concept's signal is back: 1 as in the base model on the concept, 0 as on neutral prompts.

    Sum over the concept-correlated neurons of sign · (activation − neutral activation) · outgoing norm, divided by
    the same for the base model, whose contrast gives the signs. The outgoing norms are those of the model that runs,
    so that neither pruned inputs nor pruned outputs make the figure small or large by themselves.

    Args:
        neurons: from ``neuron_table``.
        base: base model, concept (a) beside neutral (b).
        erased: the model in question, its prompts (a) beside neutral ones (b).
        base_norms, erased_norms: unit -> (width,) norms of the weights that read each neuron.
    """
    above, below = 0.0, 0.0
    for layer, rows in neurons[neurons["correlated"]].groupby("layer"):
        index = torch.tensor(rows["neuron"].to_numpy())
        reference = moments_of(base, str(layer), "d").mean.mean(0)[index]
        signal = moments_of(erased, str(layer), "d").mean.mean(0)[index]
        above += float((reference.sign() * signal * erased_norms[str(layer)][index].double()).sum())
        below += float((reference.abs() * base_norms[str(layer)][index].double()).sum())
    return above / below if below > 0 else float("nan")
