"""What a judge is: raw detections out, thresholds applied later."""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from excise.concepts.concept import JudgeSpec
from excise.errors import UserError, first_wrong


@dataclass(frozen=True)
class Detection:
    """One thing that a judge saw.

    ``score`` is on [0, 1]; ``box`` is (x0, y0, x1, y1) in pixels of the judged image, None from a judge without boxes.
    """

    label: str
    score: float
    box: tuple[float, float, float, float] | None = None


class Options(BaseModel):
    """What can be set at a judge; a judge with options has its own subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Judge(ABC):
    """Looks at images and says what it sees, with a score for each label.

    Attributes:
        name: key in ``JUDGES``.
        version: of the detector, not of this code.
        sha256: of its weights.
        labels: all that it can see.
        label_sets: short names for groups of labels.
        floor: the score below which it may leave a detection out.
        preprocessing: one line on what happens to an image before it is judged.
    """

    name: str
    version: str
    sha256: str
    labels: tuple[str, ...]
    preprocessing: str
    floor: float = 0.0
    label_sets: ClassVar[dict[str, tuple[str, ...]]] = {}
    options_type: ClassVar[type[Options]] = Options

    def __init__(self, options: Options):
        self.options = options

    @abstractmethod
    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        """Raw detections, a list for each image.

        Args:
            images: (n, H, W, 3) uint8, RGB.
        """

    def resolve(self, labels: list[str]) -> tuple[str, ...]:
        """Labels, with the names of label sets replaced by what is in them.

        Raises:
            UserError: a word that is neither a label nor a label set of this judge.
        """
        unknown = [label for label in labels if label not in self.labels and label not in self.label_sets]
        if unknown:
            known = ", ".join([*self.label_sets, *self.labels])
            raise UserError(f"The judge '{self.name}' has no label '{unknown[0]}': use some of {known}.")
        return tuple(dict.fromkeys(name for label in labels for name in self.label_sets.get(label, (label,))))


JUDGES: dict[str, type[Judge]] = {}


def register(name: str, judge: type[Judge]) -> None:
    """Make a judge known under a name."""
    JUDGES[name] = judge


def make_judge(spec: JudgeSpec) -> Judge:
    """The judge that a concept asks for; the same name and options give the same object again.

    Raises:
        UserError: unknown judge, option or label, or a threshold below what the judge reports.
    """
    if spec.name not in JUDGES:
        raise UserError(f"There is no judge '{spec.name}': set the judge's name to one of {', '.join(sorted(JUDGES))}.")
    try:
        options = JUDGES[spec.name].options_type(**spec.options)
    except ValidationError as error:
        place, wrong = first_wrong(error)
        raise UserError(f"The judge '{spec.name}': option '{place}' {wrong}.") from None
    judge = _build(spec.name, options)
    judge.resolve(spec.labels)
    if spec.labels and spec.threshold < judge.floor:
        raise UserError(
            f"The judge '{spec.name}' reports no score below {judge.floor:.3g}: set its threshold to that or more."
        )
    return judge


def look(judge: Judge, images: np.ndarray) -> list[list[Detection]]:
    """What a judge sees, a list for each image; what it says is checked.

    Raises:
        ValueError: it answers for another number of images, or a score is no number on [0, 1]. Whoever asks counts
            these images as failed, never as clear.
    """
    found = list(judge.detect(images))
    if len(found) != len(images):
        raise ValueError(f"the judge '{judge.name}' was shown {len(images)} images and answered for {len(found)}")
    for one in (detection for detections in found for detection in detections):
        if not -1e-6 <= one.score <= 1 + 1e-6:  # NaN is not between; rounding is let through
            raise ValueError(f"the judge '{judge.name}' gave '{one.label}' the score {one.score}, not one on [0, 1]")
    return found


@functools.cache
def _build(name: str, options: Options) -> Judge:
    return JUDGES[name](options)


def file_sha256(path: Path) -> str:
    """Hex digest of a weight file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
