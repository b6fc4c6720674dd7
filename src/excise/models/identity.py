"""Which base model is this? An answer that does not depend on the precision it was loaded in."""

from __future__ import annotations

import hashlib

import numpy as np

from excise.errors import UserError


def model_sha256(pipe) -> str:
    """Hash of the *signs* of all weights of the denoiser and the text encoders.

    Rounding to another floating-point type keeps every sign bit (a value too small for the type becomes a zero of the
    same sign), so a model has one hash in float32, float16 and bfloat16. Two trainings never agree in millions of
    signs. A pipeline that wears an eraser gives the hash of what lies beneath it.
    """
    import torch

    digest = hashlib.sha256()
    parts = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
    for part in parts:
        module = getattr(pipe, part, None)
        if module is None:
            continue
        originals = getattr(module, "_excise_originals", {})
        for name, value in sorted(module.state_dict().items()):
            value = originals.get(name, value)
            if value.is_floating_point():
                digest.update(f"{part}.{name}{tuple(value.shape)}".encode())
                digest.update(np.packbits(torch.signbit(value).cpu().numpy().reshape(-1)).tobytes())
    return digest.hexdigest()


def refuse_not_finite(pipe, name: str) -> None:
    """Look at every weight of a pipeline once.

    Args:
        name: of the model, for the sentence.

    Raises:
        UserError: one is NaN or infinite: all that it draws would be, too.
    """
    import torch

    for part, module in pipe.components.items():
        if not isinstance(module, torch.nn.Module):
            continue
        for parameter, value in module.state_dict().items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise UserError(
                    f"The model '{name}' has weights that are no finite numbers ({part}.{parameter}): fetch it anew."
                )
