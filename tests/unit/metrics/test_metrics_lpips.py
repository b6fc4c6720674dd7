"""LPIPS on VGG16 with weights by lot, against torchmetrics' own code on the same weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torchmetrics.functional.image import lpips as library

from excise.errors import UserError
from excise.metrics import lpips
from excise.metrics.lpips import BLOCKS, WIDTHS, Lpips, perceptual


def vgg16_features() -> torch.nn.Sequential:
    """Simonyan & Zisserman (2015), configuration D, numbered as everywhere: ReLU and pooling count."""
    layers: list[torch.nn.Module] = []
    before = 3
    for index, width in enumerate(WIDTHS):
        layers += [torch.nn.MaxPool2d(2)] * bool(index)
        for _ in BLOCKS[index]:
            layers += [torch.nn.Conv2d(before, width, 3, padding=1), torch.nn.ReLU()]
            before = width
    return torch.nn.Sequential(*layers, torch.nn.MaxPool2d(2))


@pytest.fixture(scope="module")
def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    network = vgg16_features()
    for layer in network:
        if isinstance(layer, torch.nn.Conv2d):  # so that all blocks see something
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return network


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vgg16_by_lot")
    save_file({f"features.{k}": v for k, v in network.state_dict().items()}, folder / "model.safetensors")
    return folder


def pictures(seed: int, count: int = 3, height: int = 48, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def test_it_is_torchmetrics_lpips(network, folder, monkeypatch):
    monkeypatch.setattr(library, "_get_tv_model_features", lambda *_, **__: network)  # torchvision's, which is not here
    theirs = library._LPIPS(pretrained=True, net="vgg", pnet_rand=True, eval_mode=True)
    first, second = pictures(1), pictures(2)
    one, two = (torch.from_numpy(p).permute(0, 3, 1, 2).float() / 255 for p in (first, second))
    with torch.inference_mode():
        expected = theirs(one, two, normalize=True).flatten().numpy()
    ours = Lpips(folder)
    assert ours.distances(first, second) == pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr(lpips, "BATCH_PIXELS", 1)  # one by one
    assert ours.distances(first, second) == pytest.approx(expected, rel=1e-4)
    assert (expected > 0.01).all() and len(set(expected.round(6))) == len(expected)
    assert ours.name.startswith("LPIPS-VGG16 vgg16_by_lot")


def test_equal_pictures_are_not_apart_and_the_order_does_not_matter(folder):
    distances = Lpips(folder).distances
    first, second = pictures(1), pictures(2)
    assert (distances(first, first) == 0).all()
    assert distances(first, second) == pytest.approx(distances(second, first))
    nearer = (0.9 * first.astype(float) + 0.1 * second).astype(np.uint8)
    assert (distances(first, nearer) < distances(first, second)).all()
    assert distances(first[:0], second[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("one", "two"), [((3, 48, 32), (2, 48, 32)), ((2, 48, 32), (2, 32, 48)), ((1, 8, 8), (1, 8, 8))]
)
def test_pictures_that_cannot_be_compared_are_refused(folder, one, two):
    with pytest.raises(ValueError, match="equally many pictures of 16 px and more"):
        Lpips(folder).distances(pictures(1, *one), pictures(2, *two))


def test_a_folder_without_vgg16_is_refused_in_a_sentence(network, folder, tmp_path):
    def refused(where) -> str:
        with pytest.raises(UserError, match=r"point it to a folder of VGG16 as safetensors") as told:
            Lpips(where)
        assert "\n" not in str(told.value)
        return str(told.value)

    assert "where there is no model.safetensors" in refused(tmp_path / "nowhere")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    assert "which cannot be loaded" in refused(tmp_path)
    held = {f"features.{k}": v for k, v in network.state_dict().items()}
    save_file({k: v for k, v in held.items() if k != "features.28.bias"}, tmp_path / "model.safetensors")
    assert "whose weights lack features.28.bias of the shape (512,)" in refused(tmp_path)
    save_file(held | {"features.2.weight": held["features.0.weight"].clone()}, tmp_path / "model.safetensors")
    assert "whose weights lack features.2.weight" in refused(tmp_path)
    for blind in (0.0, float("nan")):
        save_file({k: torch.full_like(v, blind) for k, v in held.items()}, tmp_path / "model.safetensors")
        assert f"whose weights find grey and stripes {blind} apart" in refused(tmp_path)


def test_a_prompt_is_one_trial_however_many_pictures_it_has():
    drawn = pd.DataFrame({"prompt_id": list("aabbc"), "set": ["retain_near"] * 4 + ["retain_far"]})
    found = perceptual(drawn, np.array([0.1, 0.3, 0.4, 0.8, 0.5]), "tiny", None)
    assert found.retain_near.n == 2 and found.retain_near.mean == pytest.approx(0.4)
    assert 0.19 < found.retain_near.low <= 0.4 <= found.retain_near.high < 0.61
    assert (found.retain_far.n, found.retain_far.low) == (1, None)
    assert "another_seed" not in found.model_dump(exclude_unset=True)
    assert perceptual(drawn, np.zeros(5), "tiny", 0.25).another_seed == 0.25
