"""Neurons of transformer blocks: of joint attention and of single-stream blocks, where weights are shared."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from architectures import PIXELS, make_architecture
from excise.erasers import Eraser
from excise.masks import PruneOptions, mask_support
from excise.masks.layout import PerNeuron
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.neurons import FFN, find_units
from excise.neurons.silence import silenced
from excise.neurons.units import VALUE, outgoing_norms

BLOCK = "single_transformer_blocks.0"


def load(name: str, folder) -> DiffusionModel:
    path = make_architecture(name, folder / name)
    return DiffusionModel.load(ModelSpec(name=name, path=str(path), device="cpu", pixels=PIXELS[name]))


@pytest.fixture(scope="module")
def flux(tmp_path_factory) -> DiffusionModel:
    return load("flux", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def sd3(tmp_path_factory) -> DiffusionModel:
    return load("sd3", tmp_path_factory.mktemp("model"))


@torch.no_grad()
def predict(model: DiffusionModel, weights: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    latents = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    return model.predict(latents, torch.tensor(500), model.encode(["a man", "a fish"]), weights)


def parts(model: DiffusionModel) -> tuple[torch.Tensor, torch.Tensor, int]:
    """A single-stream block's two projections, and how many channels of its attention come before its hidden units."""
    up, down = (model.denoiser.get_parameter(f"{BLOCK}.{name}.weight") for name in ("proj_mlp", "proj_out"))
    return up, down, down.shape[1] - up.shape[0]


def table(model: DiffusionModel, correlated: dict[str, list[int]]) -> pd.DataFrame:
    rows = [pd.DataFrame({"layer": u.name, "neuron": range(u.width)}) for u in find_units(model.denoiser)]
    chosen = [r["neuron"].isin(correlated.get(r["layer"].iloc[0], [])) for r in rows]
    return pd.concat([r.assign(correlated=c) for r, c in zip(rows, chosen, strict=True)], ignore_index=True)


def test_every_block_has_neurons(flux):
    names = [name for name, _ in flux.denoiser.named_modules()]
    blocks = {name for name in names if name.startswith(("transformer_blocks.", "single_")) and name.count(".") == 1}
    units = [u for u in find_units(flux.denoiser) if u.kind == FFN]
    assert {".".join(u.name.split(".")[:2]) for u in units} == blocks and BLOCK in blocks
    [single] = [u for u in units if u.name.startswith(BLOCK)]
    assert single.width == parts(flux)[1].shape[1]


def test_silence_of_a_hidden_unit_is_a_row_that_writes_nothing(flux):
    """The units behind the channels of attention are those that the rows of ``up`` write, in their order."""
    up, _, channels = parts(flux)
    chosen = torch.tensor([0, 7, up.shape[0] - 1])
    unit = [u for u in find_units(flux.denoiser) if u.name.startswith(BLOCK)]
    with silenced(flux.denoiser, unit, {unit[0].name: channels + chosen}):
        silent = predict(flux)
    bias = flux.denoiser.get_parameter(f"{BLOCK}.proj_mlp.bias")
    rowless = {f"{BLOCK}.proj_mlp.weight": up.index_fill(0, chosen, 0), f"{BLOCK}.proj_mlp.bias": bias}
    rowless[f"{BLOCK}.proj_mlp.bias"] = bias.index_fill(0, chosen, 0)  # GELU of 0 is 0
    torch.testing.assert_close(silent, predict(flux, rowless))
    assert not torch.allclose(silent, predict(flux), atol=1e-7)


def test_a_mask_of_correlated_neurons_is_their_rows_and_columns(flux):
    up, down, channels = parts(flux)
    support = mask_support(
        flux.denoiser,
        PruneOptions(group="ffn", neurons="correlated"),
        table(flux, {f"{BLOCK}.proj_out": [1, channels + 2, channels + 5]}),
    )
    rows, columns = torch.zeros(len(up), dtype=torch.bool), torch.zeros(down.shape[1], dtype=torch.bool)
    rows[[2, 5]] = True  # a channel of attention has a column alone
    columns[[1, channels + 2, channels + 5]] = True
    assert torch.equal(support[f"{BLOCK}.proj_mlp.weight"], rows[:, None].expand(up.shape))
    assert torch.equal(support[f"{BLOCK}.proj_out.weight"], columns.expand(down.shape))
    assert sum(int(s.sum()) for s in support.values()) == 2 * up.shape[1] + 3 * len(down)


def test_a_gate_closes_a_neuron_where_it_is_written_and_read(flux):
    up, down, channels = parts(flux)
    names = {f"{BLOCK}.proj_mlp.weight": up, f"{BLOCK}.proj_out.weight": down}
    layout = PerNeuron({n: torch.ones(w.shape, dtype=torch.bool) for n, w in names.items()}, flux.denoiser)
    assert layout.sizes == [down.shape[1]]
    gates = torch.ones(down.shape[1])
    gates[[3, channels + 4]] = 0
    written, read = layout.spread_out(gates).values()
    assert (written == 0).nonzero()[:, 0].unique().tolist() == [4] and (written == 0).sum() == up.shape[1]
    assert (read == 0).nonzero()[:, 1].unique().tolist() == [3, channels + 4] and (read == 0).sum() == 2 * len(down)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_what_reads_a_value_channel_is_both_projections_of_joint_attention(name, request):
    """Second way: all ones in one channel, and what then comes out of the projections behind it."""
    denoiser = request.getfixturevalue(name).denoiser
    values = [u for u in find_units(denoiser, True) if u.kind == VALUE]
    assert values
    both = 0
    for unit in values:
        attention = denoiser.get_submodule(unit.name.rpartition(".")[0])
        behind = [m for m in (attention.to_out[0], getattr(attention, "to_add_out", None)) if m is not None]
        both += len(behind) == 2
        one = torch.eye(unit.width)
        with torch.no_grad():
            out = [m(one) - m(torch.zeros_like(one)) for m in behind]
        expected = sum(o.pow(2).sum(1) for o in out).sqrt()
        torch.testing.assert_close(outgoing_norms(denoiser, unit), expected)
    assert both, "no projection of the prompt's own was looked at"


def test_an_eraser_with_a_mask_there_is_lifted_bit_for_bit(flux):
    up, _, _ = parts(flux)
    name = f"{BLOCK}.proj_mlp.weight"
    before, plain = up.detach().clone(), predict(flux)
    header = {"base": {"name": "flux", "sha256": flux.sha256}}
    pruned = torch.zeros(up.shape, dtype=torch.bool).index_fill_(0, torch.tensor([1]), True)
    with flux.wearing(Eraser(header, {}, {name: pruned})) as worn:
        assert not worn.denoiser.get_parameter(name)[1].any()
    assert torch.equal(flux.denoiser.get_parameter(name), before) and torch.equal(predict(flux), plain)
