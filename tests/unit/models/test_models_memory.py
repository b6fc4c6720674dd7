"""What memory a model takes at least: told from headers and configs, against what is there when it is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from architectures import ARCHITECTURES, PIXELS, make_architecture
from excise.errors import UserError
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names
from excise.models.memory import Memory, Use, choose_settings, elements, least_memory, memory_here, refuse_too_large
from excise.models.sketch import Sketch

TRAINS = Use((("small", "kv", 2), ("large", "esd-x", 2)), drawn=2)


def spec_of(architecture: str, folder: Path) -> ModelSpec:
    where = str(make_architecture(architecture, folder / architecture))
    return ModelSpec(name=architecture, path=where, device="cpu", pixels=PIXELS[architecture])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_foretold_is_what_the_loaded_model_takes(architecture, tmp_path):
    spec = spec_of(architecture, tmp_path)
    model, sketch = DiffusionModel.load(spec), Sketch(spec)
    parts = [m for m in model.pipe.components.values() if isinstance(m, torch.nn.Module)]
    # T5 stores the table that its stack and its head share once
    held = sum(t.numel() for m in parts for t in {id(t): t for t in m.state_dict(keep_vars=True).values()}.values())
    needed = least_memory(spec, TRAINS)
    assert needed.weights == pytest.approx(4 * held, rel=0.02) and needed.trains == "large"
    names = parameter_names(model.denoiser, "esd-x")
    assert needed.training == 16 * sum(model.denoiser.get_parameter(n).numel() for n in names)

    states = model.encode(["a man", "a cat"])
    assert sketch.model.family.state_shape == states.shape[1:]
    assert needed.activations == kept(model, states, names)
    assert sketch.kept_for_backward(2, []) == kept(model, states.requires_grad_(True), [])
    assert needed.drawing >= 4 * model.initial_noise([1] * 4).numel()


def kept(model: DiffusionModel, states: torch.Tensor, trained: list[str]) -> int:
    """Bytes that a real evaluation keeps for its gradient, besides weights."""
    found, own = {}, {p.untyped_storage().data_ptr() for p in model.denoiser.parameters()}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    for name in trained:
        model.denoiser.get_parameter(name).requires_grad_(True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = model.predict(model.initial_noise([1, 2]), torch.tensor([500, 500]), states)
    model.denoiser.requires_grad_(False)
    del result
    return sum(found.values())


def test_the_group_that_is_asked_for_counts(tiny_spec):
    small, large = (least_memory(tiny_spec, Use((("esd", g, 2),))) for g in ("kv", "full"))
    assert 0 < small.training < large.training and small.weights == large.weights


def test_what_is_no_part_of_the_model_needs_no_memory(tmp_path, tiny_folder):
    """Published folders hold encoders for other programs beside it."""
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    spec = ModelSpec(name="m", path=str(folder))
    before = least_memory(spec, Use())
    shutil.copytree(folder / "text_encoder", folder / "text_encoders")
    assert least_memory(spec, Use()) == before


def test_batches_count(tiny_spec):
    few, many = (least_memory(tiny_spec, Use((("esd", "kv", n),), n, n)) for n in (2, 8))
    assert many.activations == pytest.approx(4 * few.activations, rel=0.1)
    assert many.drawing > 3 * few.drawing and few.weights == many.weights


def test_the_first_settings_that_fit_are_chosen(tmp_path):
    spec = spec_of("sd3", tmp_path).model_copy(
        update={"dtype": "auto", "gradient_checkpointing": "auto", "offload": "auto"}
    )
    assert not spec.settled
    with pytest.raises(UserError, match="are 'auto'"):
        DiffusionModel.load(spec)
    roomy, needed = choose_settings(spec, TRAINS, 10**12)
    assert (roomy.dtype, roomy.gradient_checkpointing, roomy.offload) == ("float32", False, False) and roomy.settled
    tight, least = choose_settings(spec, TRAINS, 0)  # nothing fits: the smallest is what can be refused
    assert (tight.dtype, tight.gradient_checkpointing, tight.offload) == ("bfloat16", True, True)
    assert least.total < needed.total
    offloaded, between = choose_settings(spec, TRAINS, int(1.2 * needed.total) - 1)
    assert (offloaded.dtype, offloaded.gradient_checkpointing, offloaded.offload) == ("float32", False, True)
    assert least.total < between.total < needed.total
    fixed, _ = choose_settings(spec.model_copy(update={"dtype": "float32", "offload": False}), TRAINS, 0)
    assert (fixed.dtype, fixed.gradient_checkpointing, fixed.offload) == ("float32", True, False)


def test_parts_at_rest_draw_the_same(tmp_path):
    spec = spec_of("sd3", tmp_path)
    resting = DiffusionModel.load(spec.model_copy(update={"offload": True}))
    whole = DiffusionModel.load(spec)
    pictures = [m.decode(m.sample(m.encode(["a man"]), [1], steps=2).final) for m in (whole, resting)]
    assert (pictures[0] == pictures[1]).all()
    assert set(resting.family.resting()) == {"text_encoder_3", "vae"} and resting.sha256 == whole.sha256


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: elsewhere everything rests where it works")
def test_parts_at_rest_leave_the_gpu(tmp_path):
    model = DiffusionModel.load(spec_of("sd3", tmp_path).model_copy(update={"offload": True, "device": "cuda"}))
    model.decode(model.sample(model.encode(["a man"]), [1], steps=2).final)
    assert {p.device.type for part in model.family.resting() for p in getattr(model.pipe, part).parameters()} == {"cpu"}
    assert model.device.type == "cuda"


def test_what_cannot_fit_is_refused_with_the_remedy(tiny_spec):
    needed, use = Memory(48_000_000_000, 15_000_000_000, 5_000_000_000, 1, "erasers.esd"), Use(drawn=4)
    refuse_too_large(tiny_spec, use, needed, 68_000_000_000)
    with pytest.raises(UserError) as caught:
        refuse_too_large(tiny_spec, use, needed, 67_000_000_000)
    sentence = str(caught.value)
    for part in ("68.0 GB", "67.0 GB", "48.0 GB of weights in float32", "model.dtype=bfloat16", "erasers.esd.group=kv"):
        assert part in sentence
    assert "model.gradient_checkpointing=true" in sentence and "model.offload=true" in sentence
    for attacked, advice in (
        (
            Memory(9, 9, 9, 1, "attacks.finetuning"),
            "a smaller attacks.finetuning.batch or attacks.finetuning.options.rank",
        ),
        (Memory(9, 0, 9, 1), "a smaller batch of the attack"),
    ):
        with pytest.raises(UserError, match=advice):
            refuse_too_large(tiny_spec, Use(attacked=8), attacked, 3)
    half = tiny_spec.model_copy(update={"dtype": "bfloat16"})
    with pytest.raises(UserError) as caught:
        refuse_too_large(half, use, Memory(9), 3)
    assert "model.dtype" not in str(caught.value) and "erasers" not in str(caught.value)
    with pytest.raises(UserError, match=r"draw\.batch below 4"):
        refuse_too_large(half, use, Memory(9, drawing=5), 3)


@pytest.mark.parametrize("part", ["unet", "vae", "scheduler", "tokenizer", "text_encoder"])
def test_a_model_without_one_of_its_parts_is_one_sentence(tmp_path, tiny_folder, part):
    shutil.copytree(tiny_folder, tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / part)
    with pytest.raises(UserError, match=f"cannot be put together .there is no folder '{part}'"):
        Sketch(ModelSpec(name="m", path=str(tmp_path / "m")))


@pytest.mark.parametrize(
    ("file", "text"), [("unet/config.json", "{"), ("scheduler/scheduler_config.json", "{"), ("model_index.json", "{")]
)
def test_a_damaged_description_is_one_sentence(tmp_path, tiny_folder, file, text):
    shutil.copytree(tiny_folder, tmp_path / "m")
    (tmp_path / "m" / file).write_text(text)
    with pytest.raises(UserError, match=r"fetch .* anew"):
        Sketch(ModelSpec(name="m", path=str(tmp_path / "m")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence():
    with pytest.raises(UserError, match="set it to auto or cpu"):
        memory_here(ModelSpec(name="m", path="embedded:emoji64", device="cuda"))


def test_memory_here_is_a_number_of_bytes(tiny_spec):
    assert 10**8 < memory_here(tiny_spec) < 10**14


def test_a_damaged_file_is_one_sentence(tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="is damaged: fetch the model anew"):
        elements(tmp_path / "x.safetensors")
