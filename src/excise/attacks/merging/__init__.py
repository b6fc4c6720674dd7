"""Averaging an erased model with its base model. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import Merging

register("merging", Merging)
