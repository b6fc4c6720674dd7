"""A judge that sees light and dark."""

import numpy as np

from excise.judges import Detection, Judge
from excise.judges.judge import Options


class Brightness(Judge):
    """The mean of all pixels, on [0, 1], as the score of "bright"; no box."""

    name = "brightness"
    version = "1"
    sha256 = ""  # there are no weights
    labels = ("bright",)
    preprocessing = "none"

    def __init__(self, options: Options):
        super().__init__(options)

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        return [[Detection("bright", float(image.mean()) / 255)] for image in images]
