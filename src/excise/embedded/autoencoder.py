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


class _Decoder(torch.nn.Module):
    """The decoding half alone: what is left to train when latents must stay what they are."""

    def __init__(self, vae):
        super().__init__()
        self.first, self.rest = vae.post_quant_conv, vae.decoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.rest(self.first(latents))


def refine_decoder(options: AutoencoderOptions, canvas: Canvas, vae, folder: Path) -> list[dict]:
    """Train the decoder on while the encoder stands still, half of the latents with noise.

    What a U-Net draws is never quite a latent of the encoder's: small faces and flat areas suffer first. Since latents
    stay the same, a U-Net that was trained on them stays right. Trains ``vae`` in place; returns the loss curve.
    """
    decoder, count = _Decoder(vae), len(canvas.world.icons)
    deviation = 1 / vae.config.scaling_factor

    def loss_of(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(options.seed * 2_000_003 + step)
        n = options.refine.batch
        icons = torch.randint(count, (n,), generator=generator).tolist()
        images = canvas.paint(icons, _grounds(canvas, n, generator), generator)
        with torch.no_grad():
            latents = vae.encode(images).latent_dist.mean
        size = torch.rand(n, 1, 1, 1, generator=generator) * options.latent_noise * deviation
        size = size * (torch.arange(n) % 2).view(-1, 1, 1, 1)
        decoded = decoder(latents + size * torch.randn(latents.shape, generator=generator)).float()
        pixel, edge = F.l1_loss(decoded, images), gradient_loss(decoded, images)
        return {"loss": pixel + options.gradient_weight * edge, "l1": pixel.detach()}

    rows = train(decoder, loss_of, options.refine, folder, "decoder")
    vae.eval()
    return rows


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
