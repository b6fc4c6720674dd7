"""Zero-shot CLIP against its own two towers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from excise.concepts.concept import JudgeSpec
from excise.embedded.clip import CLIPOptions, build_clip
from excise.embedded.tokenizer import train_tokenizer
from excise.embedded.world import World
from excise.judges import make_judge

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
