"""Pruning masks: support, scored and learned masks, apply and lift, storage."""

from .gates import HardConcrete
from .mask import Mask
from .options import PruneOptions
from .scores import score_weights
from .support import mask_support

__all__ = ["HardConcrete", "Mask", "PruneOptions", "mask_support", "score_weights"]
