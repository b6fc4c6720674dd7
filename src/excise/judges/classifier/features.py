"""Pooled features of any image model of transformers: ResNet, ViT, DINOv2, CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from excise.errors import UserError


def pooled_features(images: np.ndarray, folder: Path, batch: int = 32) -> np.ndarray:
    """What the model says of a whole picture, (n, d) float32: CLIP's projected vector, else the pooled last layer.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        folder: the model's weights as safetensors, its config and its preprocessor_config.json.

    Raises:
        UserError: no such model, one that lacks weights, or one without pooled features.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModel

    try:
        model, told = AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        processor = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"fidelity.features is '{folder}', which cannot be loaded ({str(error).splitlines()[0]}): point it to an "
            "image model's folder with safetensors, a config and a preprocessor_config.json, or set it to null."
        ) from None
    if told["missing_keys"]:  # transformers would draw them by lot: the pooling layer of a ViT that only classifies
        raise UserError(
            f"fidelity.features is '{folder}', whose weights lack {sorted(told['missing_keys'])[0]}: name a model that "
            "was saved with its pooling layer (DINOv2 and ResNet need none), or set it to null."
        )
    model.eval()
    see = getattr(model, "get_image_features", model)  # of a model that reads texts, too, the half that sees
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pictures = list(images[start : start + batch])
            pixels = processor(pictures, return_tensors="pt", input_data_format="channels_last")
            pooled = getattr(see(**pixels), "pooler_output", None)
            if pooled is None:
                raise UserError(
                    f"fidelity.features is '{folder}', a {type(model).__name__}, which has no pooled features: name "
                    "another model (ResNet, ViT, DINOv2, CLIP), or set it to null."
                )
            found.append(pooled.flatten(1).numpy())
    return np.concatenate(found)
