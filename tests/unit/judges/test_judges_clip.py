"""Zero-shot CLIP against its own two towers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from excise.concepts.concept import JudgeSpec
from excise.embedded.clip import CLIPOptions, build_clip
from excise.embedded.tokenizer import train_tokenizer
from excise.embedded.world import World
from excise.errors import UserError
from excise.judges import make_judge
from excise.judges.clip.load import load_clip

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny CLIP with random weights."""
    folder = tmp_path_factory.mktemp("clip")
    world = World(**yaml.safe_load((ROOT / "conf/base/pretrain_emoji64/parameters_world.yml").read_text())["world"])
    tokenizer = train_tokenizer(world, captions=300)
    loop = {"steps": 1, "batch": 1, "lr": 1e-3}
    options = CLIPOptions(width=16, text_layers=1, image_layers=1, heads=2, text_mlp=16, image_mlp=16, loop=loop)
    build_clip(options, tokenizer, resolution=32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pixels = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.5, 0.25, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return folder


def test_probabilities_are_softmax_of_scaled_cosines(folder):
    from transformers import CLIPModel, CLIPTokenizer

    options = {"labels": "a church, a fish,a bee on a red background", "folder": str(folder)}
    judge = make_judge(JudgeSpec(name="clip_zero_shot", labels=["a fish"], threshold=0.5, options=options))
    assert judge.labels == ("a church", "a fish", "a bee on a red background")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)

    clip, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    pixels = torch.tensor((images / 255 - [0.4, 0.5, 0.6]) / [0.5, 0.25, 0.5]).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        seen = clip.visual_projection(clip.vision_model(pixels).pooler_output)
        # each caption alone, so that padding plays no part
        said = [clip.text_model(**tokenizer(c, return_tensors="pt")).pooler_output for c in judge.labels]
        cosines = torch.cosine_similarity(seen[:, None], clip.text_projection(torch.cat(said))[None], dim=2)
        expected = (cosines * clip.logit_scale.exp()).softmax(1)
    for found, row in zip(judge.detect(images), expected.tolist(), strict=True):
        assert [d.label for d in found] == list(judge.labels)
        assert [d.score for d in found] == pytest.approx(row, rel=1e-3)
    assert expected.std() > 1e-3, "captions differ"


def no_vocabulary(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)


def another_model(folder: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(image_size=32, patch_size=8, **size)).save_pretrained(folder)


def no_projection(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


SPOILED = {
    "no vocabulary": (no_vocabulary, "whose tokenizer has no vocabulary"),
    "another model": (another_model, "a model of the type 'dinov2'"),
    "a weight is missing": (no_projection, "whose weights lack visual_projection.weight"),
    "no tokenizer": (lambda f: (f / "tokenizer_config.json").unlink(), "where there is no tokenizer_config.json"),
    "no means": (lambda f: (f / "preprocessor_config.json").write_text("{}"), "which cannot be loaded (KeyError"),
    "cut short": (
        lambda f: (f / "model.safetensors").write_bytes(b"\0" * 9),
        "which cannot be loaded (SafetensorError",
    ),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_no_clip_is_refused_by_judge_and_score(how, folder, tmp_path):
    spoiled, (spoil, said) = tmp_path / "clip", SPOILED[how]
    shutil.copytree(folder, spoiled)
    options = {"labels": "a church, a fish", "folder": str(spoiled)}
    make_judge(JudgeSpec(name="clip_zero_shot", labels=["a fish"], threshold=0.5, options=options))
    spoil(spoiled)
    for option in ("The judge's option 'folder'", "fidelity.clip"):
        with pytest.raises(UserError) as refused:
            load_clip(spoiled, option)
        sentence = str(refused.value)
        assert sentence.startswith(f"{option} is '{spoiled}', {said}") and "\n" not in sentence


def test_vectors_for_the_score_are_those_of_the_two_towers(folder):
    from transformers import CLIPModel, CLIPTokenizer

    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    texts = ["a church", "a bee on a red background"]
    seen, said = load_clip(folder, "").features(images, texts)
    clip, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    pixels = torch.tensor((images / 255 - [0.4, 0.5, 0.6]) / [0.5, 0.25, 0.5]).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        alone = [clip.get_text_features(**tokenizer(t, return_tensors="pt")).pooler_output[0] for t in texts]
        np.testing.assert_allclose(seen, clip.get_image_features(pixels).pooler_output, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(said, torch.stack(alone), rtol=1e-3, atol=1e-5)
