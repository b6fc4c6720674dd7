"""What memory a model takes at least: told from headers and configs, against what is there when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from architectures import PIXELS, make_architecture
from excise.errors import UserError
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names
from excise.models.memory import Memory, elements, least_memory, memory_here, parameter_sizes, refuse_too_large


@pytest.mark.parametrize("architecture", ["sdxl", "flux"])
def test_weights_and_training_are_those_of_the_loaded_model(architecture, tmp_path):
    folder = make_architecture(architecture, tmp_path / architecture)
    spec = ModelSpec(name=architecture, path=str(folder), device="cpu", pixels=PIXELS[architecture])
    model = DiffusionModel.load(spec)
    parts = [m for m in model.pipe.components.values() if isinstance(m, torch.nn.Module)]
    # T5 stores the table that its stack and its head share once
    held = sum(t.numel() for m in parts for t in {id(t): t for t in m.state_dict(keep_vars=True).values()}.values())
    needed = least_memory(spec, {"small": "kv", "large": "esd-x"})
    assert needed.weights == pytest.approx(4 * held, rel=0.02) and needed.trains == "large"
    trained = sum(model.denoiser.get_parameter(n).numel() for n in parameter_names(model.denoiser, "esd-x"))
    assert needed.training == 16 * trained
    assert parameter_sizes(folder) == {n: p.numel() for n, p in model.denoiser.named_parameters()}
    half = least_memory(spec.model_copy(update={"dtype": "bfloat16"}), {})
    assert half.weights == needed.weights // 2 and half.training == 0 and half.trains == ""


def test_the_group_that_is_asked_for_counts(tiny_spec):
    small, large = (least_memory(tiny_spec, {"esd": g}) for g in ("kv", "full"))
    assert 0 < small.training < large.training and small.weights == large.weights


def test_what_cannot_fit_is_refused_with_the_remedy(tiny_spec):
    needed = Memory(48_000_000_000, 20_000_000_000, "esd")
    refuse_too_large(tiny_spec, needed, 68_000_000_000)
    with pytest.raises(UserError) as caught:
        refuse_too_large(tiny_spec, needed, 67_000_000_000)
    sentence = str(caught.value)
    for part in ("68.0 GB", "67.0 GB", "48.0 GB of weights in float32", "model.dtype=bfloat16", "erasers.esd.group=kv"):
        assert part in sentence
    half = tiny_spec.model_copy(update={"dtype": "bfloat16"})
    with pytest.raises(UserError) as caught:
        refuse_too_large(half, Memory(9, 0, ""), 3)
    assert "bfloat16:" not in str(caught.value) and "model.dtype" not in str(caught.value)


def test_memory_here_is_a_number_of_bytes(tiny_spec):
    assert 10**8 < memory_here(tiny_spec) < 10**14


def test_a_damaged_file_is_one_sentence(tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="is damaged: fetch the model anew"):
        elements(tmp_path / "x.safetensors")
