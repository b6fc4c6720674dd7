"""One safetensors file with the key names of the original Stable Diffusion, which ComfyUI and A1111 read.

The names follow from the modules: the original counts the parts of its U-Net through, diffusers groups them in blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from excise.cache import write_atomically
from excise.errors import UserError

from .weights import metadata

if TYPE_CHECKING:
    import torch
    from torch import nn

    from excise.erasers.eraser import Eraser
    from excise.models.diffusion import DiffusionModel

PREFIXES = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "cond_stage_model."}
UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_RESNET = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"conv_shortcut": "nin_shortcut"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def why_no_single_file(base: Path) -> str | None:
    """Why a model has no such file, as the end of a sentence; None if it has one.

    Args:
        base: the model's diffusers folder; its weights are not read.
    """
    parts = json.loads((base / "model_index.json").read_text())
    if parts.get("transformer", [None])[0]:
        return "the layout is Stable Diffusion 1's, and this model is a transformer"
    if parts.get("text_encoder_2", [None])[0]:
        return "the layout is Stable Diffusion 1's, with one text encoder, and this model has more"
    encoder = base / "text_encoder/config.json"
    if encoder.exists() and json.loads(encoder.read_text()).get("hidden_act", "quick_gelu") != "quick_gelu":
        return "the layout is Stable Diffusion 1's, and this model's text encoder is not OpenAI's CLIP but another"
    return None


def ldm_names(pipe) -> dict[str, tuple[str, str]]:
    """The original's key -> (part of the pipeline, name in the part's state dict), for every weight of all parts.

    Raises:
        UserError: the pipeline has a weight that the original has no name for.
    """
    modules = {"unet": dict(_unet(pipe.unet)), "vae": dict(_vae(pipe.vae))}
    names = {}
    for part, prefix in PREFIXES.items():
        for name in getattr(pipe, part).state_dict():
            if part == "text_encoder":  # recent versions of transformers leave out `text_model.`
                original = f"transformer.text_model.{name.removeprefix('text_model.')}"
            else:
                original = _rename(name, modules[part], part)
            names[prefix + original] = (part, name)
    return names


def save_single_file(model: DiffusionModel, eraser: Eraser, path: Path) -> int:
    """Write the model wearing an eraser, in the precision it has; returns the number of tensors."""
    from safetensors.torch import save_file

    with model.wearing(eraser):
        tensors = ldm_tensors(model.pipe)
        write_atomically(Path(path), lambda draft: save_file(tensors, draft, metadata("checkpoint", eraser)))
    return len(tensors)


def ldm_tensors(pipe) -> dict[str, torch.Tensor]:
    """All weights by the original's keys; the autoencoder's attention as the 1 x 1 convolution that it was there."""
    states = {part: getattr(pipe, part).state_dict() for part in PREFIXES}
    tensors = {}
    for key, (part, name) in ldm_names(pipe).items():
        value = states[part][name].detach().cpu()
        if part == "vae" and ".attn_1." in key and value.ndim == 2:
            value = value[:, :, None, None]
        tensors[key] = value.contiguous()
    return tensors


def _rename(name: str, modules: dict[str, str], part: str) -> str:
    """A weight's name under the longest of the modules that it lies in."""
    path = name
    while path:
        if path in modules:
            return modules[path] + name[len(path) :]
        path = path.rpartition(".")[0]
    raise UserError(f"The {part} has a weight '{name}' that Stable Diffusion 1 has no name for: export another format.")


def _unet(unet: nn.Module) -> Iterator[tuple[str, str]]:
    """Module -> the original's module."""
    yield "time_embedding.linear_1", "time_embed.0"
    yield "time_embedding.linear_2", "time_embed.2"
    yield "conv_in", "input_blocks.0.0"
    yield "conv_norm_out", "out.0"
    yield "conv_out", "out.2"
    count = 1
    for b, block in enumerate(unet.down_blocks):
        attended = len(getattr(block, "attentions", None) or [])
        for j in range(len(block.resnets)):
            yield from _resnet(f"down_blocks.{b}.resnets.{j}", f"input_blocks.{count}.0", UNET_RESNET)
            if attended:
                yield f"down_blocks.{b}.attentions.{j}", f"input_blocks.{count}.1"
            count += 1
        if block.downsamplers:
            yield f"down_blocks.{b}.downsamplers.0.conv", f"input_blocks.{count}.0.op"
            count += 1
    for j in range(2):
        yield from _resnet(f"mid_block.resnets.{j}", f"middle_block.{2 * j}", UNET_RESNET)
    yield "mid_block.attentions.0", "middle_block.1"
    count = 0
    for b, block in enumerate(unet.up_blocks):
        attended = len(getattr(block, "attentions", None) or [])
        for j in range(len(block.resnets)):
            yield from _resnet(f"up_blocks.{b}.resnets.{j}", f"output_blocks.{count}.0", UNET_RESNET)
            if attended:
                yield f"up_blocks.{b}.attentions.{j}", f"output_blocks.{count}.1"
            count += 1
        if block.upsamplers:  # beside the last of the block
            yield f"up_blocks.{b}.upsamplers.0.conv", f"output_blocks.{count - 1}.{2 if attended else 1}.conv"


def _vae(vae: nn.Module) -> Iterator[tuple[str, str]]:
    """Module -> the original's module."""
    for conv in ("quant_conv", "post_quant_conv"):
        yield conv, conv
    for side, blocks, theirs in (("encoder", "down_blocks", "down"), ("decoder", "up_blocks", "up")):
        yield f"{side}.conv_in", f"{side}.conv_in"
        yield f"{side}.conv_norm_out", f"{side}.norm_out"
        yield f"{side}.conv_out", f"{side}.conv_out"
        for j in range(2):
            yield from _resnet(f"{side}.mid_block.resnets.{j}", f"{side}.mid.block_{j + 1}", VAE_RESNET)
        yield from _resnet(f"{side}.mid_block.attentions.0", f"{side}.mid.attn_1", VAE_ATTENTION)
        found = getattr(getattr(vae, side), blocks)
        for b, block in enumerate(found):
            level = b if theirs == "down" else len(found) - 1 - b  # the original counts from fine to coarse
            for j in range(len(block.resnets)):
                yield from _resnet(f"{side}.{blocks}.{b}.resnets.{j}", f"{side}.{theirs}.{level}.block.{j}", VAE_RESNET)
            if getattr(block, f"{theirs}samplers"):
                yield f"{side}.{blocks}.{b}.{theirs}samplers.0.conv", f"{side}.{theirs}.{level}.{theirs}sample.conv"


def _resnet(module: str, original: str, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, theirs in names.items():
        yield f"{module}.{name}", f"{original}.{theirs}"
