"""An export is the erased model: the same bits, the same pictures, and a base model that nobody touched."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from excise.errors import UserError
from excise.exports import (
    FORMATS,
    ExportOptions,
    choose_formats,
    ldm_names,
    save_folder,
    save_mask,
    save_single_file,
    save_weights,
)
from excise.exports.single_file import ldm_tensors
from excise.masks import Mask
from excise.models.diffusion import DiffusionModel

DTYPES = ["float16", "float32"]


def load(spec, dtype: str, path=None) -> DiffusionModel:
    return DiffusionModel.load(spec.model_copy(update={"dtype": dtype} | ({"path": str(path)} if path else {})))


def draw(model: DiffusionModel) -> np.ndarray:
    return model.decode(model.sample(model.encode(["a man on a blue background"]), [3], steps=3).final)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_folder_is_the_base_model_wearing_the_eraser(tiny_spec, tmp_path, make_eraser, bits, dtype):
    model = load(tiny_spec, dtype)
    eraser, before, plain = make_eraser(model), bits(model.pipe), draw(model)
    save_folder(model, eraser, tmp_path / "out")
    assert bits(model.pipe) == before and not model.wears
    other = load(tiny_spec, dtype, tmp_path / "out")
    with model.wearing(eraser):
        assert bits(other.pipe) == bits(model.pipe)
        expected = draw(model)
    np.testing.assert_array_equal(draw(other), expected)
    assert not np.array_equal(expected, plain)


def test_the_folder_opens_in_one_precision_and_names_no_place_of_this_machine(tiny_spec, tmp_path, make_eraser):
    from diffusers import DiffusionPipeline

    model = load(tiny_spec, "float16")
    save_folder(model, make_eraser(model), tmp_path / "out")
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "out", local_files_only=True)
    assert pipe.unet.dtype == pipe.text_encoder.dtype == pipe.vae.dtype == torch.float32
    texts = [p for p in (tmp_path / "out").rglob("*") if p.suffix in (".json", ".txt")]
    assert texts and not [p for p in texts if str(tiny_spec.folder) in p.read_text()]
    assert not [p for p in (tmp_path / "out").rglob("*") if p.suffix in (".bin", ".pt", ".ckpt", ".pkl")]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_changed_weights_make_the_base_model_the_erased_one(tiny_spec, tmp_path, make_eraser, bits, dtype):
    model, base = load(tiny_spec, dtype), load(tiny_spec, dtype)
    eraser, before = make_eraser(model), bits(model.pipe)
    count = save_weights(model, eraser, tmp_path / "changed.safetensors")
    assert bits(model.pipe) == before and not model.wears
    changed = load_file(tmp_path / "changed.safetensors")
    assert len(changed) == count == len({*eraser.weights, *eraser.pruned})
    for part in ("unet", "text_encoder"):
        own = {n.removeprefix(f"{part}."): v for n, v in changed.items() if n.startswith(f"{part}.")}
        assert own and not getattr(base.pipe, part).load_state_dict(own, strict=False).unexpected_keys
    with model.wearing(eraser):
        assert bits(base.pipe) == bits(model.pipe)


def test_what_stays_as_it_was_is_no_changed_weight(tiny_model, tmp_path, make_eraser):
    from dataclasses import replace

    eraser = make_eraser(tiny_model)
    name = "conv_in.weight"
    same = replace(eraser, weights={**eraser.weights, name: tiny_model.weights()[name].clone()})
    all_of_it = save_weights(tiny_model, eraser, tmp_path / "a.safetensors")
    assert save_weights(tiny_model, same, tmp_path / "b.safetensors") == all_of_it - 1
    assert f"unet.{name}" not in load_file(tmp_path / "b.safetensors")


def test_files_say_where_they_come_from(tiny_model, tmp_path, make_eraser):
    eraser = make_eraser(tiny_model)
    save_weights(tiny_model, eraser, tmp_path / "changed.safetensors")
    save_single_file(tiny_model, eraser, tmp_path / "checkpoint.safetensors")
    for kind in ("changed", "checkpoint"):
        with safe_open(tmp_path / f"{kind}.safetensors", "pt") as file:
            told = json.loads(file.metadata()[f"excise_{kind}"])
        assert told["base"] == {"name": "tiny", "sha256": tiny_model.sha256} and told["concept"] == "person"
        assert told["eraser_sha256"] == eraser.sha256
    save_mask(eraser, tmp_path / "mask.safetensors")
    mask = Mask.load(tmp_path / "mask.safetensors")
    assert mask.header["eraser_sha256"] == eraser.sha256 and mask.header["concept"] == "person"
    assert mask.pruned.keys() == eraser.pruned.keys()
    assert all(torch.equal(mask.pruned[n], m) for n, m in eraser.pruned.items())


def test_another_models_eraser_is_refused_and_leaves_nothing_behind(tiny_model, tmp_path, make_eraser, bits):
    from dataclasses import replace

    eraser, before = make_eraser(tiny_model), bits(tiny_model.pipe)
    foreign = replace(eraser, weights={**eraser.weights, "no.such.weight": torch.zeros(2)})
    with pytest.raises(UserError, match=r"'no\.such\.weight', which this model does not have"):
        save_weights(tiny_model, foreign, tmp_path / "x.safetensors")
    other = replace(eraser, header=eraser.header | {"base": {"name": "other", "sha256": "0" * 64}})
    for save in (save_weights, save_single_file):
        with pytest.raises(UserError, match="was made for the base model 'other'"):
            save(tiny_model, other, tmp_path / "x.safetensors")
    assert bits(tiny_model.pipe) == before and not model_wears(tiny_model) and not list(tmp_path.iterdir())


def model_wears(model) -> bool:
    return model.wears or "_excise_originals" in model.pipe.text_encoder.__dict__


# one file in the original's layout, against diffusers' own loader ---------------------------------------------------
def from_ldm(tensors: dict, pipe) -> dict[str, dict]:
    """What diffusers makes of the original's keys."""
    from diffusers.loaders.single_file_utils import (
        convert_ldm_clip_checkpoint,
        convert_ldm_unet_checkpoint,
        convert_ldm_vae_checkpoint,
    )

    encoder = convert_ldm_clip_checkpoint(dict(tensors))
    if not hasattr(pipe.text_encoder, "text_model"):
        encoder = {name.removeprefix("text_model."): value for name, value in encoder.items()}
    return {
        "unet": convert_ldm_unet_checkpoint(dict(tensors), pipe.unet.config),
        "vae": convert_ldm_vae_checkpoint(dict(tensors), pipe.vae.config),
        "text_encoder": encoder,
    }


