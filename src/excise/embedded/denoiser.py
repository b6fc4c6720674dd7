"""The U-Net of emoji64: noise prediction in latent space, conditioned by the frozen text tower."""

from __future__ import annotations

from pathlib import Path

import torch

from excise.cache import finished, write_atomically
from excise.training import train

from .canvas import Canvas
from .clip import tokenize
from .options import DenoiserOptions


def build_scheduler():
    """Noise schedule and fast sampler.

    Betas as in Stable Diffusion, but ending at .02: 16x16 latents leave less room to average noise away, and at .012
    the last step would still show the mean colour, which pure noise at sampling time does not have.
    """
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(beta_start=0.00085, beta_end=0.02, beta_schedule="scaled_linear", steps_offset=1)


def build_denoiser(options: DenoiserOptions, text_width: int, latent_channels: int = 4, latent_size: int = 16):
    """An untrained ``UNet2DConditionModel``: attention on all but the finest level."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(options.seed)
    attended = len(options.channels) - 1
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        layers_per_block=options.layers_per_block,
        block_out_channels=options.channels,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * attended),
        up_block_types=(*("CrossAttnUpBlock2D",) * attended, "UpBlock2D"),
        cross_attention_dim=text_width,
        attention_head_dim=options.heads,  # diffusers reads it as the number of heads
        norm_num_groups=16,
    )


class LatentLibrary:
    """Painted drawings as latents, made once: ``shards`` batches of captioned images, kept in one file."""

    def __init__(self, canvas: Canvas, vae, options: DenoiserOptions, path: Path):
        from safetensors.torch import load_file, save_file
        from tqdm import tqdm

        self.captions: list[str] = []
        images = []
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = load_file(path)["latents"] if finished(path) else None
        for shard in tqdm(range(options.shards), desc="latents", mininterval=2.0):
            batch = canvas.draw_batch(10_000_019 * (options.seed + 1) + shard, options.shard)
            self.captions += batch.captions
            if stored is None:
                with torch.no_grad():
                    images.append(vae.encode(batch.images).latent_dist.mean * vae.config.scaling_factor)
        self.latents = stored if stored is not None else torch.cat(images)
        if stored is None:
            write_atomically(path, lambda draft: save_file({"latents": self.latents.contiguous()}, draft))


def train_denoiser(options: DenoiserOptions, canvas: Canvas, vae, text_encoder, tokenizer, folder: Path):
    """Train with min-SNR weighting (Hang et al. 2023, eq. 6), on a GPU where there is one.

    Returns:
        The U-Net, on the CPU, and its loss curve.
    """
    from diffusers import DDPMScheduler

    device = "cuda" if torch.cuda.is_available() else "cpu"
    unet = build_denoiser(options, text_encoder.config.hidden_size, vae.config.latent_channels).to(device)
    text_encoder = text_encoder.to(device)
    # not the solver's own add_noise: before set_timesteps it takes the noise levels in reverse order
    scheduler = DDPMScheduler.from_config(build_scheduler().config)
    library = LatentLibrary(canvas, vae, options, folder / "latents.safetensors")
    stored = library.latents.to(device)
    tokens, blank = (tokenize(tokenizer, texts).to(device) for texts in (library.captions, [""]))
    snr = scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod)

    def loss_of(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        n = options.loop.batch
        picked = torch.randint(len(stored), (n,), generator=generator).to(device)
        latents = stored[picked]
        dropped = (torch.rand(n, 1, generator=generator) < options.caption_dropout).to(device)
        with torch.no_grad():
            states = text_encoder(torch.where(dropped, blank, tokens[picked])).last_hidden_state
        noise = torch.randn(latents.shape, generator=generator).to(device)
        times = torch.randint(1000, (n,), generator=generator)
        weight = (options.min_snr_gamma / snr[times]).clamp(max=1.0).to(device)
        times = times.to(device)
        noisy = scheduler.add_noise(latents, noise, times)
        predicted = unet(noisy, times, states.float()).sample.float()
        error = (predicted - noise).pow(2).mean((1, 2, 3))
        return {"loss": (weight * error).mean(), "mse": error.mean().detach()}

    rows = train(unet, loss_of, options.loop, folder, "U-Net")
    return unet.cpu().eval(), rows
