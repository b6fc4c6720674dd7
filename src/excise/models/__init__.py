"""One face for diffusion models: encode, denoise, decode, and the layers that can be pruned."""

from .spec import ModelSpec, find_folder

__all__ = ["ModelSpec", "find_folder"]
