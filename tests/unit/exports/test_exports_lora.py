"""A LoRA is the best of its rank, says how far off it is, and diffusers reads it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from excise.errors import UserError
from excise.exports import save_lora
from excise.exports.lora import fit_lora, kohya_name, layers_of, low_rank
from excise.exports.weights import worn_pairs

FULL = 10_000  # more than any layer has


def differences(model, eraser) -> dict[str, np.ndarray]:
    return {n: (b.double() - a.double()).numpy() for n, (a, b) in worn_pairs(model, eraser).items()}


def rebuilt(tensors: dict[str, torch.Tensor], name: str) -> np.ndarray:
    """alpha / rank times up times down, by einsum over the convolution's places."""
    module = kohya_name(name)
    up, down, alpha = (
        tensors[f"{module}.{k}"].double().numpy() for k in ("lora_up.weight", "lora_down.weight", "alpha")
    )
    return float(alpha) / down.shape[0] * np.einsum("or,r...->o...", up.reshape(up.shape[0], -1), down)


def test_of_full_rank_it_is_the_difference(tiny_model, tmp_path, make_eraser, bits):
    eraser, before = make_eraser(tiny_model), bits(tiny_model.pipe)
    fit = save_lora(tiny_model, eraser, tmp_path / "lora.safetensors", FULL, "float32")
    assert bits(tiny_model.pipe) == before and not tiny_model.wears
    tensors, expected = load_file(tmp_path / "lora.safetensors"), differences(tiny_model, eraser)
    assert set(fit.errors) | set(fit.left_out) == set(expected)
    for name in fit.errors:
        np.testing.assert_allclose(rebuilt(tensors, name), expected[name], rtol=0, atol=1e-5)
    assert max(fit.errors.values()) < 1e-5 and len(tensors) == 3 * len(fit.errors)


@pytest.mark.parametrize("rank", [0, 1, 4])
def test_its_error_is_what_the_singular_values_say(tiny_model, make_eraser, rank):
    """Eckart and Young: what is missed is the norm of the singular values that are left out. Here by numpy."""
    eraser = make_eraser(tiny_model)
    fit = fit_lora(worn_pairs(tiny_model, eraser), layers_of(tiny_model), rank, torch.float32)
    missed = whole = 0.0
    for name, difference in differences(tiny_model, eraser).items():
        whole += (difference**2).sum()
        if name in fit.left_out:
            missed += (difference**2).sum()
            continue
        values = np.linalg.svd(difference.reshape(len(difference), -1), compute_uv=False)
        missed += (values[rank:] ** 2).sum()
        told = fit.errors[name]
        assert told == pytest.approx(np.sqrt((values[rank:] ** 2).sum() / (values**2).sum()), abs=1e-5)
    assert fit.error == pytest.approx(np.sqrt(missed / whole), abs=1e-5)
    assert fit.worst[1] == max(fit.errors.values())
    assert fit.error == 1 if rank == 0 else 0 < fit.error < 1


def test_no_other_pair_of_that_rank_is_nearer(tiny_model, make_eraser):
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(12, 20, generator=generator)
    up, down = low_rank(matrix, 3)
    assert up.shape == (12, 3) and down.shape == (3, 20)
    best = (matrix - up @ down).norm()
    for _ in range(20):
        off = 0.05 * torch.randn(up.shape, generator=generator)
        assert (matrix - (up + off) @ down).norm() > best


def test_what_is_no_matrix_is_named_and_counts_as_missed(tiny_model, tmp_path, make_eraser):
    eraser = make_eraser(tiny_model)
    fit = save_lora(tiny_model, eraser, tmp_path / "lora.safetensors", FULL, "float32")
    assert sorted(fit.left_out) == [
        "text_encoder.embeddings.token_embedding.weight",
        "text_encoder.encoder.layers.0.mlp.fc1.bias",
        "time_embedding.linear_1.bias",
    ]
    parts = differences(tiny_model, eraser)
    lost = sum((parts[name] ** 2).sum() for name in fit.left_out) / sum((d**2).sum() for d in parts.values())
    assert fit.error == pytest.approx(np.sqrt(lost), abs=1e-5) and fit.error > 0.1
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        told = json.loads(file.metadata()["excise_lora"])
    assert told["left_out"] == 3 and told["relative_error"] == pytest.approx(fit.error, abs=1e-6)


def test_its_error_counts_what_rounding_takes_away(tiny_model, make_eraser):
    pairs, layers = worn_pairs(tiny_model, make_eraser(tiny_model, encoder=False)), layers_of(tiny_model)
    exact, half = (fit_lora(pairs, layers, FULL, dtype) for dtype in (torch.float32, torch.float16))
    name = "conv_in.weight"
    assert exact.errors[name] < 1e-5 < 1e-4 < half.errors[name] < 1e-3
    kinds = {key.rpartition(".")[2]: tensor.dtype for key, tensor in half.tensors.items()}
    assert kinds == {"weight": torch.float16, "alpha": torch.float32}


