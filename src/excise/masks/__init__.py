"""Pruning masks: support, scored and learned masks, apply and lift, storage."""

from .mask import Mask
from .options import PruneOptions
from .support import mask_support

__all__ = ["Mask", "PruneOptions", "mask_support"]
