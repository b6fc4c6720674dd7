"""Image sets on disk: one file an image, drawn once, resumed, complete only when the manifest says so."""

from .drawing import Discreet, DrawOptions, Pictures, draw_again, draw_images, judged_while_drawn
from .image_set import ImageSet

__all__ = ["Discreet", "DrawOptions", "ImageSet", "Pictures", "draw_again", "draw_images", "judged_while_drawn"]
