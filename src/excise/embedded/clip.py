"""A small CLIP (Radford et al. 2021), trained on the art: its frozen text tower conditions the U-Net."""

from __future__ import annotations

from pathlib import Path

import torch

from excise.training import train

from .canvas import Canvas
from .options import CLIPOptions


def build_clip(options: CLIPOptions, tokenizer, resolution: int = 64):
    """An untrained ``CLIPModel`` for this tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(options.seed)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": options.width,
        "intermediate_size": options.text_mlp,
        "projection_dim": options.projection,
        "num_hidden_layers": options.text_layers,
        "num_attention_heads": options.heads,
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    image = {
        "hidden_size": options.width,
        "intermediate_size": options.image_mlp,
        "projection_dim": options.projection,
        "num_hidden_layers": options.image_layers,
        "num_attention_heads": options.heads,
        "image_size": resolution,
        "patch_size": options.patch,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=options.projection))


def tokenize(tokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids padded to the model's length, (n, max_length)."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


def train_clip(options: CLIPOptions, canvas: Canvas, tokenizer, folder: Path):
    """Contrastive training on painted drawings; returns the model and its loss curve."""
    clip = build_clip(options, tokenizer)

    def loss_of(step: int) -> dict[str, torch.Tensor]:
        batch = canvas.draw_batch(options.seed * 1_000_003 + step, options.loop.batch)
        out = clip(input_ids=tokenize(tokenizer, batch.captions), pixel_values=batch.images, return_loss=True)
        right = (out.logits_per_image.argmax(1) == torch.arange(len(batch.icons))).float().mean()
        return {"loss": out.loss, "matched": right}

    rows = train(clip, loss_of, options.loop, folder, "CLIP")
    return clip.eval(), rows
