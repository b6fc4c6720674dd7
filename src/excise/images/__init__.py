"""Image sets on disk: one file an image, drawn once, resumed, complete only when the manifest says so."""

from .drawing import DrawOptions, draw_images
from .image_set import ImageSet

__all__ = ["DrawOptions", "ImageSet", "draw_images"]