def test_diffusers_reads_the_single_file_as_the_folder_bit_for_bit(tiny_spec, tmp_path, make_eraser, bits):
    from diffusers import StableDiffusionPipeline

    model = load(tiny_spec, "float16")
    eraser, before = make_eraser(model), bits(model.pipe)
    save_folder(model, eraser, tmp_path / "out")
    count = save_single_file(model, eraser, tmp_path / "checkpoint.safetensors")
    assert bits(model.pipe) == before and count == len(before)
    read = StableDiffusionPipeline.from_single_file(
        str(tmp_path / "checkpoint.safetensors"),
        config=str(tiny_spec.folder),  # the base model's: the file alone must bring every weight
        local_files_only=True,
        torch_dtype=torch.float16,
    )
    folder = load(tiny_spec, "float16", tmp_path / "out")
    assert bits(read.to(torch.float16)) == bits(folder.pipe)
    np.testing.assert_array_equal(draw(DiffusionModel(read, tiny_spec)), draw(folder))


def test_there_and_back_every_name_is_the_same(tiny_model):
    """Both ways: each of our keys is read as the weight it was written for, and no weight is left without a key."""
    pipe, names = tiny_model.pipe, ldm_names(tiny_model.pipe)
    back = from_ldm(ldm_tensors(pipe), pipe)
    for part, states in back.items():
        own = getattr(pipe, part).state_dict()
        assert states.keys() == own.keys()
        assert all(torch.equal(states[name], own[name]) for name in own), part
    # diffusers' own table, turned round: a mark on every key, and where it arrives
    marks = {key: torch.full((1, 1, 1, 1), float(i)) for i, key in enumerate(names)}
    arrived = {
        int(value.flatten()[0]): (part, name)
        for part, states in from_ldm(marks, pipe).items()
        for name, value in states.items()
    }
    assert [arrived[i] for i in range(len(names))] == list(names.values())
    assert len(arrived) == len(names)


@pytest.fixture(scope="module")
def full_size():
    """Stable Diffusion 1's parts in their true size, without weights: names and shapes alone."""
    from types import SimpleNamespace

    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        )
        text = CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        )
    return SimpleNamespace(unet=unet, vae=vae, text_encoder=text)


def test_stable_diffusion_1_has_the_names_of_its_published_file(full_size):
    """Places that everybody who has opened such a file knows, and the number of its weights."""
    shapes = {key: tuple(value.shape) for key, value in meta_tensors(full_size).items()}
    unet, vae, clip = (f"{p}." for p in ("model.diffusion_model", "first_stage_model", "cond_stage_model.transformer"))
    known = {
        f"{unet}time_embed.2.weight": (1280, 1280),
        f"{unet}input_blocks.0.0.weight": (320, 4, 3, 3),
        f"{unet}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        f"{unet}input_blocks.3.0.op.weight": (320, 320, 3, 3),
        f"{unet}input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
        f"{unet}input_blocks.11.0.in_layers.2.weight": (1280, 1280, 3, 3),
        f"{unet}middle_block.1.proj_in.weight": (1280, 1280, 1, 1),
        f"{unet}middle_block.2.out_layers.3.weight": (1280, 1280, 3, 3),
        f"{unet}output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        f"{unet}output_blocks.5.2.conv.weight": (1280, 1280, 3, 3),
        f"{unet}output_blocks.8.2.conv.weight": (640, 640, 3, 3),
        f"{unet}output_blocks.11.1.transformer_blocks.0.ff.net.0.proj.weight": (2560, 320),
        f"{unet}out.2.weight": (4, 320, 3, 3),
        f"{vae}encoder.down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
        f"{vae}encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
        f"{vae}decoder.up.3.block.0.conv1.weight": (512, 512, 3, 3),
        f"{vae}decoder.up.0.block.0.nin_shortcut.weight": (128, 256, 1, 1),
        f"{vae}decoder.up.1.upsample.conv.weight": (256, 256, 3, 3),
        f"{vae}post_quant_conv.weight": (4, 4, 1, 1),
        f"{clip}text_model.embeddings.token_embedding.weight": (49408, 768),
        f"{clip}text_model.encoder.layers.11.self_attn.out_proj.weight": (768, 768),
    }
    assert {key: shapes.get(key) for key in known} == known
    assert [sum(k.startswith(p) for k in shapes) for p in (unet, vae, clip)] == [686, 248, 196]
    back = from_ldm(meta_tensors(full_size), full_size)
    for part, states in back.items():
        own = getattr(full_size, part).state_dict()
        assert {n: tuple(v.shape) for n, v in states.items()} == {n: tuple(v.shape) for n, v in own.items()}


