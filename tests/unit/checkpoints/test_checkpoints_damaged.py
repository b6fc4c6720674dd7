"""Damaged files, pickles by other names, folders in which several files may be meant: refused by headers alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from excise.checkpoints import find_checkpoint
from excise.errors import UserError


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        find_checkpoint(path)
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


def written(path: Path, header: object, values: bytes = bytes(16)) -> Path:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)
    return path


ONE = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
DAMAGED = {
    "more after the end": ({"x": ONE}, bytes(23)),
    "cut short": ({"x": ONE}, bytes(12)),
    "shape and offsets differ": ({"x": ONE | {"data_offsets": [0, 4]}}, bytes(4)),
    "a negative offset": ({"x": ONE | {"data_offsets": [-16, 0]}}, bytes(0)),
    "a hole": ({"x": ONE | {"data_offsets": [4, 20]}}, bytes(20)),
    "metadata that is a list": ({"__metadata__": [1], "x": ONE}, bytes(16)),
    "metadata that is no text": ({"__metadata__": {"excise": 1}, "x": ONE}, bytes(16)),
    "a type that is a list": ({"x": ONE | {"dtype": ["F32"]}}, bytes(16)),
    "a shape that is no list": ({"x": ONE | {"shape": 4}}, bytes(16)),
    "a list": ([1], bytes(16)),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_are_known_by_their_header(tmp_path, damage):
    assert "damaged or no safetensors" in refused(written(tmp_path / "x.safetensors", *DAMAGED[damage]))


def test_whole_files_are_not_damaged(tmp_path):
    for header in ({"x": ONE}, {"__metadata__": {"a": "b"}, "x": ONE}, {"__metadata__": None, "x": ONE}):
        checkpoint = find_checkpoint(written(tmp_path / "x.safetensors", header))
        assert checkpoint.keys == ["x"] and checkpoint.metadata == (header.get("__metadata__") or {})
    new = written(tmp_path / "x.safetensors", {"x": ONE | {"dtype": "Q3"}})
    assert "numbers of the type Q3, which is not known here" in refused(new)


@pytest.mark.parametrize("name", ["a.CKPT", "a.Pt", "a.safetensors", "a"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_known_by_any_name(tmp_path, name, zipped):
    torch.save({"x": torch.zeros(4)}, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert "is a pickle" in (said := refused(tmp_path / name)) and "weights_only=True" in said


def test_a_damaged_file_that_begins_by_chance_as_a_pickle_is_damaged(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 0x0280) + b'{"x": ' + bytes(640))
    assert "damaged" in refused(path)


def test_folders_of_pickles_in_capitals(tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.BIN").write_bytes(b"x")
    assert "use_safetensors=False" in refused(tmp_path)


# which file of a folder ----------------------------------------------------------------------------------------------
def folder(path: Path, *files: str, config: bool = True) -> Path:
    """A folder whose files each hold one key, their own name."""
    path.mkdir(parents=True)
    for file in files:
        save_file({file: torch.zeros(1)}, path / f"{file}.safetensors")
    if config:
        (path / "config.json").write_text("{}")
    return path


MAIN = "diffusion_pytorch_model"
SHARDS = [f"{MAIN}-00001-of-00002", f"{MAIN}-00002-of-00002"]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "meant, others",
    [
        ([MAIN], ["z_old"]),
        ([MAIN], ["a_old", f"{MAIN}.ema"]),
        ([MAIN], [f"{MAIN}.fp16", f"{MAIN}.fp16-00001-of-00002", f"{MAIN}.fp16-00002-of-00002"]),
        (["model"], ["z_old"]),
        (SHARDS, ["z_old"]),
        (SHARDS, [f"{MAIN}.fp16-00001-of-00002", f"{MAIN}.fp16-00002-of-00002"]),
    ],
)
def test_of_several_files_the_one_of_the_standard_name_is_read(tmp_path, whole, meant, others):
    path = folder(tmp_path / "model/unet", *meant, *others)
    found = find_checkpoint(path.parent if whole else path)
    assert found.keys == [f"unet.{name}" if whole else name for name in meant]
    assert [file.stem for file in found.files] == meant


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("files", [["a", "z"], [MAIN, *SHARDS], [*SHARDS, f"{MAIN}-00001-of-00003"], [MAIN, "model"]])
def test_where_several_may_be_meant_none_is_taken(tmp_path, whole, files):
    path = folder(tmp_path / "model/unet", *files)
    said = refused(path.parent if whole else path)
    assert "holds several checkpoints" in said and all(f"{name}.safetensors" in said for name in files)


def test_standard_names_mean_nothing_where_nobody_saved_a_model(tmp_path):
    assert "several checkpoints" in refused(folder(tmp_path / "mine", "model", "other", config=False))


@pytest.mark.parametrize("text", ["no json", "[1]", '["ab"]', "null"])
def test_configs_that_cannot_be_read(tmp_path, text):
    path = folder(tmp_path / "unet", MAIN)
    (path / "config.json").write_text(text)
    for given in (path, tmp_path):
        assert "config.json' is damaged" in refused(given)


def test_a_shard_that_is_not_there_is_missed(tmp_path):
    path = folder(tmp_path / "model/unet", SHARDS[1])
    for given in (path, path.parent):
        assert "holds 1 of 2 shards" in refused(given)
