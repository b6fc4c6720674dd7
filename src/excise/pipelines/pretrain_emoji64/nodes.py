"""Make emoji64: art, tokenizer, CLIP, autoencoder, U-Net, probes. Each part resumes where it was stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from excise.cache import Cache, write_atomically
from excise.embedded.options import AutoencoderOptions, CLIPOptions, DenoiserOptions, KnownOptions
from excise.embedded.world import World


def fetch_art(world: World, cache: Cache) -> dict:
    """Archives of the vendors' art, checked by hash: style -> path."""
    from excise.embedded.art import fetch_archive

    return {s: str(fetch_archive(world.styles[s], cache.root / "art")) for s in world.shown_styles}


def render_art(world: World, archives: dict, cache: Cache) -> str:
    """All drawings of the world as one array; its path."""
    from excise.embedded.art import render_world

    path = (
        cache.folder("renders", ("excise.embedded.art",), icons=[i.model_dump() for i in world.icons]) / "renders.npy"
    )
    if not path.exists():
        drawn = render_world(world, {s: Path(p) for s, p in archives.items()})
        write_atomically(path, lambda draft: np.save(draft, drawn))
    return str(path)


def learn_tokenizer(world: World, cache: Cache) -> str:
    """The tokenizer's folder. It knows the whole world: a model that never saw a concept can be asked for it."""
    from excise.embedded.tokenizer import train_tokenizer

    whole = world.model_dump(exclude={"exclude"})
    folder = cache.folder("tokenizer", ("excise.embedded.tokenizer", "excise.embedded.captions"), world=whole)
    home = folder / "tokenizer"
    if not home.exists():  # merges of equal count have no fixed order: keep what CLIP read
        write_atomically(home, train_tokenizer(world).save_pretrained)
    return str(home)


def train_small_clip(world: World, renders: str, tokenizer: str, clip: CLIPOptions, cache: Cache) -> tuple[str, list]:
    """CLIP; its folder and loss curve."""
    from excise.embedded.clip import train_clip

    folder = _folder(cache, "clip", world=world, options=clip)
    model, losses = train_clip(clip, canvas_of(world, renders), _tokenizer(tokenizer), folder)
    model.save_pretrained(folder / "model")
    return str(folder / "model"), losses


def train_small_autoencoder(
    world: World, renders: str, autoencoder: AutoencoderOptions, cache: Cache
) -> tuple[str, list, Image.Image]:
    """The autoencoder; its folder, loss curve, and a grid of drawings above their reconstructions."""
    import torch

    from excise.embedded.autoencoder import refine_decoder, train_autoencoder

    icons, grounds = [i.model_dump() for i in world.icons], world.model_dump()["backgrounds"]
    folder = _folder(cache, "autoencoder", icons=icons, grounds=grounds, options=autoencoder)
    canvas = canvas_of(world, renders)
    vae, losses = train_autoencoder(autoencoder, canvas, folder)
    if autoencoder.refine:
        refined = refine_decoder(autoencoder, canvas, vae, folder / "refined")
        losses = losses + [row | {"step": row["step"] + autoencoder.loop.steps} for row in refined]
    vae.save_pretrained(folder / "model")
    images = canvas.draw_batch(1, 16).images
    with torch.no_grad():
        rebuilt = vae.decode(vae.encode(images).latent_dist.mean).sample
    return str(folder / "model"), losses, grid(_pixels(torch.cat([images, rebuilt])), 16)


def train_small_denoiser(
    world: World, renders: str, tokenizer: str, clip: str, autoencoder: str, denoiser: DenoiserOptions, cache: Cache
) -> tuple[str, list]:
    """The U-Net; its folder and loss curve."""
    from diffusers import AutoencoderKL
    from transformers import CLIPModel

    from excise.embedded.denoiser import train_denoiser

    parts = {"clip": Path(clip) / "model.safetensors", "vae": Path(autoencoder) / "diffusion_pytorch_model.safetensors"}
    folder = _folder(cache, "denoiser", world=world, options=denoiser, **parts)
    vae = AutoencoderKL.from_pretrained(autoencoder).eval().requires_grad_(False)
    text = CLIPModel.from_pretrained(clip).text_model.eval().requires_grad_(False)
    unet, losses = train_denoiser(denoiser, canvas_of(world, renders), vae, text, _tokenizer(tokenizer), folder)
    unet.save_pretrained(folder / "model")
    return str(folder / "model"), losses


