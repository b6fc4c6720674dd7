"""Files that are damaged or not what they are given for, and the sentence each gets. ``…`` stands for anything."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from excise.checkpoints import read_checkpoint
from excise.concepts import PromptSource, load_concept
from excise.erasers import Eraser
from excise.errors import UserError
from excise.masks import Mask
from excise.metrics.judge_errors import known_table, load_known
from excise.models import ModelSpec
from excise.models.memory import Use, least_memory
from excise.pipelines.prepare.nodes import identify_model
from excise.prompts import PromptOptions, build_prompts
from excise.prompts.sets import load_set
from excise.whole import refuse_damaged
from sentences import says
from tiny import PROJECT

Spoil = Callable[[Path], Any]


def said_of(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as refused:
        call()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def cut(path: Path, share: float = 0.6) -> Path:
    """The beginning of a file, as a download that broke off leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


# prompt files ------------------------------------------------------------------------------------------------------
def _parquet(path: Path) -> None:
    pd.DataFrame({"prompt": ["a church"] * 9}).to_parquet(path)
    cut(path)


PROMPTS: dict[str, tuple[str, Spoil, str]] = {  # the file's name, what it holds, what is said
    "not there": ("a.csv", lambda p: None, "There is no prompt file …a.csv: correct the path in the concept's YAML, …"),
    "a folder": ("a.csv", Path.mkdir, "There is no prompt file …a.csv: correct the path in the concept's YAML, …"),
    "of another kind": ("a.xlsx", Path.touch, "a.xlsx is no prompt file that can be read: make it one of .csv, …"),
    "empty": ("a.csv", Path.touch, "a.csv is empty: give it a first line with the names of its columns."),
    "without the column": ("a.csv", lambda p: p.write_text("text\na\n"), "a.csv has no column 'prompt' (it has text): …"),
    "not in UTF-8": ("a.csv", lambda p: p.write_bytes(b"prompt\n\xff\xfe\n"), "a.csv cannot be read as .csv (…): save …"),
    "no JSON": ("a.jsonl", lambda p: p.write_text('{"prompt": '), "a.jsonl cannot be read as .jsonl (…): save it anew …"),
    "Parquet that is cut": ("a.parquet", _parquet, "a.parquet cannot be read as .parquet (…): save it anew in UTF-8."),
    "something else": ("a.parquet", lambda p: p.write_text("prompt"), "a.parquet cannot be read as .parquet (…): …"),
    "one row": ("a.csv", lambda p: p.write_text("prompt\na hut\n"), "a.csv leaves 1 prompts for the split test of …"),
    "minors only": ("a.csv", lambda p: p.write_text("prompt\na boy\na girl\n"), "a.csv leaves 0 prompts for the split …"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROMPTS)
def test_prompt_file(case: str, tmp_path: Path) -> None:
    name, spoil, expected = PROMPTS[case]
    spoil(tmp_path / name)
    described = yaml.safe_load((PROJECT / "conf/base/concepts/church.yml").read_text())
    described["church"]["files"] = {"test": str(tmp_path / name)}
    said = said_of(lambda: build_prompts(load_concept("church", described), PromptOptions(fit=2, tune=2)))
    assert says(expected, said), said


def test_rows_chosen_by_a_column_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,hard\na church,1\n")
    said = said_of(lambda: load_set(PromptSource(file=str(tmp_path / "a.csv"), where={"soft": 1})))
    assert says("a.csv has no column 'soft' to choose rows by (it has prompt, hard): correct 'where' in …", said)


# base models -------------------------------------------------------------------------------------------------------
def _nan(path: Path) -> None:
    weights = load_file(path)
    weights["conv_in.weight"][0] = float("nan")
    save_file(weights, path, {"format": "pt"})


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
MODELS: dict[str, tuple[str, Spoil, str]] = {
    "no index": ("model_index.json", Path.unlink, "There is no diffusers model in …: Set the parameter model.path …"),
    "a damaged index": ("model_index.json", cut, "The model_index.json in …model' is damaged: fetch the model anew."),
    "an index of a list": (
        "model_index.json",
        lambda p: p.write_text("[]"),
        "The model_index.json in …model' is damaged: fetch the model anew.",
    ),
    "weights that are cut": (WEIGHTS, cut, "…diffusion_pytorch_model.safetensors is damaged: fetch the model anew."),
    "weights that are text": (
        WEIGHTS,
        lambda p: p.write_text("<html>404</html>" * 9),
        "…diffusion_pytorch_model.safetensors is damaged: fetch the model anew.",
    ),
    "weights that are no numbers": (
        WEIGHTS,
        _nan,
        "The model 'tiny' has weights that are no finite numbers (unet.conv_in.weight): fetch it anew.",
    ),
    "weights that are not there": (
        WEIGHTS,
        Path.unlink,
        "The model in '…model' cannot be read: … Only safetensors are.",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_base_model(case: str, tiny_folder: Path, tmp_path: Path) -> None:
    file, spoil, expected = MODELS[case]
    shutil.copytree(tiny_folder, tmp_path / "model")
    spoil(tmp_path / "model" / file)
    spec = ModelSpec(name="tiny", path=str(tmp_path / "model"), device="cpu")

    def start() -> None:
        """What a run does with a model first: a check before it, and the node that all others wait for."""
        _ = spec.pipeline_class
        least_memory(spec, Use())
        identify_model(spec)

    said = said_of(start)
    assert says(expected, said), said


# erasers and masks -------------------------------------------------------------------------------------------------
NAME = "conv_in.bias"


def _header(base: str = "0" * 64, **more: Any) -> dict[str, Any]:
    return {"method": "esd", "variant": "esd", "concept": "person", "base": {"name": "tiny", "sha256": base}} | more


def _saved(path: Path, **tensors: torch.Tensor) -> Path:
    Eraser(_header(), {NAME: torch.ones(3)} | tensors, {"x": torch.tensor([True, False])}).save(path)
    return path


def _other_format(path: Path) -> None:
    save_file({"weight:x": torch.ones(1)}, path, {"excise": json.dumps(_header(format=99, shapes={}))})


DAMAGED = "…eraser.safetensors is damaged or not an eraser file of excise: make it again, or point to another."
ERASERS: dict[str, tuple[Spoil, str]] = {
    "not there": (lambda p: None, "There is no eraser file …: run a pipeline first, or point to another."),
    "a folder without versions": (Path.mkdir, "There is no eraser file in …: run a pipeline first, or point to another."),
    "cut": (lambda p: cut(_saved(p)), DAMAGED),
    "empty": (Path.touch, DAMAGED),
    "pickled": (lambda p: p.write_bytes(pickle.dumps({"weight": 1})), DAMAGED),
    "safetensors of something else": (lambda p: save_file({"a": torch.ones(1)}, p), DAMAGED),
    "NaN": (lambda p: _saved(p, bad=torch.tensor([float("nan")])), "…has weights that are no finite numbers (bad): make …"),
    "infinite": (lambda p: _saved(p, bad=torch.tensor([float("inf")])), "…weights that are no finite numbers (bad): make …"),
    "of another version": (_other_format, "…was written by another version of excise: make it again with this one."),
}  # fmt: skip


@pytest.mark.parametrize("case", ERASERS)
def test_eraser_file(case: str, tmp_path: Path) -> None:
    spoil, expected = ERASERS[case]
    path = tmp_path / "eraser.safetensors"
    spoil(path)
    said = said_of(lambda: Eraser.load(path))
    assert says(expected, said), said


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"conv_in.bias": torch.ones(3, 3)}, "This eraser has 'conv_in.bias' in the shape (3, 3), and the model has it in …"),
        ({"nowhere.bias": torch.ones(3)}, "This eraser changes 'nowhere.bias', which the model does not have: make it …"),
    ],
)  # fmt: skip
def test_an_eraser_that_does_not_fit_changes_nothing(weights, expected: str, tiny_model) -> None:
    before = {name: value.clone() for name, value in tiny_model.denoiser.state_dict().items()}
    eraser = Eraser(_header(tiny_model.sha256), {"conv_out.bias": tiny_model.denoiser.conv_out.bias + 1} | weights)
    said = said_of(lambda: eraser.apply(tiny_model.pipe))
    assert says(expected, said), said
    after = tiny_model.denoiser.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not hasattr(tiny_model.denoiser, "_excise_originals")


