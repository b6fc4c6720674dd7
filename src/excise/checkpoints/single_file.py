"""One file by the original names, as ComfyUI and A1111 read it: Stable Diffusion 1, 2, XL, 3, FLUX.1; or its denoiser.

Names are translated by diffusers' own loader; it works on shapes alone as it does on weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from excise.errors import UserError

from .kind import Change
from .weights import base_of, place_parts, refuse_incomplete

if TYPE_CHECKING:
    import torch

    from .checkpoint import Checkpoint
    from .layout import Layout, Part

Tensors = Mapping[str, "torch.Tensor"]
DENOISER = "model.diffusion_model."
BARE = {  # how the keys of a denoiser alone begin: class in diffusers -> keys
    "UNet2DConditionModel": ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out."),
    "SD3Transformer2DModel": (
        *("joint_blocks.", "x_embedder.", "t_embedder.", "y_embedder.", "context_embedder.", "pos_embed"),
        "final_layer.",
    ),
    "FluxTransformer2DModel": (
        *("double_blocks.", "single_blocks.", "img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in."),
        "final_layer.",
    ),
}
ORIGINAL = ("input_blocks.", "joint_blocks.", "double_blocks.")  # of these every one of the above has one
VAE = ("first_stage_model.", "vae.")


class Original(NamedTuple):
    """A text encoder as the original stores it.

    Attributes:
        places: the part of the pipeline that it is; of several the first that the base model has.
        open_clip: whether its weights have OpenCLIP's names, which keep queries, keys and values together.
    """

    places: tuple[str, ...]
    open_clip: bool = False


ENCODERS = {
    "cond_stage_model.transformer.": Original(("text_encoder",)),
    "cond_stage_model.model.": Original(("text_encoder",), open_clip=True),
    "conditioner.embedders.0.transformer.": Original(("text_encoder",)),
    "conditioner.embedders.1.model.": Original(("text_encoder_2",), open_clip=True),
    "text_encoders.clip_l.transformer.": Original(("text_encoder",)),
    "text_encoders.clip_g.transformer.": Original(("text_encoder_2",)),
    "text_encoders.t5xxl.transformer.": Original(("text_encoder_3", "text_encoder_2")),
}
# noise schedules, averages of training, and what no model of diffusers has
NEEDLESS = ("model_ema.", "alphas_cumprod", "betas", "sqrt_", "log_one_minus", "posterior_", "denoiser.")
NOT_OF_THE_ENCODER = ("logit_scale", "text_projection.weight", "text_projection")  # where the base model's has none


class SingleFile:
    """A whole model in one file, or its denoiser."""

    what = "a single file by the original names"

    def recognises(self, checkpoint: Checkpoint) -> bool:
        starts = (DENOISER, *ENCODERS, "first_stage_model.", *ORIGINAL)
        return any(key.startswith(starts) for key in checkpoint.keys)

    def masks(self, checkpoint: Checkpoint) -> bool:
        return False

    def read(self, checkpoint: Checkpoint, tensors: Tensors, layout: Layout) -> Change:
        denoiser = layout.denoiser
        bare = BARE[type(denoiser.module).__name__]
        groups = _groups(checkpoint, (DENOISER, *bare), layout)
        parts: dict[str, dict[str, torch.Tensor]] = {}
        if keys := groups.pop(DENOISER, None):
            given = {key if key.startswith(DENOISER) else DENOISER + key: tensors[key] for key in keys}
            translated = _denoiser(given, denoiser, checkpoint, layout)
            refuse_incomplete(denoiser, translated, checkpoint)
            lost = sum(v.numel() for v in given.values()) - sum(v.numel() for v in translated.values())
            if lost:  # the loader leaves out what it does not know, and says nothing
                raise UserError(
                    f"'{checkpoint.path}' holds {abs(lost):,} numbers in its denoiser that {layout.model} has no place "
                    "for: look whether it is of another base model."
                )
            parts[denoiser.name] = translated
        if keys := groups.pop("vae", None):
            parts["vae"] = _autoencoder({key: tensors[key] for key in keys}, layout)
        for prefix, keys in groups.items():
            part = next((layout.parts[name] for name in ENCODERS[prefix].places if name in layout.parts), None)
            if part is None:
                raise UserError(
                    f"'{checkpoint.path}' was not made from {layout.model}: it has a text encoder '{prefix}', and the "
                    f"base model is made of {', '.join(layout.parts)}."
                )
            parts[part.name] = _encoder({key: tensors[key] for key in keys}, prefix, part)
        weights, autoencoder = place_parts(layout, parts, checkpoint)
        return Change(weights=weights, autoencoder=autoencoder, base=base_of(checkpoint))


def _groups(checkpoint: Checkpoint, denoiser: tuple[str, ...], layout: Layout) -> dict[str, list[str]]:
    """Keys by what they are of: ``DENOISER``, ``vae``, or an encoder's prefix.

    Raises:
        UserError: a key is of nothing that is known.
    """
    found: dict[str, list[str]] = {}
    for key in checkpoint.keys:
        if key.startswith(denoiser):
            found.setdefault(DENOISER, []).append(key)
        elif key.startswith(VAE):
            found.setdefault("vae", []).append(key)
        elif prefix := next((p for p in ENCODERS if key.startswith(p)), None):
            found.setdefault(prefix, []).append(key)
        elif not key.startswith(NEEDLESS) and not key.endswith("logit_scale"):
            raise UserError(layout.unknown(checkpoint.path, key, []))
    return found


def _denoiser(given: Tensors, part: Part, checkpoint: Checkpoint, layout: Layout) -> dict[str, torch.Tensor]:
    translate = CONVERTERS[type(part.module).__name__]
    try:
        return translate(dict(given), part)
    except (KeyError, IndexError, ValueError, RuntimeError, AttributeError) as error:
        raise UserError(
            f"'{checkpoint.path}' is not built like the {part.name} of {layout.model} (diffusers' loader stops at "
            f"{str(error).splitlines()[0]}): choose the base model that it was made from, with --env."
        ) from None


def _unet(given: dict[str, torch.Tensor], part: Part) -> dict[str, torch.Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    return convert_ldm_unet_checkpoint(given, part.module.config)


def _sd3(given: dict[str, torch.Tensor], part: Part) -> dict[str, torch.Tensor]:
    from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers

    return convert_sd3_transformer_checkpoint_to_diffusers(given)


def _flux(given: dict[str, torch.Tensor], part: Part) -> dict[str, torch.Tensor]:
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

    return convert_flux_transformer_checkpoint_to_diffusers(given)


CONVERTERS: dict[str, Callable[[dict, Part], dict]] = {
    "UNet2DConditionModel": _unet,
    "SD3Transformer2DModel": _sd3,
    "FluxTransformer2DModel": _flux,
}


def _autoencoder(given: Tensors, layout: Layout) -> dict[str, torch.Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    return convert_ldm_vae_checkpoint(dict(given), layout.parts["vae"].module.config)


def _encoder(given: Tensors, prefix: str, part: Part) -> dict[str, torch.Tensor]:
    """By transformers' names; what the original stores besides, and the base model's encoder has no place for, is left
    out."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    if ENCODERS[prefix].open_clip:
        named = convert_open_clip_checkpoint(part.module, dict(given), prefix=prefix)
    else:
        named = {key.removeprefix(prefix): value for key, value in given.items()}
    return {key: v for key, v in named.items() if key not in NOT_OF_THE_ENCODER or part.find(key) is not None}
