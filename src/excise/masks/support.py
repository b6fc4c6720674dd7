"""Which weights a mask may touch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from excise.models.layers import cross_attentions, feed_forwards, parameter_names

from .options import PruneOptions

if TYPE_CHECKING:
    import torch


def mask_support(
    denoiser: torch.nn.Module, options: PruneOptions, neurons: pd.DataFrame | None
) -> dict[str, torch.Tensor]:
    """Weights that may be pruned: parameter name -> bool of its shape.

    With ``neurons: correlated`` these are, for each concept-correlated hidden unit, the rows of the up projection
    that write to it (its gate's too) and the column of the down projection that reads it; and for each correlated
    value channel its row of the key and value projections (all rows where values were not measured).
    """
    import torch

    names = parameter_names(denoiser, options.group)
    if options.neurons == "all":
        return {n: torch.ones_like(denoiser.get_parameter(n), dtype=torch.bool, device="cpu") for n in names}
    assert neurons is not None
    chosen = {
        layer: torch.from_numpy(rows.sort_values("neuron")["correlated"].to_numpy(dtype=bool, copy=True))
        for layer, rows in neurons.groupby("layer")
    }
    support = {}
    for f in feed_forwards(denoiser):
        hidden = chosen[f.down]
        for name, view in ((f"{f.up}.weight", (-1, 1)), (f"{f.down}.weight", (1, -1))):
            if name in names:
                shape = denoiser.get_parameter(name).shape
                lines = f.rows_of_up(hidden, shape[0]) if name.startswith(f.up) else hidden
                support[name] = lines.view(view).expand(shape).clone()
    for c in cross_attentions(denoiser):
        for name in (f"{c.key}.weight", f"{c.value}.weight"):
            if name in names:
                shape = denoiser.get_parameter(name).shape
                rows = chosen.get(c.value, torch.ones(shape[0], dtype=torch.bool))
                support[name] = rows.view(-1, 1).expand(shape).clone()
    return support
