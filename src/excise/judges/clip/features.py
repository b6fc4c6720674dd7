"""Image and text vectors of a CLIP folder, for the CLIP score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .clip import SHIPPED


def clip_features(images: np.ndarray, texts: list[str], folder: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Projected vectors, (n, d) each.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        texts: n captions.
        folder: a ``CLIPModel`` folder of transformers; the shipped one unless given.
    """
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPTokenizer

    folder = folder or SHIPPED
    model = CLIPModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32).eval()
    pixels = json.loads((folder / "preprocessor_config.json").read_text())
    size = (model.config.vision_config.image_size,) * 2
    resized = np.stack([Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in images])
    prepared = torch.from_numpy((resized / 255 - pixels["image_mean"]) / pixels["image_std"]).permute(0, 3, 1, 2)
    tokens = CLIPTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        seen = model.visual_projection(model.vision_model(prepared.float()).pooler_output)
        said = model.text_projection(model.text_model(**tokens).pooler_output)
    return seen.numpy(), said.numpy()
