"""What of a repository on the hub is fetched, by the hub's own way to choose files; and what is refused."""

from __future__ import annotations

import huggingface_hub
import pytest
from huggingface_hub.utils import filter_repo_objects

from excise.errors import UserError
from excise.models.hub import fetch_hub

PINNED = "hub:someone/model@" + "a" * 40
NEEDED = {
    *("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "tokenizer/merges.txt"),
    *("text_encoder_3/model-00001-of-00002.safetensors", "text_encoder_3/model.safetensors.index.json"),
    *("tokenizer_2/spiece.model", "vae/diffusion_pytorch_model.safetensors"),
}
NOT_NEEDED = {
    *("v1-5-pruned.safetensors", "flux1-dev.safetensors", "v1-5-pruned.ckpt", "README.md"),
    *("unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors"),
    *("unet/diffusion_pytorch_model.non_ema.safetensors", "safety_checker/model.safetensors", "vae/pickled.pt"),
    *("text_encoders/t5xxl_fp16.safetensors", "text_encoder_3/model.fp16-00001-of-00002.safetensors"),
}


def test_the_folders_of_a_model_are_fetched_and_no_second_copy_of_it(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda **given: asked.update(given) or str(tmp_path))
    assert fetch_hub(PINNED, "help") == tmp_path
    assert (asked["repo_id"], asked["revision"]) == ("someone/model", "a" * 40)
    chosen = filter_repo_objects(
        sorted(NEEDED | NOT_NEEDED), allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert set(chosen) == NEEDED


def test_a_branch_is_no_commit():
    with pytest.raises(UserError, match="all 40 letters of a commit's hash"):
        fetch_hub("hub:someone/model@main", "help")


def test_a_hub_that_is_away_is_told_with_its_reason_unless_the_model_is_here(monkeypatch, tmp_path):
    def away(local_files_only: bool = False, **given):
        if local_files_only and here:
            return str(tmp_path)
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", away)
    here = True
    assert fetch_hub(PINNED, "help") == tmp_path
    here = False
    with pytest.raises(UserError, match=r"cannot be fetched \(no route to host\): Set the path"):
        fetch_hub(PINNED, "Set the path.")
