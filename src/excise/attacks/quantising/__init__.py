"""Rounding an erased model's weights, as for a smaller device. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import Quantising

register("quantising", Quantising)
