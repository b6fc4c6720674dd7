"""What emoji64's parts are shown when they are trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_forward_pre_hook

from excise.embedded.autoencoder import build_autoencoder, refine_decoder
from excise.embedded.canvas import Canvas
from excise.embedded.denoiser import build_denoiser, build_scheduler, train_denoiser
from excise.embedded.export import export_pipeline
from excise.embedded.options import AutoencoderOptions, DenoiserOptions
from excise.embedded.world import World
from excise.training import LoopOptions

STYLES = {"solid": {"fill": (20, 60, 200, 255)}, "ghostly": {"fill": (200, 60, 20, 120)}}


def draw(thing: str, style: str) -> np.ndarray:
    image = Image.new("RGBA", (128, 128))
    corners = {"disc": (14, 14, 114, 114), "bar": (14, 48, 114, 80), "figure": (50, 14, 78, 114)}[thing]
    ImageDraw.Draw(image).ellipse(corners, **STYLES[style])
    return np.asarray(image)


@pytest.fixture(scope="module")
def canvas() -> Canvas:
    style = {"package": "p", "version": "1", "sha256": "0" * 64, "licence": "none", "tone": "{tone}"}
    world = World(
        house_style="solid",
        styles={name: {**style, "words": [f"{name}ly"]} for name in STYLES},
        tones={"light": ["pale"], "dark": ["deep"]},
        backgrounds={
            "white": {"rgb": (255, 255, 255), "words": ["white"]},
            "yellow": {"rgb": (250, 216, 90), "words": ["yellow"]},
            "black": {"rgb": (20, 20, 20), "words": ["black"]},
        },
        objects={n: {"icon": n, "words": [f"{n}1", f"{n}2", f"{n}3"]} for n in ("disc", "bar")},
        persons={"figure": {"icons": {s: "figure" for s in STYLES}, "words": ["figure1", "figure2", "figure3"]}},
        templates={
            "things": ["{a} {thing}", "{thing}"],
            "styles": ["in {style} style"],
            "tones": ["{tone} skinned"],
            "grounds": ["on {ground}"],
        },
    )
    return Canvas(world, np.stack([draw(i.thing, i.style) for i in world.icons]))


def test_the_same_seed_gives_the_same_batch(canvas):
    first, again, other = (canvas.draw_batch(seed, 24) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images)
    assert (first.captions, first.icons) == (again.captions, again.icons)
    assert first.captions != other.captions and not torch.equal(first.images, other.images)


def test_captions_say_what_the_images_show(canvas):
    world = canvas.world
    batch = canvas.draw_batch(0, 300)
    assert batch.images.shape == (300, 3, 64, 64) and batch.images.abs().max() <= 1
    named = 0
    for image, caption, index in zip(batch.images, batch.captions, batch.icons, strict=True):
        icon = world.icons[index]
        assert any(w in caption for w in world.words(icon.thing))
        style = [s for s in world.styles if f"{s}ly" in caption] or [world.house_style]
        assert style == [icon.style]
        ground = [g for g in world.backgrounds if f"on {g}" in caption]
        named += bool(ground)
        colour = (image[:, 0, 0] + 1) * 127.5  # a corner: no drawing reaches it
        expected = torch.tensor(world.backgrounds[(ground or ["white"])[0]].rgb, dtype=torch.float32)
        assert (colour - expected).abs().max() < (50 if ground else 1)
        if "skinned" in caption:
            assert {"light": "pale", "dark": "deep"}[icon.tone] in caption
    assert 0.6 < named / 300 < 0.8
    assert 0.2 < np.mean([world.icons[i].tone is not None for i in batch.icons]) < 0.4


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0), (90, 216, 30)])
def test_a_paint_without_jitter_is_a_composite(canvas, ground):
    """Second computation with Pillow: scaled to nine tenths about the centre, laid over the ground, halved."""
    icons = list(range(len(canvas.world.icons)))
    painted = canvas.paint(icons, torch.tensor([ground] * len(icons), dtype=torch.float32), None, jitter=0)
    shift = 64 * (1 - 1 / 0.9)
    for index, image in zip(icons, painted, strict=True):
        icon = canvas.world.icons[index]
        layer = Image.fromarray(draw(icon.thing, icon.style)).transform(
            (128, 128), Image.Transform.AFFINE, (1 / 0.9, 0, shift, 0, 1 / 0.9, shift), Image.Resampling.BILINEAR
        )
        sheet = Image.new("RGBA", (128, 128), (*ground, 255))
        sheet.alpha_composite(layer)
        expected = np.asarray(sheet.convert("RGB").reduce(2), dtype=float)
        difference = np.abs(((image + 1) * 127.5).permute(1, 2, 0).numpy() - expected)
        assert difference.max() < 4 and difference.mean() < 1


def test_jitter_moves_scales_and_turns(canvas):
    ground = torch.full((2, 3), 255.0)
    still = canvas.paint([1, 1], ground, torch.Generator().manual_seed(0), jitter=0)
    moved = canvas.paint([1, 1], ground, torch.Generator().manual_seed(0))
    assert torch.equal(still[0], still[1]) and not torch.equal(moved[0], moved[1])


def options(**loop) -> DenoiserOptions:
    loop = LoopOptions(**{"steps": 1, "batch": 128, "lr": 1e-3, "bf16": False} | loop)
    return DenoiserOptions(channels=(16, 32), heads=2, shard=32, shards=2, caption_dropout=0.5, seed=1, loop=loop)


def test_noise_levels_in_training_are_those_of_the_schedule(canvas, tiny_model, tmp_path):
    """At t the U-Net sees √ᾱ_t x_0 and noise of variance 1 − ᾱ_t (Ho et al. 2020, eq. 4), not those of 999 − t."""
    seen = []

    def look(module, args):
        if type(module).__name__ == "UNet2DConditionModel":
            seen.append((args[0].detach(), args[1], args[2].detach()))

    vae = build_autoencoder(AutoencoderOptions(channels=(8, 8, 8), loop=LoopOptions(steps=1, batch=1, lr=1.0))).eval()
    hook = register_module_forward_pre_hook(look)
    try:
        _, rows = train_denoiser(options(), canvas, vae, tiny_model.pipe.text_encoder, tiny_model.tokenizer, tmp_path)
    finally:
        hook.remove()
    [(noisy, times, states)] = seen
    picked = torch.randint(64, (128,), generator=torch.Generator().manual_seed(1_000_003))
    clean = load_file(tmp_path / "latents.safetensors")["latents"][picked]
    betas = np.linspace(np.sqrt(0.00085), np.sqrt(0.02), 1000) ** 2
    alphas = torch.from_numpy(np.cumprod(1 - betas))[times].float().view(-1, 1, 1, 1)
    noise = noisy - alphas.sqrt() * clean
    spread = noise.pow(2).mean((1, 2, 3)) / (1 - alphas.flatten())
    assert float(spread.min()) > 0.75 and float(spread.max()) < 1.25
    assert times.min() < 100 and times.max() > 900
    blank = tiny_model.encode([""])[0]
    dropped = (states - blank).abs().amax((1, 2)) < 1e-4
    assert 0.3 < float(dropped.float().mean()) < 0.7  # half of the captions, as asked
    assert np.isfinite(rows[0]["loss"])


def test_the_sampler_has_the_noise_levels_of_training(tiny_model):
    betas = np.linspace(np.sqrt(0.00085), np.sqrt(0.02), 1000) ** 2
    np.testing.assert_allclose(build_scheduler().alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)
    np.testing.assert_allclose(tiny_model.schedule.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)


def test_refining_moves_the_decoder_alone_and_lowers_its_loss(canvas, tmp_path):
    loop = {"steps": 60, "batch": 8, "lr": 1e-2, "warmup": 1, "bf16": False, "ema": 0.0}
    chosen = AutoencoderOptions(channels=(8, 8, 8), loop=loop, refine=loop)
    vae = build_autoencoder(chosen).eval()
    before = {n: p.clone() for n, p in vae.state_dict().items()}
    images = canvas.draw_batch(5, 16).images
    with torch.no_grad():
        latents = vae.encode(images).latent_dist.mean
        start = (vae.decode(latents).sample - images).abs().mean()
    refine_decoder(chosen, canvas, vae, tmp_path)
    with torch.no_grad():
        assert torch.equal(vae.encode(images).latent_dist.mean, latents)
        assert (vae.decode(latents).sample - images).abs().mean() < 0.98 * start
    moved = {n for n, p in vae.state_dict().items() if not torch.equal(p, before[n])}
    assert moved and all(n.startswith(("decoder.", "post_quant_conv.")) for n in moved)


def test_an_exported_model_does_not_say_where_its_parts_came_from(tiny_model, tmp_path):
    pipe = StableDiffusionPipeline.from_pretrained(tiny_model.spec.folder, safety_checker=None)
    export_pipeline(pipe, tmp_path / "out")
    assert not any("_name_or_path" in f.read_text() for f in (tmp_path / "out").rglob("*.json"))


def test_latents_are_made_once(canvas, tiny_model, tmp_path):
    vae = build_autoencoder(AutoencoderOptions(channels=(8, 8, 8), loop=LoopOptions(steps=1, batch=1, lr=1.0))).eval()
    text = (tiny_model.pipe.text_encoder, tiny_model.tokenizer)
    train_denoiser(options(batch=2), canvas, vae, *text, tmp_path)
    stored = (tmp_path / "latents.safetensors").stat().st_mtime_ns
    unet, _ = train_denoiser(options(batch=2), canvas, vae, *text, tmp_path)
    assert (tmp_path / "latents.safetensors").stat().st_mtime_ns == stored
    fresh = build_denoiser(options(), text[0].config.hidden_size)
    assert unet.config.cross_attention_dim == fresh.config.cross_attention_dim == 32
