"""The KL autoencoder of emoji64: 64x64 RGB to 16x16 latents of four channels."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from excise.training import train

from .canvas import Canvas
from .options import AutoencoderOptions


def build_autoencoder(options: AutoencoderOptions, resolution: int = 64):
    """An untrained ``AutoencoderKL``."""
    from diffusers import AutoencoderKL

    torch.manual_seed(options.seed)
    levels = len(options.channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=options.channels,
        layers_per_block=options.layers_per_block,
        latent_channels=options.latent_channels,
        norm_num_groups=8,
        sample_size=resolution,
    )


def gradient_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of horizontal and vertical image gradients: keeps edges sharp."""
    return (a.diff(dim=-1) - b.diff(dim=-1)).abs().mean() + (a.diff(dim=-2) - b.diff(dim=-2)).abs().mean()


def train_autoencoder(options: AutoencoderOptions, canvas: Canvas, folder: Path):
    """Train on freely coloured grounds; returns the model with ``scaling_factor`` set, and its loss curve."""
    vae = build_autoencoder(options)
    count = len(canvas.world.icons)

    def loss_of(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        icons = torch.randint(count, (options.loop.batch,), generator=generator).tolist()
        images = canvas.paint(icons, _grounds(canvas, options.loop.batch, generator), generator)
        posterior = vae.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample.float()
        pixel = F.l1_loss(decoded, images)
        edge = gradient_loss(decoded, images)
        kl = posterior.kl().mean() / images[0].numel()
        mse = F.mse_loss(decoded.detach(), images)
        return {
            "loss": pixel + options.gradient_weight * edge + options.kl_weight * kl,
            "l1": pixel.detach(),
            "mse": mse,
        }

    rows = train(vae, loss_of, options.loop, folder, "autoencoder")
    vae.eval()
    vae.register_to_config(scaling_factor=1 / _latent_std(vae, canvas, options.seed))
    return vae, rows


def _grounds(canvas: Canvas, n: int, generator: torch.Generator) -> torch.Tensor:
    """Half the grounds from the world's palette, half any colour; (n, 3) on [0, 255]."""
    palette = torch.tensor([b.rgb for b in canvas.world.backgrounds.values()], dtype=torch.float32)
    named = palette[torch.randint(len(palette), (n,), generator=generator)]
    named = (named + 8 * torch.randn(n, 3, generator=generator)).clamp(0, 255)
    free = torch.rand(n, 3, generator=generator) * 255
    return torch.where(torch.rand(n, 1, generator=generator) < 0.5, named, free)


@torch.no_grad()
def _latent_std(vae, canvas: Canvas, seed: int) -> float:
    batch = canvas.draw_batch(seed + 7, 256)
    return float(vae.encode(batch.images).latent_dist.mean.std())
