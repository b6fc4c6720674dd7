"""Activations of two conditions side by side, at the same latents: the statistics that everything else reads."""

from __future__ import annotations

import torch

from excise.models.diffusion import DiffusionModel

from .moments import Moments
from .units import Unit, record_units

QUANTITIES = ("a", "b", "d", "absd")


@torch.no_grad()
def collect_activations(
    model: DiffusionModel,
    units: list[Unit],
    first: torch.Tensor,
    second: torch.Tensor,
    times: torch.Tensor,
    latents: torch.Tensor,
    bins: int = 1,
    batch: int = 32,
) -> dict[str, torch.Tensor]:
    """Moments of a, b, a − b and |a − b| for each neuron, where a and b are its activations under two conditions.

    A prompt is the statistical unit: its activations are averaged over space and over the timesteps of a bin before
    they are counted.

    Args:
        first, second: (n, L, d) states of the two conditions.
        times: (T,) timesteps.
        latents: (T, n, c, h, w), shown to the model under both conditions.
        bins: the timesteps are cut into this many groups of equal size, noisy to clean.

    Returns:
        For every unit and quantity ``<unit>/<a|b|d|absd>/<mean|m2>``: (bins, width) float64; and ``count`` (1,).
    """
    groups = torch.tensor_split(torch.arange(len(times)), bins)
    stats = {(u.name, q): Moments.zeros(bins, u.width) for u in units for q in QUANTITIES}
    with record_units(model.denoiser, units) as seen:
        for start in range(0, len(first), batch):
            part = slice(start, start + batch)
            both = torch.cat([first[part], second[part]])
            n = len(first[part])
            sums = {u.name: torch.zeros(2 * n, bins, u.width, dtype=torch.float64) for u in units}
            for index, group in enumerate(groups):
                for step in group.tolist():
                    shown = latents[step, part]
                    model.predict(torch.cat([shown, shown]), times[step], both)
                    for unit in units:
                        sums[unit.name][:, index] += seen[unit.name].to("cpu", torch.float64) / len(group)
            for unit in units:
                a, b = sums[unit.name].chunk(2)
                for quantity, value in zip(QUANTITIES, (a, b, a - b, (a - b).abs()), strict=True):
                    stats[unit.name, quantity].update(value)
    out = {}
    for (name, quantity), moments in stats.items():
        out[f"{name}/{quantity}/mean"], out[f"{name}/{quantity}/m2"] = moments.mean, moments.m2
    out["count"] = torch.tensor([len(first)])
    return out


def moments_of(activations: dict[str, torch.Tensor], unit: str, quantity: str) -> Moments:
    """The moments that ``collect_activations`` put under a unit's name."""
    key = f"{unit}/{quantity}"
    return Moments(int(activations["count"][0]), activations[f"{key}/mean"], activations[f"{key}/m2"])
