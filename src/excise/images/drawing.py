"""Draw an image set: in batches, skipping what is already drawn."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.models.diffusion import DiffusionModel

from .image_set import ImageSet, save_picture


class DrawOptions(BaseModel):
    """How pictures are drawn for judging."""

    model_config = ConfigDict(extra="forbid")
    steps: int = Field(20, ge=2, description="sampling steps of DPM-Solver++")
    guidance: float = Field(4.0, ge=1, description="classifier-free guidance")
    per_prompt: int = Field(3, ge=1, description="judged images a prompt, each on a fresh seed")
    per_retain_prompt: int = Field(1, ge=1, description="images a retain or neutral prompt")
    batch: int = Field(64, ge=1)


def draw_images(model: DiffusionModel, prompts: pd.DataFrame, options: DrawOptions, folder: Path, title: str) -> ImageSet:
    """Draw every prompt of a table on its own seeds.

    Args:
        prompts: columns prompt_id, set, split, prompt, seed; an optional column ``token_ids`` (the ids between start
            and end of text) is drawn instead of the words, for adversarial prompts that no text spells.
        folder: pictures that are there already are kept; batches have a fixed make-up, so that a resumed run draws
            the same bits.
    """
    from tqdm import tqdm

    jobs = [
        {**row, "seed": int(row["seed"]) + k, "image_id": f"{row['prompt_id']}-{k}", "file": f"{row['prompt_id']}-{k}.png"}
        for row in prompts.to_dict("records")
        for k in range(options.per_prompt if row["set"] == "target" else options.per_retain_prompt)
    ]
    batches = [jobs[i : i + options.batch] for i in range(0, len(jobs), options.batch)]
    for batch in tqdm(batches, desc=title, mininterval=2.0, disable=not batches):
        if all((folder / job["file"]).exists() for job in batch):
            continue
        path = model.sample(_states(model, batch), [j["seed"] for j in batch], options.steps, options.guidance)
        for job, picture in zip(batch, model.decode(path.final), strict=True):
            save_picture(picture, folder / job["file"])
    rows = [
        {k: job[k] for k in ("image_id", "prompt_id", "set", "split", "seed", "file")}
        | {"sha256": hashlib.sha256((folder / job["file"]).read_bytes()).hexdigest()}
        for job in jobs
    ]
    return ImageSet(folder, pd.DataFrame(rows, columns=["image_id", "prompt_id", "set", "split", "seed", "file", "sha256"]))


def _states(model: DiffusionModel, batch: list[dict]):
    import torch

    if batch and batch[0].get("token_ids") is not None:
        with torch.no_grad():
            return model.encode_tokens(frame_tokens(model, [list(map(int, job["token_ids"])) for job in batch]))
    return model.encode([job["prompt"] for job in batch])


def frame_tokens(model: DiffusionModel, contents: list[list[int]]):
    """Content ids between start and end of text, padded; (n, L).

    Raises:
        ValueError: a text is longer than the model reads.
    """
    import torch

    tok = model.tokenizer
    length = tok.model_max_length
    if any(len(c) > length - 2 for c in contents):
        raise ValueError(f"a prompt has more than {length - 2} tokens")
    rows = [[tok.bos_token_id, *c, tok.eos_token_id] for c in contents]
    return torch.tensor([r + [tok.pad_token_id] * (length - len(r)) for r in rows], device=model.device)
