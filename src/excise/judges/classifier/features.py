"""Pooled features of any image model of transformers: ResNet, ViT, DINOv2, CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from excise.errors import UserError
from excise.judges.judge import file_sha256

NEEDED = ("model.safetensors", "config.json", "preprocessor_config.json")
GREY = np.full((1, 64, 64, 3), 128, np.uint8)


class PooledFeatures:
    """What a model says of a whole picture: CLIP's projected vector, else the pooled last layer.

    Attributes:
        name: the folder's, and the beginning of its weights' sha256.
    """

    def __init__(self, folder: Path):
        """
        Args:
            folder: the model's weights as safetensors, its config and its preprocessor_config.json.

        Raises:
            UserError: no such model, one that lacks weights or brings its own code, or one without pooled features:
                found out on a grey picture.
        """
        import torch
        from transformers import AutoImageProcessor, AutoModel

        self._folder = folder
        missing = [name for name in NEEDED if not (folder / name).is_file()]
        if missing:
            raise self._refusal(f"where there is no {missing[0]}")
        try:
            model, told = AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
            self._processor = AutoImageProcessor.from_pretrained(folder, use_fast=False, trust_remote_code=False)
            self._model = model.eval().requires_grad_(False)
            # of a model that reads texts, too, the half that sees
            self._see = getattr(model, "get_image_features", model)
            pooled = self._pooled(GREY)
        except Exception as error:  # of many kinds, all about what lies in the folder
            said = str(error).strip().splitlines() or [""]
            raise self._refusal(f"which cannot be loaded ({type(error).__name__}: {said[0]})") from None
        if told["missing_keys"]:  # transformers has drawn them by lot: the pooling layer of a ViT that only classifies
            raise self._refusal(
                f"whose weights lack {sorted(told['missing_keys'])[0]} (DINOv2 and ResNet need no pooling layer)"
            )
        if pooled is None:
            raise self._refusal(f"a {type(model).__name__}, which has no pooled features")
        self.name = f"{folder.resolve().name} {file_sha256(folder / NEEDED[0])[:12]}"

    def __call__(self, images: np.ndarray, batch: int = 32) -> np.ndarray:
        """(n, H, W, 3) uint8 RGB -> (n, d) float32."""
        starts = range(0, len(images), batch)
        return np.concatenate([self._pooled(images[start : start + batch]) for start in starts])

    def _pooled(self, images: np.ndarray) -> np.ndarray | None:
        import torch

        pixels = self._processor(list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            pooled = getattr(self._see(**pixels), "pooler_output", None)
        return None if pooled is None else pooled.flatten(1).numpy()

    def _refusal(self, why: str) -> UserError:
        return UserError(
            f"fidelity.features is '{self._folder}', {why}: point it to an image model's folder with safetensors and a "
            "preprocessor_config.json (DINOv2, ResNet, CLIP), or set it to null."
        )
