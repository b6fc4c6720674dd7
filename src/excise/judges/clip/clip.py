"""Zero-shot classification by CLIP (Radford et al. 2021, section 3.1): the caption that fits an image best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from excise.judges.judge import Detection, Judge, Options

from .load import SHIPPED, load_clip


class ClipOptions(Options):
    labels: str
    folder: str = Field("", json_schema_extra={"default_is_for": "the small drawings of emoji64"})

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
        super().__init__(options)
        folder = Path(options.folder) if options.folder else SHIPPED
        self._clip = load_clip(folder, "The judge's option 'folder'")
        self.labels = tuple(dict.fromkeys(part.strip() for part in options.labels.split(",") if part.strip()))
        self._tokens = self._clip.tokenizer(list(self.labels), padding=True, return_tensors="pt")
        self.sha256 = self._clip.sha256
        self.version = folder.name
        mean, deviation, size = self._clip.mean, self._clip.deviation, self._clip.size
        self.preprocessing = f"bicubic to {size} px square, mean {mean}, deviation {deviation}"

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        import torch

        pixels = self._clip.pixels(images)
        with torch.inference_mode():
            scores = self._clip.model(**self._tokens, pixel_values=pixels).logits_per_image.softmax(1)
        return [[Detection(*pair) for pair in zip(self.labels, row, strict=True)] for row in scores.tolist()]
