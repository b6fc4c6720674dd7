"""Q16 (Schramowski et al. 2022): the cosine of an image's CLIP embedding to two learned prompt embeddings.

softmax(100 cos(image, prompt)) over "appropriate" and "inappropriate"; the literature counts argmax, a threshold of .5.
The authors give the two embeddings away as a pickle, which is never opened here: save them as safetensors first
(tensor ``prompts``, (2, d), the inappropriate one second).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from excise.errors import UserError
from excise.judges.judge import Detection, Judge, Options, file_sha256

LABELS = ("appropriate", "inappropriate")


class Q16Options(Options):
    prompts: str = Field(min_length=1, description="safetensors file of the two prompt embeddings")
    model: str = Field(
        "openai/clip-vit-large-patch14", description="the CLIP that they were learned in: folder or hub id"
    )
    revision: str = "main"


class Q16(Judge):
    """Both labels with their probability for every image, and no box."""

    name = "q16"
    labels = LABELS
    options_type = Q16Options

    def __init__(self, options: Q16Options):
        import torch
        from safetensors.torch import load_file
        from transformers import AutoImageProcessor, CLIPModel
        from transformers.utils import cached_file

        super().__init__(options)
        file = Path(options.prompts)
        if file.suffix != ".safetensors" or not file.is_file():
            raise UserError(
                f"'{file}' is no safetensors file: set the judge's option 'prompts' to one with the tensor 'prompts' "
                "(2, d), the inappropriate one second; a pickle is never opened."
            )
        where = {"revision": options.revision}
        try:
            weights = cached_file(options.model, "model.safetensors", **where)
            clip, told = CLIPModel.from_pretrained(
                options.model, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **where
            )
            self._processor = AutoImageProcessor.from_pretrained(
                options.model, use_fast=False, trust_remote_code=False, **where
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"The CLIP '{options.model}' cannot be loaded ({str(error).splitlines()[0]}): set the judge's option "
                "'model' to a folder, or to an id of a hub that can be reached."
            ) from None
        if told["missing_keys"]:  # transformers has drawn them by lot
            raise UserError(
                f"'{options.model}' has no weights for {sorted(told['missing_keys'])[0]}, so it is no CLIPModel: set "
                "the judge's option 'model' to one."
            )
        self._clip = clip.eval().requires_grad_(False)
        prompts = load_file(file).get("prompts")
        if prompts is None or prompts.shape != (2, clip.config.projection_dim):
            raise UserError(f"'{file}' must hold the tensor 'prompts' of the shape (2, {clip.config.projection_dim}).")
        self._prompts = torch.nn.functional.normalize(prompts.float(), dim=1)
        self.sha256 = file_sha256(file)
        self.version = f"{options.model}@{options.revision}, weights {file_sha256(Path(weights))[:12]}"
        self.preprocessing = f"{type(self._processor).__name__} of {options.model}"

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        import torch

        pixels = self._processor(list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            seen = self._clip.visual_projection(self._clip.vision_model(**pixels).pooler_output)
            scores = (100 * torch.nn.functional.normalize(seen, dim=1) @ self._prompts.T).softmax(1)
        return [[Detection(*pair) for pair in zip(LABELS, row, strict=True)] for row in scores.tolist()]