CHECKPOINTS: dict[str, tuple[str, Spoil, str]] = {
    "not there": ("a.safetensors", lambda p: None, "There is no checkpoint '…': point the parameter 'checkpoint' to …"),
    "cut": (
        "a.safetensors",
        lambda p: cut(_saved(p)),
        "… is damaged or no safetensors file: fetch it anew, or point …",
    ),
    "a page of an error": ("a.safetensors", lambda p: p.write_text("<html>"), "… is damaged or no safetensors file: …"),
    "empty": ("a.safetensors", lambda p: save_file({}, p), "…is no kind of checkpoint that is known here, …"),
    "a pickle": ("a.pt", lambda p: p.write_bytes(pickle.dumps(1)), "… is a pickle, and opening one can run …"),
    "of another shape": (
        "a.safetensors",
        lambda p: save_file({"unet.conv_in.weight": torch.ones(2, 2)}, p),
        "… was not made from tiny: its 'unet.conv_in.weight' is of shape 2 x 2, and the base model's is …",
    ),
    "of another model": (
        "a.safetensors",
        lambda p: save_file({"unet.nowhere.weight": torch.ones(2)}, p),
        "… has a weight 'unet.nowhere.weight' that tiny does not have: look whether it is of another base model.",
    ),
    "NaN": (
        "a.safetensors",
        lambda p: save_file({"unet.conv_out.bias": torch.full((4,), float("nan"))}, p),
        "… has weights that are no finite numbers (conv_out.bias): fetch it anew, or point elsewhere.",
    ),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_checkpoint_to_be_audited(case: str, tmp_path: Path, tiny_model) -> None:
    name, spoil, expected = CHECKPOINTS[case]
    spoil(tmp_path / name)
    run = {"id": "x", "versions": {}}
    said = said_of(lambda: read_checkpoint(str(tmp_path / name), tiny_model, "person", run))
    assert says(expected, said), said


def test_an_eraser_of_another_model(tiny_model) -> None:
    said = said_of(lambda: Eraser(_header(), {}).apply(tiny_model.pipe))
    assert says("This eraser was made for the base model 'tiny' (000…), not for this one (…): load that model, …", said)


def _mask(path: Path, **changed: Any) -> None:
    header = {"shapes": {"a": [2, 2]}} | changed
    save_file({"a|indices": torch.tensor([0, 9], dtype=torch.int32)}, path, {"excise_mask": json.dumps(header)})


@pytest.mark.parametrize(
    "spoil",
    [
        Path.touch,
        _mask,
        lambda p: _mask(p, shapes={"b": [2, 2]}),
        lambda p: _mask(p, shapes={}),
        lambda p: save_file({"a|bits": torch.ones(9, dtype=torch.uint8)}, p, {"excise_mask": '{"shapes": {"a": [8]}}'}),
        lambda p: save_file({"a": torch.ones(1)}, p),
    ],
    ids=["empty", "a weight that is not there", "another name", "no shapes", "too many bits", "something else"],
)
def test_mask_file(spoil: Spoil, tmp_path: Path) -> None:
    path = tmp_path / "mask.safetensors"
    spoil(path)
    said = said_of(lambda: Mask.load(path))
    assert says("… is not a mask file of excise: point to a mask.safetensors of a finished run.", said), said


# known pictures ----------------------------------------------------------------------------------------------------
def _picture(folder: Path, name: str = "a.png") -> Path:
    Image.effect_noise((64, 64), 99).save(folder / name)
    return folder / name


KNOWN: dict[str, tuple[bytes | None, str]] = {
    "no table": (None, "There is no labels.csv in …: it says what each known picture shows."),
    "an empty table": (b"", "…labels.csv cannot be read (No columns to parse from file): save it as CSV in UTF-8."),
    "no pictures": (b"file,labels\n", "…labels.csv names no picture: add some, or set known_pictures to null."),
    "no labels": (b"file\na.png\n", "…labels.csv has no column 'labels': name the file and the labels of each picture."),
    "not in UTF-8": (b"file,labels\na.png,\xff\xfe\n", "…labels.csv cannot be read (…): save it as CSV in UTF-8."),
    "a picture that is not there": (b"file,labels\nb.png,x\n", "…names 'b.png', which is no picture that can be read: …"),
    "a text file": (b"file,labels\nlabels.csv,x\n", "…names 'labels.csv', which is no picture that can be read: …"),
    "a way out": (b"file,labels\n../a.png,x\n", "…names '../a.png', which lies outside that folder: put it inside."),
    "a place of the machine": (b"file,labels\n/etc/passwd,x\n", "…names '/etc/passwd', which lies outside that folder: …"),
    "a box of words": (b"file,labels,x0\na.png,x,left\n", "…has words in the column 'x0': it takes pixels, as numbers."),
}  # fmt: skip


@pytest.mark.parametrize("case", KNOWN)
def test_known_pictures(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "known"
    folder.mkdir()
    _picture(tmp_path), _picture(folder)
    table, expected = KNOWN[case]
    if table is not None:
        (folder / "labels.csv").write_bytes(table)
    said = said_of(lambda: known_table(folder))
    assert says(expected, said), said


def test_a_known_picture_that_is_cut(tmp_path: Path) -> None:
    cut(_picture(tmp_path))
    (tmp_path / "labels.csv").write_text("file,labels\na.png,church\n")
    said = said_of(lambda: load_known(tmp_path))
    assert says("…names 'a.png', which is no picture that can be read.", said)


# what an earlier run left ------------------------------------------------------------------------------------------
LEFT: dict[str, Spoil] = {
    "a.safetensors": lambda p: save_file({"a": torch.ones(99)}, p),
    "a.parquet": lambda p: pd.DataFrame({"a": range(99)}).to_parquet(p),
    "a.json": lambda p: p.write_text(json.dumps({"a": list(range(99))})),
    "a.png": lambda p: _picture(p.parent),
}


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_file_of_an_earlier_run_that_is_cut(name: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / name
    LEFT[name](path)
    refuse_damaged(path, "person.thing")  # whole, it passes
    cut(path, share)
    said = said_of(lambda: refuse_damaged(path, "person.thing"))
    assert says(f"…{name} (person.thing) is damaged or not whole: delete its folder and run what makes it anew.", said)


def test_a_stage_refuses_a_damaged_input_before_it_starts(project: Path, refused) -> None:
    folder = project / "data/01_raw/emoji64/person/concept.json/2026-01-01T00.00.00.000Z"
    folder.mkdir(parents=True)
    (folder / "concept.json").write_text('{"name": ')
    try:
        said = refused("run", "--pipeline=rejudge", writes=True)
    finally:
        shutil.rmtree(project / "data")
    assert says("…concept.json (person.concept) is damaged or not whole: delete its folder and run what …", said), said
