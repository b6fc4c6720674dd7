"""Scores that say which weights carry the concept: where a learned mask starts, what a scored one prunes."""

from __future__ import annotations

import pandas as pd
import torch

from excise.models.diffusion import DiffusionModel
from excise.models.layers import feed_forwards


@torch.no_grad()
def input_norms(
    model: DiffusionModel,
    layers: list[str],
    states: torch.Tensor,
    times: torch.Tensor,
    latents: torch.Tensor,
    batch: int = 64,
) -> dict[str, torch.Tensor]:
    """Root mean square of each input feature of linear layers over prompts, tokens and timesteps: name -> (in,)."""
    modules = dict(model.denoiser.named_modules())
    sums: dict[str, torch.Tensor] = {}
    count: dict[str, int] = {}

    def read(name: str):
        def hook(module, args):
            x = args[0].detach().reshape(-1, args[0].shape[-1]).to("cpu", torch.float64)
            sums[name] = sums.get(name, 0) + x.pow(2).sum(0)
            count[name] = count.get(name, 0) + len(x)

        return hook

    hooks = [modules[n].register_forward_pre_hook(read(n)) for n in layers]
    try:
        for start in range(0, len(states), batch):
            part = slice(start, start + batch)
            for step, time in enumerate(times):
                model.predict(latents[step, part], time, states[part])
    finally:
        for hook in hooks:
            hook.remove()
    return {n: (sums[n] / count[n]).sqrt() for n in layers}


def score_weights(
    denoiser: torch.nn.Module,
    names: list[str],
    target: dict[str, torch.Tensor],
    neutral: dict[str, torch.Tensor],
    neurons: pd.DataFrame,
) -> dict[str, torch.Tensor]:
    """|weight| x contrast of input norms (Wanda, Sun et al. 2024; contrasted as in ConceptPrune), times the neuron.

    S_ij = |W_ij| · max(0, n_j(concept) − n_j(neutral)) · (1 + r), where r is the rank in [0, 1] of
    |correlation| · sensitivity of the hidden unit that the weight writes to or reads from, within its layer.

    Args:
        names: parameter names (weights of linear layers).
        target, neutral: from ``input_norms``.

    Returns:
        Parameter name -> scores of its shape, scaled to a mean of 1 in every layer (0 where there is no contrast).
    """
    rank = {
        layer: torch.from_numpy(
            (rows.sort_values("neuron").eval("correlation.abs() * sensitivity").rank(pct=True)).to_numpy(copy=True)
        )
        for layer, rows in neurons.groupby("layer")
    }
    up = {f.up: f for f in feed_forwards(denoiser)}
    down = {f.down for f in feed_forwards(denoiser)}
    scores = {}
    for name in names:
        layer = name.removesuffix(".weight")
        weight = denoiser.get_parameter(name).detach().to("cpu", torch.float64)
        score = weight.abs() * (target[layer] - neutral[layer]).clamp_min(0)
        if layer in up:
            written = up[layer].rows_of_up(rank[up[layer].down], len(weight))
            score = score * (1 + written).view(-1, 1)
        elif layer in down:
            score = score * (1 + rank[layer]).view(1, -1)
        elif layer in rank:
            score = score * (1 + rank[layer]).view(-1, 1)
        mean = score.mean()
        scores[name] = (score / mean if mean > 0 else score).float()
    return scores
