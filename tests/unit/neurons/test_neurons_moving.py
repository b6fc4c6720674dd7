"""A concept's neurons found afresh: all of them in the model itself, and by hand where some were exchanged."""

from __future__ import annotations

import math

import pytest
import torch

from excise.models.layers import feed_forwards
from excise.neurons import collect_activations, find_units
from excise.neurons.moving import located
from excise.neurons.units import outgoing_norms


@pytest.fixture
def seen(tiny_model):
    latents = torch.randn(2, 3, *tiny_model.latent_shape, generator=torch.Generator().manual_seed(3))
    first, second = (tiny_model.encode(t) for t in (["a man", "a guy", "a lady"], ["a bee", "a rose", "a fish"]))
    units = find_units(tiny_model.denoiser)
    found = collect_activations(tiny_model, units, first, second, torch.tensor([700, 200]), latents)
    return found, {u.name: outgoing_norms(tiny_model.denoiser, u) for u in units}


def told(table) -> dict[str, dict]:
    return table.set_index("which").to_dict("index")


def test_in_the_model_itself_all_stayed(tiny_model, seen):
    units = find_units(tiny_model.denoiser)
    rows = told(located(units, seen, seen, 0.2, {}, tiny_model.denoiser))
    assert rows["stayed"]["neurons"] == sum(max(1, round(0.2 * u.width)) for u in units)
    assert rows["stayed"]["signal"] == pytest.approx(1)
    assert all(rows[w]["neurons"] == 0 and rows[w]["signal"] == 0 for w in ("new", "left"))
    assert all(math.isnan(row["pruned"]) for row in rows.values())


def test_what_moved_is_counted_as_by_hand(tiny_model, seen):
    """In one layer the statistics of the strongest neuron and of the weakest are exchanged, all signals doubled; the
    weights of the new one are pruned whole, half of the columns of one that stayed."""
    activations, norms = seen
    denoiser, units = tiny_model.denoiser, find_units(tiny_model.denoiser)
    unit = units[0]
    mean, m2 = (activations[f"{unit.name}/d/{what}"].mean(0) for what in ("mean", "m2"))
    order = (mean.abs() / m2.sqrt()).argsort(descending=True)
    top = order[: max(1, round(0.2 * unit.width))]
    strong, weak = int(top[0]), int(order[-1])
    after = {k: v.clone() for k, v in activations.items()}
    for what in ("mean", "m2"):
        values = after[f"{unit.name}/d/{what}"]
        values[:, [strong, weak]] = values[:, [weak, strong]]
    for u in units:
        after[f"{u.name}/d/mean"] *= 2
        after[f"{u.name}/d/m2"] *= 4

    [layer] = [f for f in feed_forwards(denoiser) if f.down == unit.name]
    up, down = (
        torch.zeros(denoiser.get_parameter(f"{n}.weight").shape, dtype=torch.bool) for n in (layer.up, layer.down)
    )
    up[[weak, weak + unit.width] if layer.gated else [weak]] = True
    down[:, weak] = True
    half = down.shape[0] // 2
    down[:half, int(top[1])] = True
    pruned = {f"{layer.up}.weight": up, f"{layer.down}.weight": down}
    rows = told(located(units, seen, (after, norms), 0.2, pruned, denoiser))

    everywhere = sum(max(1, round(0.2 * u.width)) for u in units)
    assert (rows["stayed"]["neurons"], rows["new"]["neurons"], rows["left"]["neurons"]) == (everywhere - 1, 1, 1)
    reference = 0.0
    for u in units:
        contrast = activations[f"{u.name}/d/mean"].mean(0)
        d = contrast.abs() / activations[f"{u.name}/d/m2"].mean(0).sqrt()
        chosen = d.topk(max(1, round(0.2 * u.width))).indices
        reference += float((contrast[chosen].abs() * norms[u.name][chosen]).sum())
    new = 2 * float(
        mean[strong].abs() * norms[unit.name][weak]
    )  # the strong one's contrast, read by the weak one's weights
    left = 2 * float(mean[weak].abs() * norms[unit.name][strong])
    own = float(mean[strong].abs() * norms[unit.name][strong])
    assert rows["new"]["signal"] == pytest.approx(new / reference, rel=1e-4)
    assert rows["left"]["signal"] == pytest.approx(left / reference, rel=1e-4)
    assert rows["stayed"]["signal"] == pytest.approx(2 * (reference - own) / reference, rel=1e-4)
    assert rows["new"]["pruned"] == 1 and rows["left"]["pruned"] == 0
    weights = 0  # of the neurons that stayed, in all layers: what the mask does not name is not zero
    for one in feed_forwards(denoiser):
        rows_in, columns_out = (denoiser.get_parameter(f"{n}.weight") for n in (one.up, one.down))
        each = (2 if one.gated else 1) * rows_in.shape[1] + columns_out.shape[0]
        weights += each * (max(1, round(0.2 * columns_out.shape[1])) - (one.down == unit.name))
    assert rows["stayed"]["pruned"] == pytest.approx(half / weights)
