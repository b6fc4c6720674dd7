"""The floor that erasing could reach: a U-Net trained on a world in which the concepts do not occur."""

from __future__ import annotations

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from excise.cache import Cache
from excise.embedded.options import DenoiserOptions
from excise.embedded.world import World
from excise.models import ModelSpec, find_folder
from excise.pipelines.pretrain_emoji64 import nodes as emoji64


class NeverSaw(BaseModel):
    """A model with gaps.

    Attributes:
        exclude: things, styles, or the group ``person``, that no training picture shows and no caption names.
        base: the model whose tokenizer, text encoder and autoencoder are shared; these did see them.
        steps: of training. Fewer drawings need fewer steps.
        export_to: folder of the U-Net.
    """

    model_config = ConfigDict(extra="forbid")
    exclude: list[str] = Field(min_length=1)
    base: str
    steps: int = Field(gt=0)
    export_to: str

    def world(self, whole: World) -> World:
        """The world without what is excluded.

        Raises:
            ValueError: the world has no such thing.
        """
        return World.model_validate(whole.model_dump() | {"exclude": self.exclude})


def fetch_shown_art(world: World, never_saw: NeverSaw, cache: Cache) -> dict:
    """Archives of the vendors that are left."""
    return emoji64.fetch_art(never_saw.world(world), cache)


def render_shown_art(world: World, never_saw: NeverSaw, archives: dict, cache: Cache) -> str:
    """All drawings that are left; the file's path."""
    return emoji64.render_art(never_saw.world(world), archives, cache)


def train_without(
    world: World, never_saw: NeverSaw, renders: str, denoiser: DenoiserOptions, cache: Cache
) -> tuple[str, list]:
    """The U-Net, by the recipe of the base model's; its folder and loss curve."""
    from diffusers import StableDiffusionPipeline

    from excise.embedded.denoiser import train_denoiser

    source = ModelSpec(name="base", path=never_saw.base).folder
    shared = StableDiffusionPipeline.from_pretrained(source, safety_checker=None, local_files_only=True)
    for part in (shared.vae, shared.text_encoder):
        part.eval().requires_grad_(False)
    options = denoiser.model_copy(update={"loop": denoiser.loop.model_copy(update={"steps": never_saw.steps})})
    left = never_saw.world(world)
    parts = sorted(source.glob("*/*.safetensors"))
    folder = cache.folder("never-saw", (), world=left, options=options, parts=parts)
    canvas = emoji64.canvas_of(left, renders)
    unet, losses = train_denoiser(options, canvas, shared.vae, shared.text_encoder, shared.tokenizer, folder)
    unet.save_pretrained(folder / "model")
    return str(folder / "model"), losses


def export_unet(denoiser: str, never_saw: NeverSaw) -> dict:
    """Write the U-Net in half precision; its size in MB."""
    import torch
    from diffusers import UNet2DConditionModel

    from excise.embedded.export import size_mb

    folder = find_folder(never_saw.export_to)
    UNet2DConditionModel.from_pretrained(denoiser).to(torch.float16).save_pretrained(folder)
    return {"unet_mb": size_mb(folder)}


def draw_gaps(world: World, never_saw: NeverSaw, sizes: dict) -> Image.Image:
    """What the finished model makes of the words that it never learned (upper row), and of others (lower row)."""
    from excise.embedded.captions import with_article
    from excise.models.diffusion import DiffusionModel

    model = DiffusionModel.load(ModelSpec(name="emoji64", path=never_saw.base, unet=never_saw.export_to))
    missing = [n for n in never_saw.exclude if n in world.objects or n in world.persons]
    missing += list(world.persons)[:5] if "person" in never_saw.exclude else []
    styles = [f"a robot in {world.styles[n].words[0]} style" for n in never_saw.exclude if n in world.styles]
    upper = [with_article(world.words(n)[0]) for n in missing] + styles
    others = never_saw.world(world).shown_objects
    lower = [with_article(world.words(n)[0]) for n in others[:: max(1, len(others) // len(upper))][: len(upper)]]
    states = model.encode(upper + lower)
    return emoji64.grid(model.decode(model.sample(states, list(range(len(states)))).final), len(upper))
