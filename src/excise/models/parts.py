"""Which module of a pipeline has a parameter, by the names that erasers use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


def denoiser_of(pipe) -> nn.Module:
    """The U-Net or the transformer."""
    return pipe.unet if getattr(pipe, "unet", None) is not None else pipe.transformer


def owner(pipe, name: str) -> tuple[nn.Module, str]:
    """The module that has a parameter, and the parameter's name in it.

    Names are the denoiser's own; those of a text encoder begin with its attribute in the pipeline.
    """
    part, _, own = name.partition(".")
    encoder = getattr(pipe, part, None) if part in ENCODERS else None
    return (denoiser_of(pipe), name) if encoder is None else (encoder, own)


def editable(pipe) -> list[nn.Module]:
    """The denoiser and all text encoders that are there."""
    return [denoiser_of(pipe), *(m for e in ENCODERS if (m := getattr(pipe, e, None)) is not None)]
