"""Options of emoji64's parts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from excise.training import LoopOptions


class AutoencoderOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channels: tuple[int, ...] = (32, 32, 64)
    layers_per_block: int = 1
    latent_channels: int = 4
    kl_weight: float = 1e-3
    gradient_weight: float = 1.0
    latent_noise: float = Field(
        0.25, ge=0, description="highest noise that refining adds, in deviations of the latents"
    )
    seed: int = 0
    loop: LoopOptions
    refine: LoopOptions | None = None


class CLIPOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 128
    text_layers: int = 3
    image_layers: int = 3
    heads: int = 4
    text_mlp: int = 512
    image_mlp: int = 256
    patch: int = 8
    projection: int = 128
    seed: int = 0
    loop: LoopOptions


class DenoiserOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channels: tuple[int, ...] = (64, 96, 128)
    heads: int = 4
    layers_per_block: int = 1
    caption_dropout: float = 0.1
    min_snr_gamma: float = 5.0
    shard: int = 64
    shards: int = 256
    seed: int = 0
    loop: LoopOptions


class KnownOptions(BaseModel):
    """Which pictures judges are tried on.

    Attributes:
        often: things that are painted on every ground, and not on one only.
        persons, things: icons that are not in the world, the same name at every vendor.
        columns: of the sheet that they are put on.
    """

    model_config = ConfigDict(extra="forbid")
    often: list[str] = []
    persons: list[str] = []
    things: list[str] = []
    columns: int = 20
