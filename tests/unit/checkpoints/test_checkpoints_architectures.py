"""Checkpoints of every architecture: small random models of the real classes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from architectures import ARCHITECTURES, PIXELS, make_architecture
from excise.checkpoints import check_checkpoint, find_checkpoint, kind_of, read_checkpoint
from excise.erasers import Eraser
from excise.errors import UserError
from excise.exports import save_folder, save_weights
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.parts import ENCODERS

RUN = {"id": "run-2", "versions": {}}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(architecture, tmp_path_factory) -> DiffusionModel:
    folder = make_architecture(architecture, tmp_path_factory.mktemp("architecture") / architecture)
    return DiffusionModel.load(
        ModelSpec(name=architecture, path=str(folder), device="cpu", pixels=PIXELS[architecture])
    )


@pytest.fixture
def eraser(model) -> Eraser:
    """Something new in every part, the text encoders that only read included."""
    weights, seen = {}, set()
    for name, value in model.weights().items():
        part = name.partition(".")[0]
        part = part if part in ENCODERS else "denoiser"
        if value.ndim == 2 and part not in seen:
            seen.add(part)
            weights[name] = value + 0.1
    base = {"name": model.spec.name, "sha256": model.sha256}
    return Eraser({"method": "x", "variant": "x", "concept": "person", "base": base}, weights)


def worn(model: DiffusionModel, eraser: Eraser | None) -> dict[str, torch.Tensor]:
    with model.wearing(eraser):
        return {name: value.clone() for name, value in model.weights().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("kind", ["folder", "weights"])
def test_worn_it_is_the_model_that_was_exported(model, eraser, tmp_path, kind):
    before, expected = worn(model, None), worn(model, eraser)
    path = tmp_path / ("out" if kind == "folder" else "out.safetensors")
    {"folder": save_folder, "weights": save_weights}[kind](model, eraser, path)
    assert kind_of(find_checkpoint(path))[0] == check_checkpoint(str(path), model.spec) == kind
    audited, told = read_checkpoint(str(path), model, "person", RUN)
    assert audited.weights.keys() == eraser.weights.keys()
    assert same(worn(model, audited), expected) and same(worn(model, None), before)
    assert set(told["changed"]) >= {name for name in ENCODERS if getattr(model.pipe, name, None) is not None}


def test_below_it_lies_the_base_model_in_every_part(model, eraser):
    """Also in encoders that nothing searches: attacks that compare must not compare with the erased one."""
    before, expected = worn(model, None), worn(model, eraser)
    with model.wearing(eraser):
        with model.bare():
            assert same({n: v.clone() for n, v in model.weights().items()}, before)
        assert same({n: v.clone() for n, v in model.weights().items()}, expected)


def test_a_text_encoder_alone_goes_to_the_one_that_it_fits(model, tmp_path):
    for name in ENCODERS:
        encoder = getattr(model.pipe, name, None)
        if encoder is None:
            continue
        state = {n: p.detach().clone() for n, p in encoder.named_parameters()}
        first = next(n for n, p in state.items() if p.ndim == 2)
        state[first] += 0.1
        save_file(state, tmp_path / f"{name}.safetensors")
        audited, _ = read_checkpoint(str(tmp_path / f"{name}.safetensors"), model, "person", RUN)
        assert list(audited.weights) == [f"{name}.{first}"]


def test_another_architecture_is_refused(model, architecture, tmp_path):
    other = "sd15" if architecture != "sd15" else "flux"
    folder = make_architecture(other, tmp_path / other)
    with pytest.raises(UserError, match=r"choose the base model that it was made from|was not made from"):
        check_checkpoint(str(folder), model.spec)


def test_a_lora_of_every_linear_layer_in_both_spellings(model, tmp_path):
    """kohya's underscores and peft's dots, of the denoiser and all text encoders."""
    layers = {n: v for n, v in model.weights().items() if n.endswith(".weight") and v.ndim == 2 and "embed" not in n}
    kohya = {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_", "text_encoder_3": "lora_te3_"}
    flat, dotted = {}, {}
    for name, value in layers.items():
        part, _, own = name.partition(".")
        part, own = (part, own) if part in ENCODERS else (model.family.denoiser_part, name)
        module = own.removesuffix(".weight")
        down, up = torch.randn(2, value.shape[1]), torch.randn(len(value), 2)
        written = kohya.get(part, "lora_unet_") + module.replace(".", "_")
        flat |= {
            f"{written}.lora_down.weight": down,
            f"{written}.lora_up.weight": up,
            f"{written}.alpha": torch.tensor(1.0),
        }
        dotted |= {f"{part}.{module}.lora_A.weight": down, f"{part}.{module}.lora_B.weight": 0.5 * up}
    found = []
    for tensors in (flat, dotted):
        save_file(tensors, tmp_path / "lora.safetensors")
        assert check_checkpoint(str(tmp_path / "lora.safetensors"), model.spec) == "lora"
        found.append(read_checkpoint(str(tmp_path / "lora.safetensors"), model, "person", RUN)[0].weights)
    assert found[0].keys() == found[1].keys() == layers.keys()
    assert all(torch.allclose(value, found[1][name], atol=1e-5) for name, value in found[0].items())
