"""An eraser goes on, does what its file says, and comes off without a trace."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from excise.erasers import Eraser
from excise.errors import UserError
from excise.masks import Mask
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names

HEADER = {"method": "esd", "variant": "p_esd", "concept": "person", "options": {"steps": 3, "lr": 2e-4}, "seed": 5}


def make_eraser(model, rate: float = 0.3, change: float = 0.1) -> Eraser:
    """New values for the keys and values, a random mask on them and on the feed-forward layers."""
    generator = torch.Generator().manual_seed(0)
    get = model.denoiser.get_parameter
    weights = {
        n: (get(n).float() + change * torch.randn(get(n).shape, generator=generator)).to(get(n).dtype)
        for n in parameter_names(model.denoiser, "kv")
    }
    pruned = {
        n: torch.rand(get(n).shape, generator=generator) < rate for n in parameter_names(model.denoiser, "ffn+kv")
    }
    return Eraser({**HEADER, "base": {"name": "tiny", "sha256": model.sha256}}, weights, pruned)


def bits(model) -> dict[str, bytes]:
    """Every weight of the model, bit for bit."""
    parts = {"unet": model.pipe.unet, "text": model.pipe.text_encoder, "vae": model.pipe.vae}
    return {
        f"{part}.{n}": v.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for part, module in parts.items()
        for n, v in module.state_dict().items()
    }


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_lifting_restores_every_weight_bit_for_bit(tiny_spec, tiny_model, tmp_path, dtype):
    eraser = make_eraser(tiny_model)  # made in single precision, worn in either
    eraser.save(tmp_path / "eraser.safetensors")
    model = DiffusionModel.load(tiny_spec.model_copy(update={"dtype": dtype}))
    before = bits(model)
    eraser.apply(model.pipe)
    worn = bits(model)
    assert {n for n in worn if worn[n] != before[n]} == {f"unet.{n}" for n in eraser.pruned}
    Eraser.load(tmp_path / "eraser.safetensors").lift(model.pipe)  # by another object, from the file
    assert bits(model) == before
    assert not hasattr(model.denoiser, "_excise_originals")


def test_worn_weights_are_the_new_ones_with_the_pruned_at_zero(tiny_model):
    eraser = make_eraser(tiny_model)
    expected = {}
    for name in eraser.pruned:
        value = eraser.weights.get(name, tiny_model.denoiser.get_parameter(name)).detach().numpy()
        expected[name] = np.where(eraser.pruned[name].numpy(), 0, value)
    eraser.apply(tiny_model.pipe)
    for name, value in expected.items():
        np.testing.assert_array_equal(tiny_model.denoiser.get_parameter(name).detach().numpy(), value)


def test_identity_is_the_base_models_while_it_is_worn(tiny_model):
    before = tiny_model.sha256
    make_eraser(tiny_model, change=10).apply(tiny_model.pipe)
    assert tiny_model.sha256 == before


@pytest.mark.parametrize("what", ["nothing", "empty mask"])
def test_an_eraser_without_content_changes_nothing(tiny_model, what):
    eraser = make_eraser(tiny_model, rate=0.0)
    empty = Eraser(eraser.header, {}, {} if what == "nothing" else eraser.pruned)
    before = bits(tiny_model)
    with tiny_model.wearing(empty):
        assert bits(tiny_model) == before
    assert bits(tiny_model) == before


def test_it_comes_off_when_what_was_done_with_it_fails(tiny_model):
    before = bits(tiny_model)
    with pytest.raises(ZeroDivisionError), tiny_model.wearing(make_eraser(tiny_model)):
        raise ZeroDivisionError
    assert bits(tiny_model) == before


def test_wearing_two_and_lifting_none_are_refused(tiny_model):
    eraser = make_eraser(tiny_model)
    with pytest.raises(UserError, match="wears no eraser"):
        eraser.lift(tiny_model.pipe)
    before = bits(tiny_model)
    eraser.apply(tiny_model.pipe)
    with pytest.raises(UserError, match="wears an eraser already"):
        eraser.apply(tiny_model.pipe)
    eraser.lift(tiny_model.pipe)
    assert bits(tiny_model) == before


@pytest.mark.parametrize("name", ["down_blocks.9.weight", "text_encoder.nothing", "text_encoder_2.nothing"])
def test_a_parameter_that_is_not_there_is_refused_before_anything_changes(tiny_model, name):
    from dataclasses import replace

    eraser, before = make_eraser(tiny_model), bits(tiny_model)
    spoilt = replace(eraser, weights={**eraser.weights, name: torch.zeros(2)})
    with pytest.raises(UserError, match=f"'{name}', which the model does not have"), tiny_model.wearing(spoilt):
        pass
    assert bits(tiny_model) == before and not tiny_model.wears
    eraser.apply(tiny_model.pipe)
    eraser.lift(tiny_model.pipe)


def test_another_base_model_is_refused_and_left_alone(tiny_model):
    eraser = make_eraser(tiny_model)
    with torch.no_grad():
        next(tiny_model.denoiser.parameters()).neg_()
    before = bits(tiny_model)
    with pytest.raises(UserError, match="base model 'tiny'"):
        eraser.apply(tiny_model.pipe)
    assert bits(tiny_model) == before


def test_file_keeps_everything(tiny_model, tmp_path):
    eraser, path = make_eraser(tiny_model), tmp_path / "eraser.safetensors"
    eraser.save(path)
    back = Eraser.load(path)
    assert back.header == eraser.header
    for ours, theirs in ((eraser.weights, back.weights), (eraser.pruned, back.pruned)):
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert back.mask.header == {"base": eraser.header["base"], "concept": "person"}
    assert back.mask.prune_rate == eraser.mask.prune_rate > 0
    stored = sum(t.numel() * t.element_size() for t in load_file(path).values())
    assert stored == eraser.mask.nbytes + sum(w.numel() * w.element_size() for w in eraser.weights.values())


def test_its_hash_is_of_what_it_changes_and_of_nothing_else(tiny_model, tmp_path):
    from dataclasses import replace

    eraser = make_eraser(tiny_model)
    eraser.save(tmp_path / "e.safetensors")
    assert Eraser.load(tmp_path / "e.safetensors").sha256 == eraser.sha256
    assert replace(eraser, header=eraser.header | {"run": "another"}).sha256 == eraser.sha256
    name = next(iter(eraser.weights))
    others = [
        replace(eraser, weights={**eraser.weights, name: -eraser.weights[name]}),
        replace(eraser, weights={n: w for n, w in eraser.weights.items() if n != name}),
        replace(eraser, pruned={n: ~m for n, m in eraser.pruned.items()}),
    ]
    assert len({eraser.sha256, *(other.sha256 for other in others)}) == 4


def test_a_versioned_folder_gives_the_newest(tiny_model, tmp_path):
    eraser, folder = make_eraser(tiny_model), tmp_path / "eraser.safetensors"
    for version in ("2026-01-02T00.00.00", "2026-01-10T00.00.00"):
        (folder / version).mkdir(parents=True)
        Eraser({**eraser.header, "run_id": version}).save(folder / version / folder.name)
    assert Eraser.load(folder).header["run_id"] == "2026-01-10T00.00.00"


@pytest.mark.parametrize(
    "how", ["missing", "no_version", "text", "cut", "plain", "mask", "no_json", "no_base", "no_shapes", "torn", "newer"]
)
def test_what_is_no_eraser_file_is_refused_in_one_sentence(tiny_model, tmp_path, how):
    eraser, path = make_eraser(tiny_model), tmp_path / "eraser.safetensors"
    if how not in ("missing", "no_version"):
        eraser.save(path)
        tensors = load_file(path)
        header = {**eraser.header, "format": 1, "shapes": eraser.mask.shapes()}
    changed = {
        "no_base": {"base": {}},
        "newer": {"format": 99},
    }
    if how == "no_version":
        path.mkdir()
    elif how == "text":
        path.write_text("nothing in here")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    elif how == "plain":
        save_file({"w": torch.zeros(2)}, path)
    elif how == "mask":
        Mask(eraser.pruned, {}).save(path)
    elif how == "no_json":
        save_file(tensors, path, {"excise": "{"})
    elif how == "no_shapes":
        save_file(tensors, path, {"excise": json.dumps({k: v for k, v in header.items() if k != "shapes"})})
    elif how == "torn":
        save_file(
            {k: t[:1] if k.startswith("mask:") else t for k, t in tensors.items()}, path, {"excise": json.dumps(header)}
        )
    elif how in changed:
        save_file(tensors, path, {"excise": json.dumps(header | changed[how])})
    with pytest.raises(UserError) as caught:
        Eraser.load(path)
    said = str(caught.value)
    assert "eraser.safetensors" in said and said.endswith(".") and "\n" not in said


def test_joined_masks_prune_for_all_concepts_whatever_the_order(tiny_model, tmp_path):
    first = make_eraser(tiny_model)
    generator = torch.Generator().manual_seed(1)
    other = {n: torch.rand(m.shape, generator=generator) < 0.2 for n, m in list(first.pruned.items())[::2]}
    second = Eraser(first.header | {"concept": "church"}, {}, other)
    both = Eraser.join(first, second)
    assert both.header["concept"] == "person+church" and len(both.header["parts"]) == 2
    assert both.mask.count > max(first.mask.count, second.mask.count)
    before, worn = bits(tiny_model), []
    for eraser in (both, Eraser.join(second, first)):
        eraser.save(tmp_path / "both.safetensors")
        with tiny_model.wearing(Eraser.load(tmp_path / "both.safetensors")):
            worn.append(bits(tiny_model))
        assert bits(tiny_model) == before
    assert worn[0] == worn[1]
    for name, mask in other.items():  # one after the other, by hand
        value = first.weights.get(name, tiny_model.denoiser.get_parameter(name)).detach().clone()
        value[first.pruned[name]] = 0
        value[mask] = 0
        assert worn[0][f"unet.{name}"] == value.view(torch.uint8).numpy().tobytes()


def test_what_cannot_hold_together_is_not_joined(tiny_model):
    eraser = make_eraser(tiny_model)
    with pytest.raises(UserError, match=r"give '.*' new values"):
        Eraser.join(eraser, eraser)
    with pytest.raises(UserError, match="different base models"):
        Eraser.join(eraser, Eraser(HEADER | {"base": {"name": "x", "sha256": "0"}}))
    with pytest.raises(UserError, match="at least one"):
        Eraser.join()
