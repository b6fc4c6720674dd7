"""Draw an image set: in batches, skipping what is already drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.cache import finished, write_atomically
from excise.shards import WHOLE, Shard

from .image_set import COLUMNS, ImageSet, save_picture
from .tokens import states_of_tokens

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel


class DrawOptions(BaseModel):
    """How pictures are drawn for judging."""

    model_config = ConfigDict(extra="forbid")
    steps: int = Field(20, ge=2, description="sampling steps of DPM-Solver++")
    guidance: float = Field(2.0, ge=1, description="classifier-free guidance")
    per_prompt: int = Field(
        3, ge=1, le=15, description="judged images a target or neutral prompt, each on a fresh seed"
    )
    per_retain_prompt: int = Field(1, ge=1, description="images a retain prompt")
    batch: int = Field(64, ge=1)


@dataclass(frozen=True)
class Pictures:
    """Pictures in memory, as a judge takes them."""

    manifest: pd.DataFrame
    pictures: np.ndarray

    def load(self, image_ids: list[str]) -> np.ndarray:
        """(n, H, W, 3) uint8 RGB, in the order asked for."""
        places = {image_id: i for i, image_id in enumerate(self.manifest["image_id"])}
        return self.pictures[[places[i] for i in image_ids]]


@dataclass(frozen=True)
class Discreet:
    """What an unsafe concept draws is judged in memory, and only a coarse thumbnail is stored.

    Attributes:
        judge: pictures -> judgements table.
        coarsen: picture -> thumbnail, both (H, W, 3) uint8.
    """

    judge: Callable[[Pictures], pd.DataFrame]
    coarsen: Callable[[np.ndarray], np.ndarray]


def draw_images(
    model: DiffusionModel,
    prompts: pd.DataFrame,
    options: DrawOptions,
    folder: Path,
    title: str,
    discreet: Discreet | None = None,
    shard: Shard = WHOLE,
) -> ImageSet:
    """Draw every prompt of a table on its own seeds; never on the seed of the reference that an attack aimed at.

    Args:
        prompts: columns prompt_id, set, split, prompt, seed, and guidance where prompts have their own; columns
            ``token_ids`` (the ids between start and end of text) and ``embedding`` (of ids beyond the vocabulary) are
            drawn instead of the words, for adversarial prompts that no text spells; columns ``latent`` and ``strength``
            say what sampling starts from.
        folder: pictures that are there already are kept; batches have a fixed make-up, so that a resumed run draws
            the same bits.
        shard: whose batches are drawn; the set that comes back has just those.
    """
    from tqdm import tqdm

    jobs = _jobs(prompts, options)
    batches = {n: batch for n, batch in enumerate(_batches(jobs, options.batch)) if shard.has(n)}
    for number, batch in tqdm(batches.items(), desc=title, mininterval=2.0) if batches else ():
        seen = folder / f"judgements-{number:04d}.parquet"
        known = discreet is None or (finished(seen) and not pd.read_parquet(seen)["failed"].any())
        if known and all(finished(folder / job["file"]) for job in batch):
            continue
        pictures = _sample(model, batch, options)
        if discreet is not None:
            table = discreet.judge(Pictures(pd.DataFrame(batch), pictures))
            write_atomically(seen, table.to_parquet)
            pictures = np.stack([discreet.coarsen(p) for p in pictures])
        for job, picture in zip(batch, pictures, strict=True):
            save_picture(picture, folder / job["file"])
    rows = [
        {k: job[k] for k in ("image_id", "prompt_id", "set", "split", "seed", "file")}
        | {"sha256": hashlib.sha256((folder / job["file"]).read_bytes()).hexdigest()}
        for job in (jobs if shard.whole else [job for batch in batches.values() for job in batch])
    ]
    return ImageSet(folder, pd.DataFrame(rows, columns=COLUMNS))


def draw_again(model: DiffusionModel, prompts: pd.DataFrame, options: DrawOptions, wanted: list[str]) -> list[Pictures]:
    """The batches of ``draw_images`` that hold some images, drawn in memory: in another batch an image's last bits may
    differ.

    Args:
        prompts: the whole table that was drawn.
        wanted: ids of images.
    """
    asked = set(wanted)
    batches = [b for b in _batches(_jobs(prompts, options), options.batch) if asked & {job["image_id"] for job in b}]
    return [Pictures(pd.DataFrame(batch), _sample(model, batch, options)) for batch in batches]


def _jobs(prompts: pd.DataFrame, options: DrawOptions) -> list[dict]:
    """One for each picture: its prompt's row, with its own seed and file."""
    return [
        {
            **row,
            "seed": int(row["seed"]) + 1 + k,
            "image_id": f"{row['prompt_id']}-{k}",
            "file": f"{row['prompt_id']}-{k}.png",
        }
        for row in prompts.to_dict("records")
        for k in range(_count(row, options))
    ]


