"""Put the parts of emoji64 together: a diffusers folder that loads like any Stable Diffusion, and the small CLIP."""

from __future__ import annotations

import json
from pathlib import Path

import torch

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
    pipe.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    _load_in_single_precision(folder / "text_encoder")
    # diffusers notes where a part was loaded from: a path of one machine
    for config in [folder / "model_index.json", *folder.glob("*/config.json")]:
        told = json.loads(config.read_text())
        config.write_text(json.dumps({k: v for k, v in told.items() if k != "_name_or_path"}, indent=2) + "\n")


def export_clip(clip, tokenizer, folder: Path) -> None:
    """Write the small CLIP, both towers, half precision; pixels go in on [-1, 1]."""
    from transformers import CLIPImageProcessor

    clip.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    _load_in_single_precision(folder)
    tokenizer.save_pretrained(folder)
    size = clip.config.vision_config.image_size
    half = [0.5, 0.5, 0.5]
    settings = {"do_resize": True, "size": {"height": size, "width": size}, "do_center_crop": False}
    CLIPImageProcessor(**settings, image_mean=half, image_std=half).save_pretrained(folder)


def _load_in_single_precision(folder: Path) -> None:
    """Unless told otherwise diffusers computes in float32, transformers in what the config says: the same here."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def size_mb(folder: Path) -> float:
    """Megabytes (10^6 bytes) of all files below a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6
