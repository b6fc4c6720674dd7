"""Pruning masks: support, scored and learned masks, apply and lift, storage."""

from .fixed import random_mask, scored_mask
from .mask import Mask
from .options import PruneOptions
from .support import mask_support

__all__ = ["Mask", "PruneOptions", "mask_support", "random_mask", "scored_mask"]
