"""Textual inversion through the erased model (Pham et al. 2024): an embedding attack. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import TextualInversion

register("textual_inversion", TextualInversion)
