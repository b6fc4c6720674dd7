"""Which files a model was loaded from."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from excise.models import ModelSpec
from excise.pipelines.prepare.nodes import identify_model
from excise.provenance.decoding import decoding_sha256, files_sha256


def test_every_file_counts_and_its_place_in_the_folder(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    before = files_sha256(folder)
    assert before == files_sha256(tiny_folder) != decoding_sha256(folder)
    for place in ("scheduler/scheduler_config.json", "vae/config.json", "unet/config.json", "model_index.json"):
        kept = (folder / place).read_bytes()
        (folder / place).write_bytes(kept + b"\n")
        assert files_sha256(folder) != before, place
        (folder / place).write_bytes(kept)
    assert files_sha256(folder) == before != files_sha256(folder, folder / "unet")


@pytest.mark.parametrize("change", [lambda weights: weights * 0.7, lambda weights: weights.clone()])
def test_work_of_other_weights_of_the_same_signs_is_not_taken_over(tiny_folder, tmp_path, change):
    """The identity is that of the signs: an eraser fits both, and what was drawn does not."""
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    spec = ModelSpec(name="tiny", path=str(folder))
    before = identify_model(spec)
    [file] = (folder / "unet").glob("*.safetensors")
    changed = {name: change(weights) for name, weights in load_file(file).items()}
    same = all(torch.equal(changed[name], weights) for name, weights in load_file(file).items())
    save_file(changed, file, {"format": "pt"})
    after = identify_model(spec)
    assert after["sha256"] == before["sha256"] and (after["files"] == before["files"]) == same
