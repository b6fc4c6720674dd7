"""Put the parts of emoji64 together: a diffusers folder that loads like any Stable Diffusion, and the small CLIP."""

from __future__ import annotations

from pathlib import Path

import torch

from excise.exports.folder import load_in_single_precision, write_folder

from .denoiser import build_scheduler


def assemble_pipeline(vae, clip, tokenizer, unet):
    """A ``StableDiffusionPipeline`` of these parts; the text encoder is CLIP's text tower."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel

    text_encoder = CLIPTextModel(clip.config.text_config)
    text_encoder.load_state_dict(clip.text_model.state_dict())
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export_pipeline(pipe, folder: Path) -> None:
    """Write half-precision safetensors, without a variant suffix, so that ``from_pretrained`` finds them."""
    write_folder(pipe.to(dtype=torch.float16), folder)


def export_clip(clip, tokenizer, folder: Path) -> None:
    """Write the small CLIP, both towers, half precision; pixels go in on [-1, 1]."""
    from transformers import CLIPImageProcessor

    clip.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    load_in_single_precision(folder)
    tokenizer.save_pretrained(folder)
    size = clip.config.vision_config.image_size
    half = [0.5, 0.5, 0.5]
    settings = {"do_resize": True, "size": {"height": size, "width": size}, "do_center_crop": False}
    CLIPImageProcessor(**settings, image_mean=half, image_std=half).save_pretrained(folder)


def size_mb(folder: Path) -> float:
    """Megabytes (10^6 bytes) of all files below a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6
