"""Probes as judges."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from excise.judges.judge import Detection, Judge, Options, file_sha256

SHIPPED = Path(__file__).parents[2] / "embedded" / "probes"
KEPT = 5  # detections an image


class ProbeOptions(Options):
    file: str = Field("", json_schema_extra={"default_is_for": "the small drawings of emoji64"})


class ProbeJudge(Judge):
    """A linear probe on EfficientNet-Lite0 features.

    Each image gets its five likeliest labels with their softmax probability, likeliest first, and no box. A label
    that is left out has a probability of at most 1/6. ``sha256`` covers the ImageNet weights and the probe.
    """

    shipped: ClassVar[Path]
    options_type = ProbeOptions

    def __init__(self, options: ProbeOptions):
        from excise.judges.probe import features
        from excise.judges.probe.probe import Probe

        super().__init__(options)
        file = Path(options.file) if options.file else self.shipped
        self.probe = Probe.load(file)
        self.labels = self.probe.labels
        self.floor = 1 / (KEPT + 1) if len(self.labels) > KEPT else 0.0
        self.version = f"{self.probe.version} on {features.features_version()}"
        self.sha256 = hashlib.sha256((file_sha256(features.weights_file()) + file_sha256(file)).encode()).hexdigest()
        self.preprocessing = features.PREPROCESSING

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        from excise.judges.probe.features import image_features

        best = self.probe.probabilities(image_features(images)).topk(min(KEPT, len(self.labels)), 1)
        return [
            [Detection(self.labels[label], score) for score, label in zip(scores, labels, strict=True)]
            for scores, labels in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


class ObjectProbe(ProbeJudge):
    """Which thing of emoji64's world is drawn; all persons are one label."""

    name = "object_probe"
    shipped = SHIPPED / "object.safetensors"


class StyleProbe(ProbeJudge):
    """In which style of emoji64's world."""

    name = "style_probe"
    shipped = SHIPPED / "style.safetensors"
