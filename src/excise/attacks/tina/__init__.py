"""Text-free inversion (TINA, 2026): the noise from which an erased model draws the concept unasked."""

from excise.attacks.attack import register

from .attack import TextFreeInversion

register("tina", TextFreeInversion)
