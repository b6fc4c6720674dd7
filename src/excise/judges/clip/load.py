"""A CLIP of transformers, from a folder: read whole, or refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from excise.errors import UserError
from excise.judges.judge import file_sha256

if TYPE_CHECKING:
    import torch

SHIPPED = Path(__file__).parents[2] / "embedded" / "emoji64_clip"
NEEDED = ("model.safetensors", "config.json", "tokenizer_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Clip:
    """Attributes: model; tokenizer; mean and deviation of the pixels it was trained on; size, of its square in px;
    sha256 of its weights."""

    model: Any
    tokenizer: Any
    mean: list[float]
    deviation: list[float]
    size: int
    sha256: str

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """(n, H, W, 3) uint8 RGB -> (n, 3, size, size), normalised."""
        import torch
        from PIL import Image

        size = (self.size, self.size)
        resized = np.stack([Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in images])
        return torch.from_numpy((resized / 255 - self.mean) / self.deviation).permute(0, 3, 1, 2).float()

    def features(self, images: np.ndarray, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Projected vectors of n images (as in ``pixels``) and of n captions: (n, d) each."""
        import torch

        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            seen = self.model.visual_projection(self.model.vision_model(self.pixels(images)).pooler_output)
            said = self.model.text_projection(self.model.text_model(**tokens).pooler_output)
        return seen.numpy(), said.numpy()


def load_clip(folder: Path, option: str) -> Clip:
    """Half-precision files are computed in single precision: the same scores on every machine.

    Args:
        folder: a ``CLIPModel`` with its tokenizer and ``preprocessor_config.json``.
        option: what the user has to change where the folder is none such.

    Raises:
        UserError: a file is missing or damaged, it is another model, or its tokenizer knows no words.
    """
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    def refuse(why: str) -> UserError:
        return UserError(f"{option} is '{folder}', {why}: point it to a CLIPModel folder with its tokenizer.")

    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise refuse(f"where there is no {missing[0]}")
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
        if kind != "clip":  # transformers would draw all weights that it does not find by lot
            raise refuse(f"a model of the type '{kind}'")
        pixels = json.loads((folder / "preprocessor_config.json").read_text())
        mean, deviation = pixels["image_mean"], pixels["image_std"]
        model, told = CLIPModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        same = tokenizer("a cat").input_ids == tokenizer("a dog").input_ids
    except UserError:
        raise
    except Exception as error:  # of many kinds, all about what lies in the folder
        raise refuse(f"which cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0]})") from None
    if told["missing_keys"]:
        raise refuse(f"whose weights lack {sorted(told['missing_keys'])[0]}")
    if same:  # without a vocabulary transformers makes a tokenizer that takes all captions for one
        raise refuse("whose tokenizer has no vocabulary")
    size = model.config.vision_config.image_size
    sha256 = file_sha256(folder / "model.safetensors")
    return Clip(model.eval().requires_grad_(False), tokenizer, mean, deviation, size, sha256)
