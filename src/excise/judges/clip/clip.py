"""Zero-shot classification by CLIP (Radford et al. 2021, section 3.1): the caption that fits an image best."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pydantic import field_validator

from excise.errors import UserError
from excise.judges.judge import Detection, Judge, Options, file_sha256

SHIPPED = Path(__file__).parents[2] / "embedded" / "emoji64_clip"


class ClipOptions(Options):
    labels: str
    folder: str = ""

    @field_validator("labels")
    @classmethod
    def _several(cls, value: str) -> str:
        if len({part.strip() for part in value.split(",")} - {""}) < 2:
            raise ValueError("name at least two captions, with commas between them")
        return value


class ClipZeroShot(Judge):
    """Softmax over captions of the scaled cosine between image and caption.

    Options: ``labels``, captions with commas between them; ``folder``, a ``CLIPModel`` folder of transformers with its
    tokenizer and ``preprocessor_config.json`` (the shipped one unless set). Every image gets all labels and no box.
    """

    name = "clip_zero_shot"
    options_type = ClipOptions

    def __init__(self, options: ClipOptions):
        import torch
        from transformers import CLIPModel, CLIPTokenizer

        super().__init__(options)
        folder = Path(options.folder) if options.folder else SHIPPED
        needed = ["model.safetensors", "config.json", "tokenizer_config.json", "preprocessor_config.json"]
        missing = [name for name in needed if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{folder} has no {missing[0]}: set the judge's option 'folder' to a CLIPModel folder.")
        self.labels = tuple(dict.fromkeys(part.strip() for part in options.labels.split(",") if part.strip()))
        self.sha256 = file_sha256(folder / "model.safetensors")
        self.version = folder.name
        # half-precision files are computed in single precision: the same scores on every machine
        model = CLIPModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
        self._model = model.eval().requires_grad_(False)
        self._tokens = CLIPTokenizer.from_pretrained(folder)(list(self.labels), padding=True, return_tensors="pt")
        pixels = json.loads((folder / "preprocessor_config.json").read_text())
        self._mean, self._deviation = pixels["image_mean"], pixels["image_std"]
        self._size = self._model.config.vision_config.image_size
        self.preprocessing = f"bicubic to {self._size} px square, mean {self._mean}, deviation {self._deviation}"

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        import torch
        from PIL import Image

        size = (self._size, self._size)
        resized = np.stack([Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in images])
        pixels = torch.from_numpy((resized / 255 - self._mean) / self._deviation).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            scores = self._model(**self._tokens, pixel_values=pixels).logits_per_image.softmax(1)
        return [[Detection(*pair) for pair in zip(self.labels, row, strict=True)] for row in scores.tolist()]
