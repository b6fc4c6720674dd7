"""What an audit has to find out before it is like any other run: the checkpoint, and the base model's own pictures."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from excise.cache import Cache, fingerprint
from excise.erasers import Eraser
from excise.errors import UserError
from excise.images import DrawOptions
from excise.pipelines.erase.nodes import asked_of, guidance_of, open_model, rows_of
from excise.provenance import made_of


def read_audited(concept: dict, model: dict, checkpoint: str | None, run_info: dict) -> tuple[Eraser, dict]:
    """The checkpoint as an eraser of the base model, and what was read."""
    from excise.checkpoints import read_checkpoint

    if checkpoint is None:
        raise UserError("There is nothing to audit: name an erased model with --params=checkpoint=PATH.")
    eraser, told = read_checkpoint(str(checkpoint), open_model(model), concept["name"], run_info)
    return replace(eraser, header=eraser.header | {"made_of": made_of(run_info, concept, None)}), told


def sample_references(model: dict, prompts: pd.DataFrame, checkpoint: dict, draw: DrawOptions, cache: Cache) -> dict:
    """The base model's own pictures of test prompts, at which attacks aim, and of fit prompts and other things, on
    which they may train; paths of the files.

    Args:
        checkpoint: what was read; a checkpoint that cannot be audited ends a run before anything is drawn.
    """
    from excise.erasers.bank import build_bank

    base = open_model(model)
    paths = {"prompts": fingerprint(prompts), "asked": asked_of(prompts)}
    wanted = [
        ("test", ["target"], "test"),
        ("concept", ["target"], "fit"),
        ("retain", ["retain_near", "retain_far"], "fit"),
    ]
    for name, sets, split in wanted:
        rows = rows_of(prompts, sets, split)
        texts, seeds = rows["prompt"].tolist(), [int(seed) for seed in rows["seed"]]
        guidance = guidance_of(rows, draw.guidance)
        settings = {"texts": texts, "seeds": seeds, "steps": draw.steps, "guidance": guidance}
        folder = cache.folder("trajectories", ("excise.models", "excise.erasers.bank"), model=model, **settings)
        path, title = folder / "bank.safetensors", f"trajectories of the base model: {name}"
        build_bank(base, texts, seeds, draw.steps, guidance, path, title, batch=draw.batch)
        paths[name] = str(path)
    return paths
