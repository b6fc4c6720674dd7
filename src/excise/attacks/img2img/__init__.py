"""Sampling from a noised picture of the concept. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import ImageToImage

register("img2img", ImageToImage)
