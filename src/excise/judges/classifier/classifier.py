"""An image classifier of transformers as a judge.

The literature's object judge is ``microsoft/resnet-50`` (ImageNet, top-1: UnlearnDiffAtk, ConceptPrune, SalUn);
its style judge a ViT fine-tuned on 129 artists (Zhang et al. 2024; top-1 and top-3), which its authors give away as a
folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from excise.errors import UserError
from excise.judges.judge import Detection, Judge, Options, file_sha256


class ClassifierOptions(Options):
    model: str = Field(min_length=1, description="a folder, or the id of a model on the hub")
    revision: str = "main"
    top: int = Field(5, ge=1, description="how many of the likeliest labels are kept; 1 for top-1")


class ImageClassifier(Judge):
    """Softmax over the model's own labels; the likeliest ``top`` are kept, and no box.

    With ``top: 1`` and a threshold of 0 a hit is what papers call top-1. Weights are read from safetensors alone.
    """

    name = "image_classifier"
    options_type = ClassifierOptions

    def __init__(self, options: ClassifierOptions):
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification
        from transformers.utils import cached_file

        super().__init__(options)
        where = {"revision": options.revision}
        here = {**where, "trust_remote_code": False}
        try:
            weights = cached_file(options.model, "model.safetensors", **where)
            model, told = AutoModelForImageClassification.from_pretrained(
                options.model, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **here
            )
            self._processor = AutoImageProcessor.from_pretrained(options.model, use_fast=False, **here)
        except (OSError, ValueError) as error:
            raise UserError(
                f"The classifier '{options.model}' cannot be loaded ({str(error).splitlines()[0]}): set the judge's "
                "option 'model' to a folder with safetensors, a config and a preprocessor_config.json, or to an id of "
                "a hub that can be reached."
            ) from None
        if told["missing_keys"]:  # transformers has drawn them by lot: of a model that was never taught to classify
            raise UserError(
                f"The classifier '{options.model}' has no weights for {sorted(told['missing_keys'])[0]}: set the "
                "judge's option 'model' to one that was trained to classify."
            )
        self._model = model.eval().requires_grad_(False)
        named = model.config.id2label
        self.labels = tuple(dict.fromkeys(named[i] for i in range(len(named))))
        self._names = [named[i] for i in range(len(named))]
        self.sha256 = file_sha256(Path(weights))
        self.version = f"{options.model}@{options.revision}"
        self.preprocessing = f"{type(self._processor).__name__} of {options.model}"

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        import torch

        pixels = self._processor(list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            scores, places = self._model(**pixels).logits.softmax(1).topk(min(self.options.top, len(self._names)))
        pairs = zip(places.tolist(), scores.tolist(), strict=True)
        return [[Detection(self._names[i], s) for i, s in zip(row, score, strict=True)] for row, score in pairs]
