"""What cannot be audited is refused in one sentence that says what to do; most of it before a weight is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from excise.checkpoints import check_checkpoint, find_checkpoint, read_checkpoint
from excise.errors import UserError
from excise.exports import save_folder, save_lora, save_mask, save_single_file, save_weights

RUN = {"id": "run-2", "versions": {}}
KEY = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture(scope="module")
def exported(tiny_spec, make_eraser, tmp_path_factory) -> Path:
    """Every format, each once."""
    from excise.models.diffusion import DiffusionModel

    folder, model = tmp_path_factory.mktemp("exported"), DiffusionModel.load(tiny_spec)
    eraser = make_eraser(model)
    eraser.save(folder / "eraser.safetensors")
    save_folder(model, eraser, folder / "diffusers")
    save_weights(model, eraser, folder / "changed.safetensors")
    save_mask(eraser, folder / "mask.safetensors")
    save_single_file(model, eraser, folder / "checkpoint.safetensors")
    save_lora(model, eraser, folder / "lora.safetensors", 2, "float32")
    return folder


def refused(act, *arguments) -> str:
    with pytest.raises(UserError) as error:
        act(*arguments)
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("suffix", ["pt", "ckpt", "bin", "pth"])
def test_pickles_are_never_opened(tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert "is a pickle" in (said := refused(find_checkpoint, path)) and "save_file" in said


def test_a_shard_is_no_checkpoint(exported, tmp_path):
    for count, whole in (("00001", True), ("00002", False)):
        path = tmp_path / f"diffusion_pytorch_model-00001-of-{count}.safetensors"
        path.write_bytes((exported / "changed.safetensors").read_bytes())
        if whole:
            assert find_checkpoint(path).entries
        else:
            assert "one of 2 shards of a checkpoint: name their folder" in refused(find_checkpoint, path)


def test_folders_of_pickles_neither(tmp_path):
    (tmp_path / "model" / "unet").mkdir(parents=True)
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    for path in (tmp_path / "model", tmp_path / "model" / "unet"):
        assert "use_safetensors=False" in refused(find_checkpoint, path)


def test_what_is_not_there_or_damaged(tmp_path, exported):
    assert "There is no checkpoint" in refused(find_checkpoint, tmp_path / "none.safetensors")
    (tmp_path / "empty").mkdir()
    assert "no safetensors in the folder" in refused(find_checkpoint, tmp_path / "empty")
    assert "several checkpoints (changed.safetensors, checkpoint" in refused(find_checkpoint, exported)
    whole = (exported / "changed.safetensors").read_bytes()
    for name, content in (("text", b"no such file"), ("cut", whole[: len(whole) // 2]), ("short", whole[:4])):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        assert "damaged or no safetensors" in refused(find_checkpoint, tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("name", ["eraser", "changed", "mask", "checkpoint", "lora"])
def test_all_that_is_exported_is_accepted_by_shapes_alone(exported, tiny_spec, name):
    kinds = {"changed": "weights", "checkpoint": "single_file"}
    assert check_checkpoint(str(exported / f"{name}.safetensors"), tiny_spec) == kinds.get(name, name)


def test_folders_are_accepted_by_shapes_alone(exported, tiny_spec):
    for path in ("diffusers", "diffusers/unet", "diffusers/text_encoder"):
        assert check_checkpoint(str(exported / path), tiny_spec) == "folder"


def changed(exported: Path, path: Path, **tensors: torch.Tensor | None) -> str:
    """The changed weights, with some more, others, or (None) without."""
    found = {**load_file(exported / "changed.safetensors"), **tensors}
    save_file({name: value for name, value in found.items() if value is not None}, path)
    return str(path)


def test_keys_that_nobody_knows(exported, tiny_spec, tmp_path):
    path = tmp_path / "x.safetensors"
    said = refused(
        check_checkpoint, changed(exported, path, **{KEY.replace("to_k", "to_kk"): torch.zeros(1)}), tiny_spec
    )
    assert "to_kk.weight' that tiny does not have: the nearest there is" in said
    save_file({"something.else": torch.zeros(2)}, path)
    assert "is no kind of checkpoint that is known here" in (said := refused(check_checkpoint, str(path), tiny_spec))
    assert "'something.else'" in said
    save_file({}, path)
    assert "'none at all'" in refused(check_checkpoint, str(path), tiny_spec)


def test_shapes_of_another_base_model(exported, tiny_spec, tmp_path):
    path = tmp_path / "x.safetensors"
    said = refused(check_checkpoint, changed(exported, path, **{KEY: torch.zeros(320, 768)}), tiny_spec)
    assert "was not made from tiny" in said and KEY in said and "320 x 768, and the base model's is 32 x 32" in said
    save_file({"text_model.embeddings.token_embedding.weight": torch.zeros(49408, 768)}, path)
    said = refused(check_checkpoint, str(path), tiny_spec)
    assert "was not made from tiny" in said and "49408 x 768" in said
    save_file({"text_model.nothing.weight": torch.zeros(2)}, path)
    assert "'text_model.nothing.weight' is no weight of the text_encoder" in refused(
        check_checkpoint, str(path), tiny_spec
    )
    tensors = load_file(exported / "lora.safetensors")
    key = next(key for key in tensors if key.endswith("lora_down.weight"))
    save_file(tensors | {key: torch.zeros(2, 999)}, path)
    assert "another shape than the base model's" in refused(check_checkpoint, str(path), tiny_spec)


def test_parts_that_the_base_model_does_not_have(exported, tiny_spec, tmp_path):
    path = changed(exported, tmp_path / "x.safetensors", **{"text_encoder_2.shared.weight": torch.zeros(2)})
    assert "weights of a part 'text_encoder_2', and the base model is made of unet" in refused(
        check_checkpoint, path, tiny_spec
    )
    tensors = load_file(exported / "checkpoint.safetensors")
    save_file(tensors | {"conditioner.embedders.1.model.logit": torch.zeros(1)}, tmp_path / "y.safetensors")
    assert "a text encoder 'conditioner.embedders.1.model.'" in refused(
        check_checkpoint, str(tmp_path / "y.safetensors"), tiny_spec
    )


def test_single_files_that_are_not_whole_or_of_another_architecture(exported, tiny_spec, tmp_path):
    tensors = load_file(exported / "checkpoint.safetensors")
    path = tmp_path / "x.safetensors"
    lost = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    save_file({k: v for k, v in tensors.items() if k != lost}, path)
    assert "should hold the whole unet, and lacks 1 of its weights" in refused(check_checkpoint, str(path), tiny_spec)
    save_file({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": torch.zeros(2)}, path)
    assert "of another base model" in refused(check_checkpoint, str(path), tiny_spec)
    save_file(tensors | {"model.diffusion_model.label_emb.0.0.weight": torch.zeros(3, 4)}, path)
    assert "12 numbers in its denoiser that tiny has no place for" in refused(check_checkpoint, str(path), tiny_spec)
    save_file(tensors | {"control_model.x": torch.zeros(1)}, path)
    assert "'control_model.x' that tiny does not have" in refused(check_checkpoint, str(path), tiny_spec)


def test_folders_of_another_pipeline_or_prediction(exported, tiny_spec, tmp_path):
    import shutil

    shutil.copytree(exported / "diffusers", tmp_path / "a")
    index = tmp_path / "a/model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "FluxPipeline"}))
    assert "is a FluxPipeline, and tiny a StableDiffusionPipeline" in refused(
        check_checkpoint, str(tmp_path / "a"), tiny_spec
    )
    shutil.copytree(exported / "diffusers", tmp_path / "b")
    scheduler = tmp_path / "b/scheduler/scheduler_config.json"
    told = json.loads(scheduler.read_text())
    other = {"epsilon": "v_prediction"}.get(told["prediction_type"], "epsilon")
    scheduler.write_text(json.dumps(told | {"prediction_type": other}))
    assert f"predicts '{other}'" in refused(check_checkpoint, str(tmp_path / "b"), tiny_spec)
    config = exported / "diffusers/unet/config.json"
    shutil.copytree(exported / "diffusers/unet", tmp_path / "c")
    (tmp_path / "c/config.json").write_text(
        json.dumps(json.loads(config.read_text()) | {"_class_name": "SD3Transformer2DModel"})
    )
    assert "is a SD3Transformer2DModel" in refused(check_checkpoint, str(tmp_path / "c"), tiny_spec)


@pytest.mark.parametrize("word", ["dora_scale", "hada_w1_a", "lokr_w1", "lora_mid.weight", "oft_diag", "diff"])
def test_loras_that_are_more_than_pairs(exported, tiny_spec, tmp_path, word):
    tensors = load_file(exported / "lora.safetensors")
    module = next(key for key in tensors).partition(".")[0]
    save_file(tensors | {f"{module}.{word}": torch.zeros(1)}, tmp_path / "x.safetensors")
    assert "more than plain pairs" in refused(check_checkpoint, str(tmp_path / "x.safetensors"), tiny_spec)


def test_loras_of_modules_that_are_not_there(exported, tiny_spec, tmp_path):
    pair = {
        "lora_unet_nowhere.lora_down.weight": torch.zeros(2, 4),
        "lora_unet_nowhere.lora_up.weight": torch.zeros(4, 2),
    }
    save_file(pair, tmp_path / "x.safetensors")
    assert "nowhere" in refused(check_checkpoint, str(tmp_path / "x.safetensors"), tiny_spec)
    tensors = load_file(exported / "lora.safetensors")
    del tensors[next(key for key in tensors if key.endswith("lora_up.weight"))]
    save_file(tensors, tmp_path / "x.safetensors")
    assert "fetch it anew" in refused(check_checkpoint, str(tmp_path / "x.safetensors"), tiny_spec)


# what only the weights tell ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["folder", "weights", "lora"])
def test_what_changes_nothing_is_said(tiny_model, tiny_folder, tmp_path, kind):
    path = tmp_path / "x.safetensors"
    if kind == "folder":
        path = tiny_folder
    elif kind == "weights":
        save_file({KEY: tiny_model.weights()[KEY.removeprefix("unet.")].clone().half()}, path)
    else:
        module = KEY.removesuffix(".weight")
        rows, columns = tiny_model.weights()[KEY.removeprefix("unet.")].shape
        save_file(
            {f"{module}.lora_A.weight": torch.randn(2, columns), f"{module}.lora_B.weight": torch.zeros(rows, 2)}, path
        )
    said = refused(read_checkpoint, str(path), tiny_model, "person", RUN)
    assert "changes nothing" in said and "of tiny" in said


@pytest.mark.parametrize("name", ["eraser", "changed", "mask", "checkpoint", "lora"])
def test_exports_of_another_base_model_are_known_by_their_header(exported, tiny_model, name):
    with torch.no_grad():
        tiny_model.pipe.unet.conv_in.weight.neg_()
    said = refused(read_checkpoint, str(exported / f"{name}.safetensors"), tiny_model, "person", RUN)
    assert "was made from another base model" in said


def test_an_eraser_of_weights_that_are_not_there(exported, tiny_model, tmp_path):
    from excise.erasers import Eraser

    eraser = Eraser.load(exported / "eraser.safetensors")
    wrong = replace(eraser, weights={**eraser.weights, "no.such.weight": torch.zeros(2)})
    wrong.save(tmp_path / "x.safetensors")
    said = refused(read_checkpoint, str(tmp_path / "x.safetensors"), tiny_model, "person", RUN)
    assert "'unet.no.such.weight' that tiny does not have" in said