def export_emoji64(tokenizer: str, clip: str, autoencoder: str, denoiser: str, export_to: str) -> dict:
    """Write the diffusers folder and the small CLIP in half precision; their sizes in MB (the model's at most 16)."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPModel

    from excise.embedded.export import assemble_pipeline, export_clip, export_pipeline, size_mb

    folder, clip_folder = Path(export_to), Path(f"{export_to}_clip")
    small_clip, words = CLIPModel.from_pretrained(clip), _tokenizer(tokenizer)
    vae, unet = AutoencoderKL.from_pretrained(autoencoder), UNet2DConditionModel.from_pretrained(denoiser)
    export_pipeline(assemble_pipeline(vae, small_clip, words, unet), folder)
    export_clip(small_clip, words, clip_folder)
    sizes = {"model_mb": size_mb(folder), "clip_mb": size_mb(clip_folder)}
    if sizes["model_mb"] > 16:
        raise ValueError(f"the model takes {sizes['model_mb']:.1f} MB, more than 16: make its parts smaller")
    return sizes


def fit_probes(world: World, renders: str, autoencoder: str, export_to: str) -> dict:
    """Judges of objects and styles, fitted on paints of the art; their accuracy on held-out paints."""
    from diffusers import AutoencoderKL

    from excise.embedded.probes import fit_probe

    canvas, vae = canvas_of(world, renders), AutoencoderKL.from_pretrained(autoencoder).eval().requires_grad_(False)
    accuracies = {}
    for target in ("object", "style"):
        probe = fit_probe(canvas, target, autoencoder=vae)
        probe.save(Path(export_to).parent / "probes" / f"{target}.safetensors")
        accuracies[target] = probe.accuracy
    return accuracies


def paint_known_pictures(
    world: World, renders: str, archives: dict, known: KnownOptions, seed: int, export_to: str
) -> dict:
    """Pictures to tell judges' errors by, beside the model; how many there are, by group."""
    from PIL import Image

    from excise.embedded.known_pictures import paint_known
    from excise.metrics.judge_errors import TABLE

    sheet, table = paint_known(world, np.load(renders), {s: Path(p) for s, p in archives.items()}, known, seed)
    folder = Path(export_to).parent / "known"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(folder / "sheet.png", optimize=True)
    table.to_csv(folder / TABLE, index=False)
    return {str(group): int(n) for group, n in table["group"].value_counts(sort=False).items()}


def draw_samples(world: World, denoiser: str, sizes: dict, export_to: str) -> Image.Image:
    """A grid of what the finished model draws, a row a style."""
    from excise.embedded.captions import with_article
    from excise.models import ModelSpec
    from excise.models.diffusion import DiffusionModel

    model = DiffusionModel.load(ModelSpec(name="emoji64", path=export_to))
    things = [*world.shown_objects[::6], *world.shown_persons[::3]]
    prompts = [
        f"{with_article(world.words(t)[0])} in {world.styles[s].words[0]} style"
        for s in world.shown_styles
        for t in things
    ]
    states = model.encode(prompts)
    return grid(model.decode(model.sample(states, list(range(len(prompts)))).final), len(things))


def grid(pictures: np.ndarray, columns: int) -> Image.Image:
    """Pictures (n, H, W, 3) in rows of ``columns``."""
    n, h, w, _ = pictures.shape
    sheet = Image.new("RGB", (columns * w, -(-n // columns) * h), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (i % columns * w, i // columns * h))
    return sheet


def _pixels(images) -> np.ndarray:
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def canvas_of(world: World, renders: str):
    """What paints the drawings of a file."""
    from excise.embedded.canvas import Canvas

    return Canvas(world, np.load(renders))


def _tokenizer(folder: str):
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def _folder(cache: Cache, what: str, **inputs) -> Path:
    """Parts of the model are worth hours: their folders are named by inputs and options, not by every line of code."""
    return cache.folder(f"emoji64-{what}", (), **inputs)
