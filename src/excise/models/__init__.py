"""One face for diffusion models: encode, denoise, decode, and the layers that can be pruned."""

from .spec import ModelSpec

__all__ = ["ModelSpec"]
