"""Where a concept's neurons are in an erased model: found afresh, beside those of the base model."""

from .moving import located

__all__ = ["located"]
