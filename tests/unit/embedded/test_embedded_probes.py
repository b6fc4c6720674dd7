"""Probes fitted on a little world of drawn shapes."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from excise.embedded.autoencoder import AutoencoderOptions, build_autoencoder
from excise.embedded.canvas import Canvas
from excise.embedded.probes import _regress, decoded, fit_probe, paint_all, painted_features
from excise.embedded.world import World
from excise.judges.probe.features import image_features
from excise.judges.probe.probe import Probe

SHAPES = {
    "disc": lambda d, **k: d.ellipse((12, 12, 116, 116), **k),
    "bar": lambda d, **k: d.rectangle((12, 48, 116, 80), **k),
    "wedge": lambda d, **k: d.polygon([(64, 12), (116, 116), (12, 116)], **k),
    "cross": lambda d, **k: d.polygon([(12, 12), (64, 50), (116, 12), (78, 64), (116, 116), (64, 78), (12, 116)], **k),
}
STYLES = {"solid": {"fill": (20, 60, 200, 255)}, "outline": {"outline": (20, 60, 200, 255), "width": 6}}


def draw(shape: str, style: str) -> np.ndarray:
    image = Image.new("RGBA", (128, 128))
    SHAPES[shape](ImageDraw.Draw(image), **STYLES[style])
    return np.asarray(image)


@pytest.fixture(scope="module")
def canvas() -> Canvas:
    """Three things, and a cross that stands for a person in two skin tones."""
    style = {"package": "p", "version": "1", "sha256": "0" * 64, "licence": "none", "tone": "{tone}", "words": ["w"]}
    world = World(
        house_style="solid",
        styles={name: style for name in STYLES},
        tones={"light": ["light"], "dark": ["dark"]},
        backgrounds={
            "white": {"rgb": (255, 255, 255), "words": ["white"]},
            "yellow": {"rgb": (250, 216, 90), "words": ["yellow"]},
            "pink": {"rgb": (240, 160, 190), "words": ["pink"]},
        },
        objects={name: {"icon": name, "words": ["a", "b", "c"]} for name in ("disc", "bar", "wedge")},
        persons={"cross": {"icons": {s: "cross" for s in STYLES}, "words": ["a", "b", "c"]}},
        templates={"things": ["{thing}"], "styles": ["{style}"], "tones": ["{tone}"], "grounds": ["{ground}"]},
    )
    return Canvas(world, np.stack([draw(icon.thing, icon.style) for icon in world.icons]))


@pytest.mark.parametrize(("target", "labels"), [("object", {"bar", "disc", "wedge", "person"}), ("style", set(STYLES))])
def test_a_probe_names_paints_that_it_was_not_fitted_on(canvas, target, labels, tmp_path):
    fit_probe(canvas, target, paints_per_icon=2, seed=1).save(tmp_path / "probe.safetensors")
    probe = Probe.load(tmp_path / "probe.safetensors")
    assert set(probe.labels) == labels
    icons = canvas.world.icons
    names = [{"object": "person" if i.tone else i.thing, "style": i.style}[target] for i in icons]
    paints = np.concatenate([paint_all(canvas, seed) for seed in range(50, 52)])
    chances = probe.probabilities(image_features(paints))
    assert torch.allclose(chances.sum(1), torch.ones(len(paints)))
    right = np.mean([probe.labels[k] == name for k, name in zip(chances.argmax(1).tolist(), names * 2, strict=True)])
    assert right >= 0.9
    assert set(probe.accuracy) == {"sharp", "blurred", "noisy"} and probe.accuracy["sharp"] >= 0.9


def test_the_same_seed_gives_the_same_probe(canvas):
    first = fit_probe(canvas, "style", paints_per_icon=1, seed=3)
    painted_features.cache_clear()
    again = fit_probe(canvas, "style", paints_per_icon=1, seed=3)
    torch.testing.assert_close(again.weight, first.weight, rtol=0, atol=1e-3)
    assert again.accuracy == first.accuracy and again.labels == first.labels


def test_a_probe_can_learn_what_an_autoencoder_does_to_drawings(canvas):
    """An untrained autoencoder makes colours and lines unknown; only a probe that has seen that reads its pictures."""
    torch.manual_seed(0)
    options = AutoencoderOptions(channels=(16, 16, 32), loop={"steps": 1, "batch": 1, "lr": 1e-3})
    vae = build_autoencoder(options).eval().requires_grad_(False)
    paints = paint_all(canvas, 60)
    shown = decoded(paints, vae)
    assert shown.shape == paints.shape and shown.dtype == np.uint8
    names = ["person" if i.tone else i.thing for i in canvas.world.icons]
    right = {}
    for used in (None, vae):
        probe = fit_probe(canvas, "object", paints_per_icon=2, seed=4, autoencoder=used)
        named = probe.probabilities(image_features(shown)).argmax(1).tolist()
        right[used is not None] = np.mean([probe.labels[k] == name for k, name in zip(named, names, strict=True)])
        assert ("decoded" in probe.accuracy) == (used is not None) == ("decoded" in probe.fitted_on)
    assert right[True] >= right[False] + 0.2


@pytest.mark.parametrize("classes", [2, 5])
def test_standardisation_is_folded_into_the_weights(classes):
    """Against scikit-learn's own pipeline, on features of very different scales."""
    random = np.random.default_rng(classes)
    names = np.array([f"c{i % classes}" for i in range(120)])
    centres = random.normal(size=(classes, 12))
    features = centres[[int(n[1:]) for n in names]] + random.normal(size=(120, 12))
    features = features * np.logspace(-2, 2, 12) + np.linspace(-50, 50, 12)
    weight, bias, labels = _regress(torch.from_numpy(features), names)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=500))
    expected.fit(features, names)
    assert labels == expected[-1].classes_.tolist()
    chances = (torch.from_numpy(features).float() @ weight.T + bias).softmax(1)
    np.testing.assert_allclose(chances, expected.predict_proba(features), rtol=0.01, atol=1e-3)


def test_paints_differ_by_seed_and_cover_every_icon(canvas):
    first, again, other = paint_all(canvas, 1), paint_all(canvas, 1), paint_all(canvas, 2)
    assert first.shape == (len(canvas.world.icons), 64, 64, 3) and first.dtype == np.uint8
    assert (first == again).all() and (first != other).any()
    assert (paint_all(canvas, 1, white=True)[:, 0, 0] == 255).all()
    drawn = np.abs(first.astype(int) - first[:, :1, :1]).max((1, 2, 3))
    assert (drawn > 60).all(), "there is something on every ground"
