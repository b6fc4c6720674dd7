"""Erasers, one folder a method. A new one registers itself with one line in its ``__init__``."""

from . import ac, advunlearn, conceptprune, esd, hiding, rece, salun, stereo, uce  # noqa: F401
from .eraser import Eraser
from .registry import ERASERS, EraserOptions, make_method, register

__all__ = ["ERASERS", "Eraser", "EraserOptions", "make_method", "register"]
