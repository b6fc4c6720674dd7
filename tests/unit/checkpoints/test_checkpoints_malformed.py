"""Files that are whole, and whose weights cannot be meant: refused by shapes, types and headers, before a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from excise.checkpoints import check_checkpoint
from excise.errors import UserError

MODULE = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"  # 32 x 32
KOHYA = "lora_unet_" + MODULE.replace(".", "_")
ENCODER = "embeddings.token_embedding.weight"


def refused(path, spec) -> str:
    with pytest.raises(UserError) as error:
        check_checkpoint(str(path), spec)
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


# integers ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.bool])
@pytest.mark.parametrize("shape", [(32, 32), (512, 1)])  # as they are, and packed
def test_quantised_weights_are_refused(tiny_spec, tmp_path, dtype, shape):
    path = tmp_path / "x.safetensors"
    name = str(dtype).removeprefix("torch.")
    for key in (f"unet.{MODULE}.weight", f"{MODULE}.weight"):
        save_file({f"unet.{MODULE}.absmax": torch.zeros(1), key: torch.ones(shape).to(dtype)}, path)
        said = refused(path, tiny_spec)
        assert f"weights of the type {name}" in said and "quantised weights are not read: convert them" in said


def test_a_quantised_text_encoder_eraser_and_lora_are_refused(tiny_spec, tiny_model, tmp_path, make_eraser):
    path = tmp_path / "x.safetensors"
    state = tiny_model.pipe.text_encoder.state_dict()
    save_file(
        {n: (v * 9).to(torch.int8) for n, v in state.items() if n.startswith("text_model.")}
        or {f"text_model.{n}": (v * 9).to(torch.int8) for n, v in state.items()},
        path,
    )
    assert "quantised" in refused(path, tiny_spec)
    eraser = make_eraser(tiny_model)
    replace(eraser, weights={n: (w * 9).to(torch.int8) for n, w in eraser.weights.items()}).save(path)
    assert "quantised" in refused(path, tiny_spec)
    save_file(
        {
            f"unet.{MODULE}.lora_A.weight": torch.ones(2, 32),
            f"unet.{MODULE}.lora_B.weight": torch.ones(32, 2).to(torch.int8),
        },
        path,
    )
    assert "quantised" in refused(path, tiny_spec)


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16, torch.float64]
)
def test_every_type_of_fractions_is_accepted(tiny_spec, tmp_path, dtype):
    save_file({f"unet.{MODULE}.weight": torch.ones(32, 32).to(dtype)}, tmp_path / "x.safetensors")
    assert check_checkpoint(str(tmp_path / "x.safetensors"), tiny_spec) == "weights"


# LoRA ----------------------------------------------------------------------------------------------------------------
def pair(**others: torch.Tensor) -> dict[str, torch.Tensor]:
    whole = {"lora_down.weight": torch.ones(2, 32), "lora_up.weight": torch.ones(32, 2), "alpha": torch.tensor(2.0)}
    whole |= {name.replace("__", "."): value for name, value in others.items()}
    return {f"{KOHYA}.{name}": value for name, value in whole.items()}


def test_a_pair_that_is_as_it_should_be(tiny_spec, tmp_path):
    for alpha in (torch.tensor(2.0), torch.tensor([2.0]), torch.tensor(2), torch.tensor(0.0)):
        save_file(pair(alpha=alpha), tmp_path / "x.safetensors")
        assert check_checkpoint(str(tmp_path / "x.safetensors"), tiny_spec) == "lora"


@pytest.mark.parametrize("shape", [(0, 32), (2, 0), (), (2,)])
def test_what_is_no_matrix_is_no_half_of_a_pair(tiny_spec, tmp_path, shape):
    rank = shape[0] if shape else 1
    path = tmp_path / "x.safetensors"
    save_file(pair(lora_down__weight=torch.ones(shape), lora_up__weight=torch.ones(32, rank)), path)
    assert "should be a matrix of at least one row" in (said := refused(path, tiny_spec)) and KOHYA in said
    save_file(pair(lora_up__weight=torch.ones(shape)), path)
    assert "another shape than the base model's" in refused(path, tiny_spec)


@pytest.mark.parametrize("alpha", [[1.0, 2.0], [], float("nan"), float("inf")])
def test_a_strength_is_one_finite_number(tiny_spec, tmp_path, alpha):
    save_file(pair(alpha=torch.tensor(alpha)), tmp_path / "x.safetensors")
    assert f"'{KOHYA}.alpha' is not one finite number" in refused(tmp_path / "x.safetensors", tiny_spec)


PEFT = {f"unet.{MODULE}.lora_A.weight": torch.ones(2, 32), f"unet.{MODULE}.lora_B.weight": torch.ones(32, 2)}


@pytest.mark.parametrize("metadata", ["not json", "[1]", "3", "null", '["ab"]'])
def test_a_header_that_says_no_strength(tiny_spec, tmp_path, metadata):
    save_file(PEFT, tmp_path / "x.safetensors", {"lora_adapter_metadata": metadata})
    assert "'lora_adapter_metadata' in its header" in refused(tmp_path / "x.safetensors", tiny_spec)


@pytest.mark.parametrize("alpha", ["much", [2], {"a": 1}])
def test_a_header_whose_strength_is_no_number(tiny_spec, tmp_path, alpha):
    written = json.dumps({"unet.lora_alpha": alpha})
    save_file(PEFT, tmp_path / "x.safetensors", {"lora_adapter_metadata": written})
    assert "'lora_alpha' is not one finite number" in refused(tmp_path / "x.safetensors", tiny_spec)


# autoencoder ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["file", "original", "part", "folder"])
def test_an_autoencoder_alone_is_not_audited(tiny_spec, tiny_model, tmp_path, make_eraser, form):
    from excise.exports import save_single_file

    path = tmp_path / "x.safetensors"
    if form == "file":
        save_file({f"vae.{n}": v.clone() for n, v in tiny_model.pipe.vae.state_dict().items()}, path)
    elif form == "original":
        save_single_file(tiny_model, make_eraser(tiny_model), path)
        tensors = load_file(path)
        save_file({key: value for key, value in tensors.items() if key.startswith("first_stage_model.")}, path)
    else:
        path = tmp_path / "model"
        tiny_model.pipe.vae.save_pretrained(path / "vae")
        path = path / "vae" if form == "part" else path
    assert f"'{path}' holds only an autoencoder, which is not audited" in refused(path, tiny_spec)


def test_an_autoencoder_beside_a_denoiser_is_no_hindrance(tiny_spec, tiny_model, tmp_path):
    tensors = {f"vae.{n}": v.clone() for n, v in tiny_model.pipe.vae.state_dict().items()}
    save_file(tensors | {f"unet.{MODULE}.weight": torch.ones(32, 32)}, tmp_path / "x.safetensors")
    assert check_checkpoint(str(tmp_path / "x.safetensors"), tiny_spec) == "weights"
