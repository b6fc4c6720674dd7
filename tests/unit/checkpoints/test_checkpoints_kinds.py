"""Each kind of checkpoint, worn, is the erased model that it was exported from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from excise.checkpoints import find_checkpoint, kind_of, read_checkpoint
from excise.checkpoints.read import same_values
from excise.erasers import Eraser
from excise.errors import UserError
from excise.exports import save_folder, save_lora, save_mask, save_single_file, save_weights
from excise.exports.weights import worn_pairs
from excise.models.diffusion import DiffusionModel

RUN = {"id": "run-2", "versions": {"torch": "2"}}


def load(spec, dtype: str, path=None) -> DiffusionModel:
    return DiffusionModel.load(spec.model_copy(update={"dtype": dtype} | ({"path": str(path)} if path else {})))


def read(path: Path, model: DiffusionModel):
    return read_checkpoint(str(path), model, "person", RUN)


WRITERS = {
    "folder": lambda model, eraser, path: save_folder(model, eraser, path),
    "weights": lambda model, eraser, path: save_weights(model, eraser, path),
    "single_file": lambda model, eraser, path: save_single_file(model, eraser, path),
    "eraser": lambda model, eraser, path: eraser.save(path),
}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("kind", WRITERS)
def test_worn_it_is_the_model_that_was_exported_bit_for_bit(tiny_spec, tmp_path, make_eraser, bits, kind, dtype):
    model = load(tiny_spec, dtype)
    eraser, before = make_eraser(model), bits(model.pipe)
    path = tmp_path / ("out" if kind == "folder" else "out.safetensors")
    WRITERS[kind](model, eraser, path)
    assert kind_of(find_checkpoint(path))[0] == kind
    audited, told = read(path, model)
    assert bits(model.pipe) == before and not model.wears
    with model.wearing(eraser):
        expected = bits(model.pipe)
    assert expected != before
    with model.wearing(audited):
        assert bits(model.pipe) == expected
    assert bits(model.pipe) == before
    assert told["kind"] == kind and told["name"] == path.name and len(told["sha256"]) == 64
    changed = {*eraser.weights, *eraser.pruned}
    assert sum(told["changed"].values()) == len(changed) and told["changed"]["text_encoder"] == 3
    assert audited.header["variant"] == "audited" and audited.header["base"]["sha256"] == model.sha256
    if kind in ("folder", "single_file"):  # all was looked at, and what is not changed is no part of the eraser
        assert sum(told["compared"].values()) == len(model.weights())
        assert audited.weights.keys() == changed


def test_a_mask_alone_sets_its_zeros_and_nothing_else(tiny_model, tmp_path, make_eraser, bits):
    eraser = make_eraser(tiny_model)
    save_mask(eraser, tmp_path / "mask.safetensors")
    name, kind = kind_of(checkpoint := find_checkpoint(tmp_path / "mask.safetensors"))
    assert name == "mask" and kind.masks(checkpoint)
    audited, told = read(tmp_path / "mask.safetensors", tiny_model)
    with tiny_model.wearing(replace(eraser, weights={})):
        expected = bits(tiny_model.pipe)
    with tiny_model.wearing(audited):
        assert bits(tiny_model.pipe) == expected
    assert any("not part of this" in note for note in told["notes"])


def test_which_kinds_say_what_a_mask_set_to_zero(tiny_model, tmp_path, make_eraser):
    eraser = make_eraser(tiny_model)
    for masked, name in ((True, "a"), (False, "b")):
        (eraser if masked else replace(eraser, pruned={})).save(tmp_path / f"{name}.safetensors")
        checkpoint = find_checkpoint(tmp_path / f"{name}.safetensors")
        assert kind_of(checkpoint)[1].masks(checkpoint) == masked


@pytest.mark.parametrize("halves", [True, False])
def test_files_in_halves_are_told_from_the_base_model_by_what_was_changed_alone(
    tiny_spec, tmp_path, make_eraser, bits, halves
):
    """A base model in single precision, a folder in halves; and the other way round."""
    fine, coarse = load(tiny_spec, "float32"), load(tiny_spec, "float16")
    eraser = make_eraser(fine)
    save_folder(coarse if halves else fine, eraser, tmp_path / "out")
    audited, _ = read(tmp_path / "out", fine if halves else coarse)
    assert audited.weights.keys() == {*eraser.weights, *eraser.pruned}
    with coarse.wearing(eraser):
        expected = bits(coarse.pipe)
    with coarse.wearing(audited):
        assert bits(coarse.pipe) == expected


def test_two_roundings_of_one_number_are_the_same_and_a_change_is_not():
    numbers = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    for one in kinds:
        for other in kinds:
            assert same_values(numbers.to(one), numbers.to(other)), (one, other)
            assert not same_values(numbers.to(one), (numbers * 1.05).to(other)), (one, other)
    assert not same_values(numbers, numbers.nextafter(torch.tensor(9.0)))


def test_eight_bits_are_read_as_they_are(tiny_model, tmp_path, make_eraser):
    """As ComfyUI keeps large models; what is the base model's, rounded so far, is the base model's."""
    eraser = make_eraser(tiny_model, rate=0)
    new = {n: w for n, w in eraser.weights.items() if n.endswith("attn2.to_k.weight")}
    base = {n: w for n, w in tiny_model.weights().items() if n.endswith("attn2.to_v.weight")}
    eight = {n: w.to(torch.float8_e4m3fn) for n, w in {**new, **base}.items()}
    save_file({f"unet.{n}": w.contiguous() for n, w in eight.items()}, tmp_path / "eight.safetensors")
    audited, told = read(tmp_path / "eight.safetensors", tiny_model)
    assert audited.weights.keys() == new.keys() and sum(told["compared"].values()) == len(new) + len(base) > len(new)
    with tiny_model.wearing(audited):
        worn = tiny_model.weights()
        assert all(torch.equal(worn[n], eight[n].float()) for n in new)
    audited.save(tmp_path / "eraser.safetensors")
    again = Eraser.load(tmp_path / "eraser.safetensors")
    assert all(torch.equal(again.weights[n], eight[n].float()) for n in new)


@pytest.mark.parametrize("name", ["eraser", "mask"])
def test_the_folder_of_one_version_is_what_lies_in_it(tiny_model, tmp_path, make_eraser, name):
    eraser, folder = make_eraser(tiny_model), tmp_path / f"{name}.safetensors/2026-01-01"
    folder.mkdir(parents=True)
    if name == "eraser":
        eraser.save(folder / "eraser.safetensors")
    else:
        save_mask(eraser, folder / "mask.safetensors")
    audited, told = read(folder, tiny_model)
    assert told["kind"] == name and audited.pruned.keys() == eraser.pruned.keys()


# other people's names ------------------------------------------------------------------------------------------------
def test_bare_names_of_the_unet_as_esd_is_released(tiny_model, tmp_path, make_eraser, bits):
    eraser = make_eraser(tiny_model, encoder=False)
    save_weights(tiny_model, eraser, tmp_path / "a.safetensors")
    bare = {name.removeprefix("unet."): value for name, value in load_file(tmp_path / "a.safetensors").items()}
    save_file(bare, tmp_path / "esd.safetensors")
    assert kind_of(find_checkpoint(tmp_path / "esd.safetensors"))[0] == "weights"
    audited, _ = read(tmp_path / "esd.safetensors", tiny_model)
    with tiny_model.wearing(eraser):
        expected = bits(tiny_model.pipe)
    with tiny_model.wearing(audited):
        assert bits(tiny_model.pipe) == expected


@pytest.mark.parametrize("form", ["file", "wrapped", "folder"])
def test_a_text_encoder_alone_as_advunlearn_is_released(tiny_model, tmp_path, make_eraser, bits, form):
    eraser = make_eraser(tiny_model)
    only = {n: w for n, w in eraser.weights.items() if n.startswith("text_encoder.")}
    eraser = replace(eraser, weights=only, pruned={})
    path = tmp_path / "encoder.safetensors"
    with tiny_model.wearing(eraser):
        expected = bits(tiny_model.pipe)
        if form == "folder":
            path = tmp_path / "encoder"
            tiny_model.pipe.text_encoder.save_pretrained(path)
        else:
            prefix = "text_model." if form == "wrapped" else ""
            state = tiny_model.pipe.text_encoder.state_dict()
            own = {prefix + n.removeprefix("text_model."): v.clone() for n, v in state.items()}
            save_file(own | {"text_model.embeddings.position_ids": torch.arange(7)}, path)
    assert kind_of(find_checkpoint(path))[0] == ("folder" if form == "folder" else "text_encoder")
    audited, told = read(path, tiny_model)
    assert audited.weights.keys() == only.keys() and told["changed"] == {"text_encoder": 3}
    with tiny_model.wearing(audited):
        assert bits(tiny_model.pipe) == expected


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_folder_with_one_part_alone(tiny_model, tmp_path, make_eraser, part):
    eraser = make_eraser(tiny_model)
    save_folder(tiny_model, eraser, tmp_path / "out")
    whole, _ = read(tmp_path / "out", tiny_model)
    own, told = read(tmp_path / "out" / part, tiny_model)
    assert list(told["changed"]) == [part]
    assert own.weights.keys() == {n for n in whole.weights if n.startswith("text_encoder.") == (part == "text_encoder")}
    assert all(torch.equal(value, whole.weights[name]) for name, value in own.weights.items())


def test_shards_are_one_checkpoint(tiny_model, tmp_path, make_eraser):
    eraser = make_eraser(tiny_model)
    save_folder(tiny_model, eraser, tmp_path / "out")
    whole, _ = read(tmp_path / "out", tiny_model)
    with tiny_model.wearing(eraser):
        tiny_model.pipe.unet.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    found, _ = read(tmp_path / "shards", tiny_model)
    assert all(torch.equal(value, whole.weights[name]) for name, value in found.weights.items())


def test_another_autoencoder_is_said_and_not_used(tiny_model, tmp_path, make_eraser):
    eraser = make_eraser(tiny_model)
    save_folder(tiny_model, eraser, tmp_path / "out")
    assert not any("autoencoder" in note for note in read(tmp_path / "out", tiny_model)[1]["notes"])
    with torch.no_grad():
        next(tiny_model.pipe.vae.parameters()).add_(1)
    assert any("autoencoder is not the base model's" in note for note in read(tmp_path / "out", tiny_model)[1]["notes"])


# LoRA ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rank", [4, 10_000])
def test_a_lora_is_as_far_off_as_its_export_says(tiny_model, tmp_path, make_eraser, rank):
    eraser = make_eraser(tiny_model)
    fit = save_lora(tiny_model, eraser, tmp_path / "lora.safetensors", rank, "float32")
    assert kind_of(find_checkpoint(tmp_path / "lora.safetensors"))[0] == "lora"
    audited, told = read(tmp_path / "lora.safetensors", tiny_model)
    missed = whole = 0.0
    for name, (before, after) in worn_pairs(tiny_model, eraser).items():
        whole += float((after - before).double().pow(2).sum())
        missed += float((after - audited.weights.get(name, before)).double().pow(2).sum())
    assert (missed / whole) ** 0.5 == pytest.approx(fit.error, abs=1e-4)
    assert set(audited.weights) == set(fit.errors) and sum(told["changed"].values()) == len(fit.errors)


SPELLINGS = {
    "peft": ("{}.lora_A.weight", "{}.lora_B.weight"),
    "comfy": ("{}.lora_A.weight", "{}.lora_B.weight"),
    "diffusers": ("{}.lora.down.weight", "{}.lora.up.weight"),
    "processors": ("{}_lora.down.weight", "{}_lora.up.weight"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lora_is_the_same_in_every_spelling(tiny_model, tmp_path, make_eraser, spelling):
    save_lora(tiny_model, make_eraser(tiny_model, encoder=False), tmp_path / "a.safetensors", 3, "float32")
    expected, _ = read(tmp_path / "a.safetensors", tiny_model)
    stored = load_file(tmp_path / "a.safetensors")
    tensors = {}
    for name in expected.weights:
        module = name.removesuffix(".weight")
        flat = "lora_unet_" + module.replace(".", "_")
        written = f"unet.{module}"
        if spelling == "comfy":
            written = f"diffusion_model.{module}"
        if spelling == "processors":
            written = written.replace("attn2.", "attn2.processor.")
        for pattern, side in zip(SPELLINGS[spelling], ("down", "up"), strict=True):
            tensors[pattern.format(written)] = stored[f"{flat}.lora_{side}.weight"]
    save_file(tensors, tmp_path / "b.safetensors")
    found, _ = read(tmp_path / "b.safetensors", tiny_model)
    assert found.weights.keys() == expected.weights.keys()
    assert all(torch.equal(value, expected.weights[name]) for name, value in found.weights.items())


def test_alpha_is_a_strength_wherever_it_is_said(tiny_model, tmp_path):
    name = next(n for n in tiny_model.weights() if n.endswith("attn2.to_k.weight")).removesuffix(".weight")
    base = tiny_model.weights()[f"{name}.weight"]
    up, down = torch.randn(len(base), 4), torch.randn(4, base.shape[1])
    pair = {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    kohya = "lora_unet_" + name.replace(".", "_")
    save_file(
        {f"{kohya}.lora_down.weight": down, f"{kohya}.lora_up.weight": up, f"{kohya}.alpha": torch.tensor(2.0)},
        tmp_path / "kohya.safetensors",
    )
    save_file(pair, tmp_path / "header.safetensors", {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 2})})
    (tmp_path / "adapter").mkdir()
    save_file(pair, tmp_path / "adapter/adapter_model.safetensors")
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps({"lora_alpha": 2, "r": 4}))
    save_file(pair, tmp_path / "plain.safetensors")
    for path, scale in (
        ("kohya.safetensors", 0.5),
        ("header.safetensors", 0.5),
        ("adapter", 0.5),
        ("adapter/adapter_model.safetensors", 0.5),
        ("plain.safetensors", 1),
    ):
        [value] = read(tmp_path / path, tiny_model)[0].weights.values()
        torch.testing.assert_close(value, base + scale * up @ down, rtol=1e-5, atol=1e-5)
        [note] = read(tmp_path / path, tiny_model)[1]["notes"]
        assert note.startswith("It was merged at full strength") and ("does not say" in note) == (scale == 1)
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps({"lora_alpha": 0, "r": 4}))
    with pytest.raises(UserError, match="changes nothing"):  # nothing times a difference
        read(tmp_path / "adapter", tiny_model)
