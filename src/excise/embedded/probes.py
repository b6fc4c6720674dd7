"""Probes for emoji64's world, fitted on its drawings: which thing is shown, and in which style."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from excise.judges.probe.features import features_version, image_features
from excise.judges.probe.probe import Probe

from .canvas import Canvas

Target = Literal["object", "style"]
PERSON = "person"
TREATMENTS = ("sharp", "blurred", "noisy")
DECODED, DISTURBED = "decoded", "disturbed"


def fit_probe(canvas: Canvas, target: Target, paints_per_icon: int = 5, seed: int = 0, autoencoder=None) -> Probe:
    """Fit a linear probe on painted drawings.

    Every drawing is painted ``paints_per_icon`` times, shifted, scaled, turned, on white and on random grounds of the
    palette. Each paint comes sharp, blurred and noisy, because samples of a model are softer and rougher than the
    drawings. One more paint of every drawing, with other jitter and ground, is held out to tell the accuracy of the
    weights as they are stored.

    Args:
        target: ``object`` (all persons are one label, "person") or ``style`` (a row for every thing in every style: the
            same style looks different on a banana and on a bell).
        autoencoder: a trained ``AutoencoderKL``; each paint then also comes as it decodes it, from its latents as they
            are and from disturbed ones, since nothing that a model draws is better than that. A style probe that has
            not seen this takes flat drawings for shaded ones.

    Source: multinomial logistic regression on standardised features (scikit-learn, L2), standardisation folded in.
    """
    icons = canvas.world.icons
    things = [PERSON if i.tone else i.thing for i in icons]
    styles = [i.style for i in icons]
    names = {"object": things, "style": styles}[target]
    told_apart = {"object": things, "style": [f"{t}|{s}" for t, s in zip(things, styles, strict=True)]}[target]
    treatments = [*TREATMENTS, DECODED, DISTURBED] if autoencoder is not None else TREATMENTS
    fitted = painted_features(canvas, paints_per_icon, seed, autoencoder)
    weight, bias, rows = _regress(fitted.flatten(0, 2), np.array(told_apart * (paints_per_icon * len(treatments))))
    probe = Probe(
        rows=tuple(row.split("|")[-1] for row in rows),
        weight=weight.half(),
        bias=bias.float(),
        version="2",
        fitted_on=(
            f"{len(icons)} drawings of emoji64's world, {paints_per_icon} paints each, {', '.join(treatments)}, "
            f"seed {seed}; {features_version()}"
        ),
        accuracy={},
    )
    held_out = painted_features(canvas, 1, seed + 1_000_003, autoencoder)[0]
    for treatment, features in zip(treatments, held_out, strict=True):
        named = probe.probabilities(features).argmax(1).tolist()
        share = np.mean([probe.labels[n] == name for n, name in zip(named, names, strict=True)])
        probe.accuracy[treatment] = round(float(share), 4)
    return probe


@functools.lru_cache(2)  # the object and the style probe are fitted on the same paints
def painted_features(canvas: Canvas, paints: int, seed: int, autoencoder=None) -> torch.Tensor:
    """Features of painted drawings, (paints, treatments, icons, 2208); the first paint is on white."""
    rows = []
    for paint in tqdm(range(paints), desc="painting", unit="round"):
        images = paint_all(canvas, seed * 1009 + paint, white=paint == 0)
        treated = [_treat(images, t, seed * 1009 + paint) for t in TREATMENTS]
        if autoencoder is not None:
            treated += [decoded(images, autoencoder), decoded(images, autoencoder, disturb=seed * 1009 + paint)]
        rows.append(torch.stack([image_features(each) for each in treated]))
    return torch.stack(rows)


@torch.inference_mode()
def decoded(images: np.ndarray, autoencoder, disturb: int | None = None, batch: int = 32) -> np.ndarray:
    """Images through an ``AutoencoderKL`` and back: (n, s, s, 3) uint8 RGB.

    Args:
        disturb: a seed; latents then get noise, fine and coarse, of .1 to .5 of their deviation, each image its own.
    """
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = torch.cat([autoencoder.encode(b).latent_dist.mean for b in pixels.split(batch)])
    if disturb is not None:
        generator = torch.Generator().manual_seed(disturb)
        n, channels, height, width = latents.shape
        fine = torch.randn(latents.shape, generator=generator)
        coarse = torch.randn(n, channels, 4, 4, generator=generator)
        coarse = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
        degree = 0.1 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator)
        latents = latents + latents.std() * degree * (0.7 * fine + 0.5 * coarse)
    return _bytes(torch.cat([autoencoder.decode(z).sample for z in latents.split(batch)]).clamp(-1, 1))


def paint_all(canvas: Canvas, seed: int, white: bool = False) -> np.ndarray:
    """Every drawing once, on white or on random grounds: (icons, s, s, 3) uint8 RGB."""
    generator = torch.Generator().manual_seed(seed)
    palette = torch.tensor([ground.rgb for ground in canvas.world.backgrounds.values()], dtype=torch.float32)
    n = len(canvas.world.icons)
    grounds = palette[torch.randint(len(palette), (n,), generator=generator)]
    grounds = (grounds + 8 * torch.randn(n, 3, generator=generator)).clamp(0, 255)  # as in training
    if white:
        grounds = torch.full_like(grounds, 255)
    return _bytes(canvas.paint(list(range(n)), grounds, generator))


def _bytes(images: torch.Tensor) -> np.ndarray:
    return ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def _treat(images: np.ndarray, treatment: str, seed: int) -> np.ndarray:
    """Paints as they are, blurred (deviation .5 to 1.5 px) or noisy (deviation 4 to 16 of 255), each to its degree."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    if treatment == "blurred":
        degrees = random.uniform(0.5, 1.5, len(images))
        return np.stack([gaussian_filter(i, (d, d, 0)) for i, d in zip(images, degrees, strict=True)])
    if treatment == "noisy":
        noise = random.normal(size=images.shape) * random.uniform(4, 16, (len(images), 1, 1, 1))
        return (images + noise).clip(0, 255).astype(np.uint8)
    return images


def _regress(features: torch.Tensor, names: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Weight (k, 2208) and bias (k) for features as they come, and the k labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    standard = scaler.fit_transform(features.numpy())
    # persons have five times as many drawings as a thing: balanced, a prior for them does not enter the bias
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=150, tol=1e-3).fit(standard, names)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes: the log odds of the second
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    weight = coefficients / scaler.scale_
    bias = intercept - weight @ scaler.mean_
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), model.classes_.tolist()
