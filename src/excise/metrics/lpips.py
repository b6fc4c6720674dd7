"""LPIPS (Zhang et al. 2018), its VGG16 version: how different two pictures look to people, learned from their answers.

The heads come with torchmetrics. VGG16's own weights are the user's folder; torchmetrics would fetch them as a pickle,
through torchvision.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from excise.errors import UserError

from .prompt_means import PromptMean, means_by_set
from .rates import Strict

if TYPE_CHECKING:
    import pandas as pd
    import torch

WEIGHTS = "model.safetensors"
# convolutions of VGG16 by block, each block but the first behind a pooling of 2 x 2; a block's last output is compared
BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
WIDTHS = (64, 128, 256, 512, 512)
LEAST = 16  # px: below this the last block would see nothing
BATCH_PIXELS = 16 * 64 * 64  # one picture of 256 px: its first block takes 16 MB
GREY = np.full((1, 32, 32, 3), 128, np.uint8)
TRIED = GREY, np.where(np.arange(32)[None, :, None, None] % 4 < 2, GREY, np.uint8(255))  # grey, and stripes
# pixels on [-1, 1] -> what VGG16 was trained on; the constants are LPIPS' own
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Perceptual(Strict):
    """LPIPS distances, 0 for equal pictures.

    Attributes:
        retain_near, retain_far: between the two models' pictures of one prompt and seed; None where none was drawn.
        another_seed: the scale: between the base model's pictures of one harmless prompt; None where it drew one each.
        features: the network that they come from.
    """

    retain_near: PromptMean | None = None
    retain_far: PromptMean | None = None
    another_seed: float | None = Field(None, ge=0)
    features: str = Field(min_length=1)


class Lpips:
    """Compares pictures two by two.

    Attributes:
        name: ``LPIPS-VGG16``, the folder's name and the beginning of its weights' sha256.
    """

    def __init__(self, folder: Path):
        """
        Args:
            folder: VGG16 trained on ImageNet, with ``model.safetensors`` (timm/vgg16.tv_in1k, or torchvision's saved).

        Raises:
            UserError: no such file, not VGG16's weights, or weights that see nothing.
        """
        import torch
        from safetensors.torch import load_file

        from excise.judges.judge import file_sha256

        file = folder / WEIGHTS
        if not file.is_file():
            raise _refusal(folder, f"where there is no {WEIGHTS}")
        try:
            held = load_file(file)
        except Exception as error:  # of many kinds, all about the file
            said = str(error).strip().splitlines() or [""]
            raise _refusal(folder, f"which cannot be loaded ({type(error).__name__}: {said[0]})") from None
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        before = 3
        self._convolutions: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for block, width in zip(BLOCKS, WIDTHS, strict=True):
            for number in block:
                shapes = {"weight": (width, before, 3, 3), "bias": (width,)}
                for part, shape in shapes.items():
                    name = f"features.{number}.{part}"
                    if name not in held or tuple(held[name].shape) != shape:
                        raise _refusal(folder, f"whose weights lack {name} of the shape {shape}")
                weight, bias = (held[f"features.{number}.{part}"].float().to(self._device) for part in shapes)
                self._convolutions[number] = (weight, bias)
                before = width
        self._heads = [head.to(self._device) for head in _heads()]
        tried = float(self.distances(*TRIED)[0])
        if not (np.isfinite(tried) and tried > 0):
            raise _refusal(folder, f"whose weights find grey and stripes {tried} apart")
        self.name = f"LPIPS-VGG16 {folder.resolve().name} {file_sha256(file)[:12]}"

    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Distance of each picture from the one in the same place.

        Args:
            first, second: (n, H, W, 3) uint8, RGB, at least 16 px wide and high.

        Returns:
            (n,) float64, at least 0.
        """
        import torch
        from tqdm import tqdm

        if first.shape != second.shape or min(first.shape[1:3]) < LEAST:
            raise ValueError(f"equally many pictures of {LEAST} px and more, got {first.shape} and {second.shape}")
        batch = max(1, BATCH_PIXELS // (first.shape[1] * first.shape[2]))
        found = [np.empty(0)]
        with torch.inference_mode():
            for start in tqdm(range(0, len(first), batch), desc="LPIPS", unit="batch", disable=len(first) <= 8 * batch):
                pair = (self._blocks(images[start : start + batch]) for images in (first, second))
                blocks = zip(self._heads, *pair, strict=True)  # one block at a time: the first ones are large
                total = sum((head * (one - two).square()).sum(1).mean((1, 2)) for head, one, two in blocks)
                found.append(total.double().cpu().numpy())
        return np.concatenate(found)

    def _blocks(self, images: np.ndarray) -> Iterator[torch.Tensor]:
        """Each block's output, every place of length 1: (n, channels, height, width)."""
        import torch
        from torch.nn.functional import conv2d, max_pool2d

        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = ((pixels - torch.tensor(SHIFT).view(3, 1, 1)) / torch.tensor(SCALE).view(3, 1, 1)).to(self._device)
        for index, block in enumerate(BLOCKS):
            x = max_pool2d(x, 2) if index else x
            for number in block:
                x = conv2d(x, *self._convolutions[number], padding=1).relu_()
            yield x / (1e-8 + x.square().sum(1, keepdim=True)).sqrt()


def perceptual(drawn: pd.DataFrame, distances: np.ndarray, features: str, another_seed: float | None) -> Perceptual:
    """By set, over prompts.

    Args:
        drawn: one row a picture that both models drew: prompt_id, set (retain_near, retain_far).
        distances: (n,), of the two models' pictures.
        features: ``Lpips.name``.
        another_seed: the scale, where there is one.
    """
    scale = {} if another_seed is None else {"another_seed": another_seed}
    return Perceptual(**means_by_set(drawn, distances), **scale, features=features)


def _heads() -> list[torch.Tensor]:
    """One weight a channel and block, none below 0: (1, channels, 1, 1) each."""
    from importlib.resources import files

    import torch

    file = files("torchmetrics") / "functional" / "image" / "lpips_models" / "vgg.pth"
    held = torch.load(str(file), map_location="cpu", weights_only=True)  # no code is read from it
    return [held[f"lin{index}.model.1.weight"].float() for index in range(len(BLOCKS))]


def _refusal(folder: Path, why: str) -> UserError:
    return UserError(
        f"fidelity.lpips is '{folder}', {why}: point it to a folder of VGG16 as safetensors, such as that of "
        "timm/vgg16.tv_in1k, or set it to null."
    )