def _count(row: dict, options: DrawOptions) -> int:
    """Pictures of a prompt; one where a latent takes the place of all noise, since every seed gives the same."""
    latent = row.get("latent")
    if latent is not None and len(latent) and float(row.get("strength", 1.0)) == 1:
        return 1
    return options.per_prompt if row["set"] in ("target", "neutral") else options.per_retain_prompt


def draw_once(model: DiffusionModel, candidates: pd.DataFrame, options: DrawOptions) -> Pictures:
    """One picture of each candidate on its own seed, in memory.

    Args:
        candidates: prompt_id, seed, token_ids, embedding, latent, strength.
    """
    jobs = [{**row, "image_id": str(row["prompt_id"]), "set": "target"} for row in candidates.to_dict("records")]
    done = [
        (job, picture)
        for batch in _batches(jobs, options.batch)
        for job, picture in zip(batch, _sample(model, batch, options), strict=True)
    ]
    manifest = pd.DataFrame([job for job, _ in done])
    return Pictures(manifest, np.stack([picture for _, picture in done]))


def sampling_evaluations(prompts: pd.DataFrame, options: DrawOptions) -> pd.Series:
    """Evaluations of the denoiser that one picture of each prompt takes, sampled from noise to its end; by prompt_id.

    Two a step with guidance. What starts from a picture takes fewer: its steps are counted whole all the same.
    """
    own = prompts["guidance"] if "guidance" in prompts else pd.Series(np.nan, prompts.index)
    guided = own.fillna(options.guidance).ne(1)
    return pd.Series((options.steps * (1 + guided)).to_numpy(dtype=int), index=prompts["prompt_id"])


def _batches(jobs: list[dict], size: int) -> list[list[dict]]:
    """Batches of jobs that make the same number of steps."""
    groups: dict[float, list[dict]] = {}
    for job in jobs:
        groups.setdefault(float(job.get("strength") or 1.0), []).append(job)
    return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]


def _sample(model: DiffusionModel, batch: list[dict], options: DrawOptions) -> np.ndarray:
    guidance = [_own(job.get("guidance"), options.guidance) for job in batch]
    start, strength = None, float(batch[0].get("strength") or 1.0)
    latents = [job.get("latent") for job in batch]
    if any(latent is not None and len(latent) for latent in latents):
        start = _starts(model, batch)
    seeds = [job["seed"] for job in batch]
    path = model.sample(_states(model, batch), seeds, options.steps, guidance, start=start, strength=strength)
    return model.decode(path.final)


def _starts(model: DiffusionModel, batch: list[dict]):
    """Each job's own latent; a job without one starts from its seed's noise, which only strength 1 allows."""
    import torch

    noise = model.initial_noise([job["seed"] for job in batch])
    own = [job.get("latent") for job in batch]
    rows = [
        torch.tensor(np.asarray(latent, np.float32)).view(noise.shape[1:]).to(noise) if len(latent) else noise[i]
        for i, latent in enumerate([[] if one is None else one for one in own])
    ]
    return torch.stack(rows)


def _own(guidance: float | None, otherwise: float) -> float:
    """A prompt's own guidance, where its table gives one."""
    return otherwise if guidance is None or np.isnan(guidance) else float(guidance)


def judged_while_drawn(images: ImageSet) -> pd.DataFrame | None:
    """Judgements that were made before pictures were coarsened, or None for an ordinary image set."""
    files = sorted(images.folder.glob("judgements-*.parquet"))
    return pd.concat([pd.read_parquet(f) for f in files], ignore_index=True) if files else None


def _states(model: DiffusionModel, batch: list[dict]):
    if batch and batch[0].get("token_ids") is not None:
        none: list[float] = []
        return states_of_tokens(model, [j["token_ids"] for j in batch], [j.get("embedding", none) for j in batch])
    return model.encode([job["prompt"] for job in batch])
