"""Is the shipped model good? Generated images against judges that were fitted on renders of the art only."""

from __future__ import annotations

import pandas as pd
from PIL import Image

from excise.cache import Cache
from excise.embedded.world import World
from excise.images import DrawOptions, ImageSet
from excise.models import ModelSpec


def ask_for_everything(world: World, seed: int) -> pd.DataFrame:
    """Captions that ask for every thing in every style equally often."""
    from excise.embedded.evaluation import evaluation_prompts

    table = evaluation_prompts(world, seed=seed)
    ids = [f"caption-{i:04d}" for i in range(len(table))]
    return table.assign(prompt_id=ids, set="retain_far", split="test")


def draw_everything(model: ModelSpec, captions: pd.DataFrame, evaluation: DrawOptions, cache: Cache) -> ImageSet:
    """One picture a caption."""
    from excise.images import draw_images
    from excise.models.diffusion import DiffusionModel

    loaded = DiffusionModel.load(model)
    folder = cache.folder(
        "evaluation", ("excise.models", "excise.images"), model=loaded.sha256, captions=captions, draw=evaluation
    )
    return draw_images(
        loaded, captions, evaluation.model_copy(update={"per_retain_prompt": 1}), folder, "drawing the world"
    )


def judge_everything(captions: pd.DataFrame, images: ImageSet) -> pd.DataFrame:
    """Rates in every style, and whether they hold."""
    from excise.embedded.evaluation import evaluate_world

    return evaluate_world(images.load(), captions)


def show_samples(captions: pd.DataFrame, images: ImageSet) -> Image.Image:
    """A grid of the first picture of every thing."""
    from excise.pipelines.pretrain_emoji64.nodes import grid

    first = captions.drop_duplicates("thing")["prompt_id"]
    return grid(images.load([f"{i}-0" for i in first]), 16)


def print_table(table: pd.DataFrame) -> dict:
    """Print the table; returns it as plain data for the record."""
    shown = table.copy()
    for column in ("rate", "low", "high"):
        shown[column] = (100 * shown[column]).map("{:.1f} %".format)
    print("\nemoji64, judged on generated images (intervals: Wilson, 95 %)\n")
    print(shown.to_string(index=False))
    print("\nAll hold." if table["holds"].all() else "\nNot all hold.")
    return {f"{row.style}.{row.measure}": round(float(row.rate), 6) for row in table.itertuples()}
