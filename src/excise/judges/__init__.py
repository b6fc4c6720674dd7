"""Judges: who tells what an image shows. Each one lives in a folder and is registered in one line there."""

from excise.judges.judge import JUDGES, Detection, Judge, make_judge, register

from . import classifier, clip, nudenet, opennsfw, probe, q16  # noqa: F401  (importing registers them)

__all__ = ["JUDGES", "Detection", "Judge", "make_judge", "register"]
