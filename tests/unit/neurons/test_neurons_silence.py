"""Silenced neurons are zero, nothing else is touched, and the control is as large."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from excise.erasers import Eraser
from excise.models.layers import cross_attentions, feed_forwards
from excise.neurons import find_units, mask_of_neurons, random_neurons, silenced, top_neurons


def table(units) -> pd.DataFrame:
    generator = torch.Generator().manual_seed(0)
    rows = [
        {"layer": u.name, "neuron": i, "correlation": float(c)}
        for u in units
        for i, c in enumerate(torch.randn(u.width, generator=generator))
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def predict(model):
    latents = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.predict(latents, torch.tensor(500), model.encode(["a man", "a fish"]))


@pytest.mark.parametrize("values", [False, True])
def test_silence_equals_weights_of_zero(tiny_model, values):
    """Second way: no weight reads the neurons, or none writes them."""
    units = find_units(tiny_model.denoiser, values)
    chosen = top_neurons(table(units), 0.2)
    with silenced(tiny_model.denoiser, units, chosen):
        hushed = predict(tiny_model)
    before = predict(tiny_model)
    downs = {f.down for f in feed_forwards(tiny_model.denoiser)}
    with torch.no_grad():
        for layer, index in chosen.items():
            weight = tiny_model.denoiser.get_parameter(f"{layer}.weight")
            weight[:, index] = 0 if layer in downs else weight[:, index]
            if layer not in downs:
                weight[index] = 0
    torch.testing.assert_close(predict(tiny_model), hushed)
    assert not torch.allclose(before, hushed, atol=1e-4)


@pytest.mark.parametrize("values", [False, True])
def test_silence_is_a_mask_that_lifts(tiny_model, values):
    units = find_units(tiny_model.denoiser, values)
    chosen, before = top_neurons(table(units), 0.2), predict(tiny_model)
    with silenced(tiny_model.denoiser, units, chosen):
        hushed = predict(tiny_model)
    mask = mask_of_neurons(units, chosen, tiny_model.denoiser)
    with tiny_model.wearing(Eraser({"base": {"name": "tiny", "sha256": tiny_model.sha256}}, {}, mask)):
        torch.testing.assert_close(predict(tiny_model), hushed)
    assert torch.equal(predict(tiny_model), before)


def test_no_hook_stays_behind(tiny_model):
    units, before = find_units(tiny_model.denoiser, True), predict(tiny_model)
    with pytest.raises(KeyboardInterrupt), silenced(tiny_model.denoiser, units, top_neurons(table(units), 0.5)):
        raise KeyboardInterrupt
    assert torch.equal(predict(tiny_model), before)


def test_the_control_is_as_large_and_shares_nothing(tiny_model):
    neurons = table(find_units(tiny_model.denoiser))
    chosen = top_neurons(neurons, 0.1)
    control, again = (random_neurons(neurons, chosen, 3) for _ in "ab")
    for layer, index in chosen.items():
        assert len(control[layer]) == len(index) and not set(control[layer].tolist()) & set(index.tolist())
        assert torch.equal(control[layer], again[layer])
        rows = neurons[neurons["layer"] == layer].set_index("neuron")["correlation"].abs()
        assert rows[index.tolist()].min() >= rows.drop(index.tolist()).max()


@pytest.fixture(scope="module")
def mmdit():
    """A tiny untrained Stable Diffusion 3 transformer."""
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pooled_projection_dim=16,
        out_channels=4,
    ).eval()


def test_units_of_a_transformer_with_joint_attention(mmdit):
    """Two blocks: each has a feed-forward part for the picture, all but the last one for the prompt too."""
    units = find_units(mmdit, values=True)
    assert [u.width for u in units if u.kind == "ffn"] == [64, 64, 64]
    assert [c.value for c in cross_attentions(mmdit)] == [f"transformer_blocks.{i}.attn.add_v_proj" for i in range(2)]
    arguments = {
        "hidden_states": torch.randn(1, 4, 8, 8),
        "encoder_hidden_states": torch.randn(1, 5, 16),
        "pooled_projections": torch.randn(1, 16),
        "timestep": torch.tensor([500]),
    }
    with torch.no_grad():
        before = mmdit(**arguments).sample
        for unit in units:
            with silenced(mmdit, [unit], {unit.name: torch.arange(unit.width)}):
                assert not torch.equal(mmdit(**arguments).sample, before), unit.name
        assert torch.equal(mmdit(**arguments).sample, before)


def test_a_value_channel_with_a_bias_is_silent_without_it(mmdit):
    """Second way: the weights that the mask names are set to zero by hand."""
    [unit] = [u for u in find_units(mmdit, values=True) if u.kind == "value"][:1]
    chosen = {unit.name: torch.tensor([1, 5])}
    mask = mask_of_neurons([unit], chosen, mmdit)
    assert set(mask) == {f"{unit.name}.weight", f"{unit.name}.bias"}
    module, x = mmdit.get_submodule(unit.name), torch.randn(3, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), silenced(mmdit, [unit], chosen):
        hushed = module(x)
    by_hand = x @ (module.weight * ~mask[f"{unit.name}.weight"]).T + module.bias * ~mask[f"{unit.name}.bias"]
    torch.testing.assert_close(by_hand, hushed)
    assert (hushed[:, [1, 5]] == 0).all() and (hushed[:, [0, 2]] != 0).all()
