"""Features, the probe's file, and the probes that ship."""

from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from excise.concepts.concept import JudgeSpec
from excise.errors import UserError
from excise.judges import make_judge
from excise.judges.probe.features import POOLED, STAGES, WIDTH, image_features, weights_file
from excise.judges.probe.probe import Probe

ROOT = Path(__file__).parents[3]
WEARS = {457: "bow tie", 652: "military uniform", 834: "suit", 906: "Windsor tie"}  # classes of ImageNet


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.asarray(Image.open(file).convert("RGB"))


@pytest.fixture
def probe() -> Probe:
    generator = torch.Generator().manual_seed(0)
    labels = tuple("abcdefgh")
    weight = torch.randn(len(labels), WIDTH, generator=generator).half() / 8
    return Probe(labels, weight, torch.zeros(len(labels)), "7", "noise", {"sharp": 0.125})


def test_features_are_imagenets(portrait):
    """With the classifier that the weights came with, the photograph is named for what she wears."""
    state = torch.load(weights_file(), weights_only=True)
    logits = image_features(portrait[None])[:, :POOLED] @ state["_fc.weight"].T + state["_fc.bias"]
    assert set(logits.topk(3).indices[0].tolist()) <= set(WEARS)


def test_features_are_what_the_package_computes(portrait):
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=128).eval()
    network.load_state_dict(torch.load(weights_file(), weights_only=True))
    seen = {}
    for index in STAGES:
        network._blocks[index].register_forward_hook(lambda _, __, out, index=index: seen.update({index: out}))
    small = np.asarray(Image.fromarray(portrait).resize((128, 128), Image.Resampling.BICUBIC)) / 255
    pixels = torch.tensor((small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        pooled = network.extract_features(pixels).flatten(2).mean(2)
    stages = [s for i in STAGES for s in (seen[i].flatten(2).mean(2), seen[i].flatten(2).std(2))]
    expected = torch.cat([pooled, *stages], 1)
    assert expected.shape == (1, WIDTH)
    torch.testing.assert_close(image_features(portrait[None]), expected, rtol=1e-3, atol=1e-4)


def test_batches_do_not_change_features(portrait):
    images = np.stack([portrait, portrait[::-1], 255 - portrait])
    torch.testing.assert_close(image_features(images, batch=2), image_features(images), rtol=1e-3, atol=1e-4)
    assert image_features(images[:0]).shape == (0, WIDTH)


def test_file_round_trip(probe, tmp_path):
    probe.save(tmp_path / "a.safetensors")
    again = Probe.load(tmp_path / "a.safetensors")
    assert torch.equal(again.weight, probe.weight) and torch.equal(again.bias, probe.bias)
    assert (again.labels, again.version, again.fitted_on) == (probe.labels, probe.version, probe.fitted_on)
    assert again.accuracy == probe.accuracy
    again.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("content", [b"no tensors", None])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "wrong.safetensors"
    if content is None:
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(2, 2)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="not the file of a probe"):
        Probe.load(path)


def test_the_judge_keeps_the_five_likeliest(probe, portrait, tmp_path):
    probe.save(tmp_path / "probe.safetensors")
    options = {"file": str(tmp_path / "probe.safetensors")}
    judge = make_judge(JudgeSpec(name="object_probe", threshold=0, options=options))
    images = np.stack([portrait, portrait[::-1]])
    chances = probe.probabilities(image_features(images)).numpy()
    for found, row in zip(judge.detect(images), chances, strict=True):
        order = np.argsort(-row)[:5]
        assert [d.label for d in found] == [probe.labels[i] for i in order]
        assert [d.score for d in found] == pytest.approx(row[order].tolist(), rel=1e-3, abs=1e-5)
        assert all(d.box is None for d in found)
    with pytest.raises(UserError, match=r"0\.167"):
        make_judge(JudgeSpec(name="object_probe", labels=["a"], threshold=0.1, options=options))


def test_rows_of_one_label_are_summed():
    torch.manual_seed(0)
    weight, bias = torch.randn(4, 2208).half(), torch.randn(4)
    features = torch.rand(3, 2208) / 100
    each = Probe(("a", "b", "c", "d"), weight, bias, "1", "noise", {}).probabilities(features)
    together = Probe(("x", "y", "x", "y"), weight, bias, "1", "noise", {})
    assert together.labels == ("x", "y")
    expected = torch.stack([each[:, 0] + each[:, 2], each[:, 1] + each[:, 3]], 1)
    torch.testing.assert_close(together.probabilities(features), expected)


def test_the_shipped_probes_know_the_shipped_world():
    world = yaml.safe_load((ROOT / "conf/base/pretrain_emoji64/parameters_world.yml").read_text())["world"]
    expected = {"object_probe": {*world["objects"], "person"}, "style_probe": {*world["styles"]}}
    for name, labels in expected.items():
        judge = make_judge(JudgeSpec(name=name, threshold=0))
        assert set(judge.labels) == labels
        assert set(judge.probe.accuracy) == {"sharp", "blurred", "noisy", "decoded", "disturbed"}
        assert min(share for how, share in judge.probe.accuracy.items() if how != "disturbed") >= 0.93
        assert judge.probe.accuracy["disturbed"] >= 0.8
        assert judge.probe.weight.dtype == torch.float16 and judge.probe.weight.isfinite().all()
        assert judge.sha256 != make_judge(JudgeSpec(name="nudenet", threshold=0)).sha256