def test_a_strength_is_a_whole_number_in_every_precision():
    pairs = {"a.weight": (torch.zeros(300, 300), torch.randn(300, 300))}
    fit = fit_lora(pairs, set(pairs), 257, torch.bfloat16)  # which would make 256 of it
    assert fit.tensors["lora_unet_a.alpha"].item() == len(fit.tensors["lora_unet_a.lora_down.weight"]) == 257


def test_layers_that_its_names_do_not_tell_apart_are_left_out(tiny_model):
    tiny_model.pipe.unet.add_embedding = torch.nn.ModuleDict({"linear_1": torch.nn.Linear(2, 2)})
    assert "conv_in.weight" in layers_of(tiny_model)
    assert not [name for name in layers_of(tiny_model) if name.startswith("add_embedding")]


def test_a_mask_has_no_low_rank(tiny_model, make_eraser):
    """The very zeros at random places that a mask makes: a few singular vectors come nowhere near them."""
    from dataclasses import replace

    eraser = make_eraser(tiny_model, rate=0.2)
    zeros = replace(eraser, weights={})
    fit = fit_lora(worn_pairs(tiny_model, zeros), layers_of(tiny_model), 4, torch.float32)
    assert not fit.left_out and fit.error > 0.5


def test_an_eraser_without_matrices_has_no_lora(tiny_model, tmp_path, make_eraser):
    from dataclasses import replace

    eraser = make_eraser(tiny_model)
    name = "time_embedding.linear_1.bias"
    bias = replace(eraser, weights={name: eraser.weights[name]}, pruned={})
    with pytest.raises(UserError, match="nothing for a LoRA to carry"):
        save_lora(tiny_model, bias, tmp_path / "x.safetensors", 4, "float32")


def test_diffusers_knows_every_name(tiny_model, tmp_path, make_eraser):
    """Its own reading of kohya's format, down to the names of the modules that peft will look for."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import (
        convert_state_dict_to_diffusers,
        convert_state_dict_to_peft,
        convert_unet_state_dict_to_peft,
    )

    # every linear layer and convolution of both parts
    base = tiny_model.weights()
    pairs = {name: (base[name], base[name] + torch.randn(base[name].shape)) for name in layers_of(tiny_model)}
    fit = fit_lora(pairs, layers_of(tiny_model), 2, torch.float32)
    state, alphas = StableDiffusionPipeline.lora_state_dict(dict(fit.tensors), unet_config=tiny_model.pipe.unet.config)
    assert len(alphas) == len(pairs)
    parts = {p: {k.removeprefix(f"{p}."): v for k, v in state.items() if k.startswith(f"{p}.")} for p in PARTS}
    read = {
        "unet": convert_unet_state_dict_to_peft(parts["unet"]),
        "text_encoder": convert_state_dict_to_peft(convert_state_dict_to_diffusers(parts["text_encoder"])),
    }
    found = {}
    for part, tensors in read.items():
        for key, down in tensors.items():
            if key.endswith(".lora_A.weight"):
                module = key.removesuffix(".lora_A.weight").removeprefix("text_model.")
                name = f"{module}.weight" if part == "unet" else f"text_encoder.{module}.weight"
                found[name] = (down, tensors[key.replace("lora_A", "lora_B")])
    assert found.keys() == pairs.keys()
    for name, (down, up) in found.items():
        module = kohya_name(name)
        assert torch.equal(down, fit.tensors[f"{module}.lora_down.weight"]), name
        assert torch.equal(up, fit.tensors[f"{module}.lora_up.weight"]), name


PARTS = ("unet", "text_encoder")


def test_a_pipeline_that_loads_it_is_the_erased_one(tiny_spec, tiny_model, tmp_path, make_eraser):
    """With peft, which excise does not need itself."""
    from excise.models.diffusion import DiffusionModel

    eraser = make_eraser(tiny_model)
    fit = save_lora(tiny_model, eraser, tmp_path / "lora.safetensors", FULL, "float32")
    pipe = DiffusionModel.load(tiny_spec).pipe
    pipe.load_lora_weights(str(tmp_path), weight_name="lora.safetensors")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    expected = worn_pairs(tiny_model, eraser)
    for name in fit.errors:
        part, _, own = name.partition(".")
        parameter = (pipe.text_encoder if part == "text_encoder" else pipe.unet).get_parameter(
            own if part == "text_encoder" else name
        )
        torch.testing.assert_close(parameter.detach(), expected[name][1], rtol=0, atol=1e-4)
