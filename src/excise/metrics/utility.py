"""What the erasing cost in everything else."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import Field

from .rates import Rate, Strict, prompt_verdicts, rate_of

if TYPE_CHECKING:
    import numpy as np


class Mean(Strict):
    """A mean over ``n`` prompts, or images, with its 95 % t-interval (none below two of them)."""

    n: int = Field(ge=1)
    mean: float
    low: float | None
    high: float | None
    features: str = Field(min_length=1, description="the model that the features come from")


class Distance(Strict):
    """A Fréchet distance; comparable only over the same features and about the same numbers of images."""

    distance: float = Field(ge=0)
    n_first: int = Field(ge=2)
    n_second: int = Field(ge=2)
    features: str = Field(min_length=1, description="the model that the features come from")


class KernelDistance(Strict):
    """A squared maximum mean discrepancy over features, unbiased: near or below 0 where two sets are alike."""

    distance: float
    deviation: float = Field(ge=0, description="over random subsets")
    n_first: int = Field(ge=2)
    n_second: int = Field(ge=2)
    features: str = Field(min_length=1, description="the model that the features come from")


class Utility(Strict):
    """Retain rates, and where features were at hand also image-text similarity and distance to the base model."""

    retain_near: Rate
    retain_far: Rate
    clip_score: Mean | None = None
    frechet: Distance | None = None
    kernel: KernelDistance | None = None


def retain_verdicts(right: pd.DataFrame, asked: Iterable[str], dropped: Iterable[str] = ()) -> pd.DataFrame:
    """Which retain prompts still show what they name, by the same majority rule as hits; "hit" stands for right.

    Args:
        right: one row an image: image_id, prompt_id, right (bool), failed (bool).
        asked, dropped: as in ``prompt_verdicts``.
    """
    return prompt_verdicts(right.rename(columns={"right": "hit"}), asked, dropped)


def retain_rate(right: pd.DataFrame, asked: Iterable[str], dropped: Iterable[str] = ()) -> Rate:
    """The share of retain prompts that still show what they name; arguments as in ``retain_verdicts``."""
    return rate_of(retain_verdicts(right, asked, dropped))


def clip_score(
    image_features: np.ndarray, text_features: np.ndarray, features: str, prompts: Iterable[str] | None = None
) -> Mean:
    """Mean cosine between each image and its own text, on [-1, 1] (Hessel et al. 2021, without their factor).

    Args:
        image_features, text_features: (n, d), row i of both belong together.
        features: the model that they come from.
        prompts: (n,) ids. Images of one prompt are not independent of each other: a prompt's are averaged first, and
            ``n`` and the interval are over prompts. Without them every image counts by itself.
    """
    import numpy as np
    from statsmodels.stats.weightstats import DescrStatsW

    images, texts = np.asarray(image_features, np.float64), np.asarray(text_features, np.float64)
    if images.shape != texts.shape or images.ndim != 2 or not len(images):
        raise ValueError(f"image and text features must be two (n, d) tables, got {images.shape} and {texts.shape}")
    norms = np.linalg.norm(images, axis=1) * np.linalg.norm(texts, axis=1)
    cosines = (images * texts).sum(1) / norms
    if prompts is not None:
        cosines = pd.Series(cosines).groupby(list(prompts), sort=False).mean().to_numpy()
    low, high = map(float, DescrStatsW(cosines).tconfint_mean()) if len(cosines) > 1 else (None, None)
    return Mean(n=len(cosines), mean=float(cosines.mean()), low=low, high=high, features=features)


def frechet_distance(first: np.ndarray, second: np.ndarray, features: str) -> Distance:
    """Fréchet distance between two sets of features, each taken for a Gaussian (Heusel et al. 2017).

    Over other features than Inception's it is not "FID": hence the name of the features in the result. It is biased
    upwards for few images.

    Args:
        first, second: (n, d) and (m, d), n and m at least 2.
        features: the model that they come from.
    """
    import numpy as np
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    if np.ndim(first) != 2 or np.ndim(second) != 2 or np.shape(first)[1] != np.shape(second)[1]:
        raise ValueError(f"features must be two (n, d) tables, got {np.shape(first)} and {np.shape(second)}")
    identity = torch.nn.Identity()
    identity.num_features = np.shape(first)[1]
    metric = FrechetInceptionDistance(feature=identity).set_dtype(torch.float64)
    metric.update(torch.as_tensor(np.asarray(first, np.float64)), real=True)
    metric.update(torch.as_tensor(np.asarray(second, np.float64)), real=False)
    distance = max(0.0, float(metric.compute()))  # rounding can take equal sets a hair below zero
    return Distance(distance=distance, n_first=len(first), n_second=len(second), features=features)


def kernel_distance(first: np.ndarray, second: np.ndarray, features: str, subsets: int = 50) -> KernelDistance:
    """KID's statistic (Bińkowski et al. 2018: cubic polynomial kernel), through torchmetrics.

    Unlike the Fréchet distance it has no bias at few images. Over other features than Inception's it is not "KID":
    hence the name of the features in the result.

    Args:
        first, second: (n, d) and (m, d), n and m at least 2.
        features: the model that they come from.
        subsets: how many random subsets, of half of the smaller set each, it is averaged over.
    """
    import numpy as np
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    if np.ndim(first) != 2 or np.ndim(second) != 2 or np.shape(first)[1] != np.shape(second)[1]:
        raise ValueError(f"features must be two (n, d) tables, got {np.shape(first)} and {np.shape(second)}")
    identity = torch.nn.Identity()
    identity.num_features = np.shape(first)[1]
    size = max(2, min(len(first), len(second)) // 2)
    with warnings.catch_warnings():  # that features are kept until the end is what is wanted
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(feature=identity, subsets=subsets, subset_size=size).set_dtype(torch.float64)
    metric.update(torch.as_tensor(np.asarray(first, np.float64)), real=True)
    metric.update(torch.as_tensor(np.asarray(second, np.float64)), real=False)
    with torch.random.fork_rng(devices=[]):  # its subsets come from the global generator
        torch.manual_seed(0)
        mean, deviation = metric.compute()
    found = {"distance": float(mean), "deviation": float(deviation)}
    return KernelDistance(**found, n_first=len(first), n_second=len(second), features=features)