def meta_tensors(pipe) -> dict[str, torch.Tensor]:
    states = {part: getattr(pipe, part).state_dict() for part in ("unet", "vae", "text_encoder")}
    found = {key: states[part][name] for key, (part, name) in ldm_names(pipe).items()}
    return {k: v[:, :, None, None] if ".attn_1." in k and v.ndim == 2 else v for k, v in found.items()}


def test_a_weight_without_a_name_in_the_original_is_refused(tiny_model):
    tiny_model.pipe.unet.class_embedding = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"The unet has a weight 'class_embedding\.weight' that"):
        ldm_names(tiny_model.pipe)


# what can be written -------------------------------------------------------------------------------------------------
def test_what_does_not_apply_is_left_out_or_refused_by_name(tiny_model, tiny_spec, make_eraser):
    from dataclasses import replace

    eraser = make_eraser(tiny_model)
    assert choose_formats(ExportOptions(), eraser, tiny_spec.folder) == (list(FORMATS), {})
    bare = replace(eraser, pruned={})
    left = [name for name in FORMATS if name != "mask"]
    assert choose_formats(ExportOptions(), bare, tiny_spec.folder) == (left, {"mask": "this eraser has no mask"})
    assert choose_formats(ExportOptions(formats=["lora", "folder"]), bare, tiny_spec.folder) == (["folder", "lora"], {})
    with pytest.raises(UserError, match="'mask' cannot be written: this eraser has no mask; take it out"):
        choose_formats(ExportOptions(formats="mask"), bare, tiny_spec.folder)
    with pytest.raises(ValueError, match="at least 1 item"):
        ExportOptions(formats=[])


@pytest.mark.parametrize(
    ("parts", "activation", "said"),
    [
        ({"transformer": ["diffusers", "SD3Transformer2DModel"]}, "quick_gelu", "is a transformer"),
        ({"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}, "quick_gelu", "this model has more"),
        ({}, "gelu", "not OpenAI's CLIP"),
    ],
)
def test_other_layouts_are_told_before_anything_is_loaded(tiny_model, tmp_path, make_eraser, parts, activation, said):
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet2DConditionModel"], **parts}))
    (tmp_path / "text_encoder/config.json").write_text(json.dumps({"hidden_act": activation}))
    eraser = make_eraser(tiny_model)
    with pytest.raises(UserError, match=said):
        choose_formats(ExportOptions(formats="single_file"), eraser, tmp_path)
    formats, left_out = choose_formats(ExportOptions(), eraser, tmp_path)
    assert "single_file" not in formats and said in left_out["single_file"]
    assert ("lora" in left_out) == ("transformer" in parts) == ("lora" not in formats)
    if "transformer" in parts:
        with pytest.raises(UserError, match="'lora' cannot be written: the base model draws with a transformer"):
            choose_formats(ExportOptions(formats="lora"), eraser, tmp_path)
    if not parts:  # what transformers takes where the file does not say
        (tmp_path / "text_encoder/config.json").write_text("{}")
        assert choose_formats(ExportOptions(formats="single_file"), eraser, tmp_path) == (["single_file"], {})


def test_of_all_formats_one_that_proves_impossible_is_left_out_with_the_reason(
    tiny_spec, tiny_model, tmp_path, make_eraser
):
    from dataclasses import replace

    from excise.pipelines.export.nodes import _write

    eraser, name = make_eraser(tiny_model), "time_embedding.linear_1.bias"
    bias = replace(eraser, weights={name: eraser.weights[name]}, pruned={})
    spec, left_out = tiny_spec.model_copy(update={"sha256": tiny_model.sha256}), {}
    options = ExportOptions(dtype="float32")
    assert set(_write(["weights", "lora"], spec, bias, options, tmp_path, left_out)) == {"weights"}
    assert "it proved impossible (This eraser changes no linear layer" in left_out["lora"]
    assert [path.name for path in tmp_path.iterdir()] == ["changed.safetensors"]
    with pytest.raises(UserError, match="nothing for a LoRA to carry"):  # asked for by name
        _write(["lora"], spec, bias, ExportOptions(formats="lora", dtype="float32"), tmp_path, {})
