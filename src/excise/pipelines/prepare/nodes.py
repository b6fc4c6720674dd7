"""Concept, model and prompts: what a run starts from."""

from __future__ import annotations

import logging

import pandas as pd

from excise.concepts import Concept, load_concept
from excise.models import ModelSpec
from excise.prompts import PromptOptions, build_prompts
from excise.prompts.sets import Account

logger = logging.getLogger(__name__)


def find_concept(concepts: dict, name: str) -> dict:
    """The concept's description, checked."""
    return load_concept(name, concepts).model_dump(mode="json")


def identify_model(model: ModelSpec) -> dict:
    """The base model's description with the identity of its weights.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    from excise.models.diffusion import DiffusionModel
    from excise.models.identity import refuse_not_finite

    loaded = DiffusionModel.load(model)
    refuse_not_finite(loaded.pipe, model.name)
    from excise.provenance.decoding import files_sha256

    files = files_sha256(model.folder, model.unet_folder)
    return model.model_copy(update={"sha256": loaded.sha256, "files": files}).model_dump(mode="json")


def make_prompts(concept: dict, prompts: PromptOptions, seed: int) -> tuple[pd.DataFrame, dict]:
    """The prompt table, and how many rows were dropped and why."""
    table, counts = build_prompts(Concept(**concept), prompts.model_copy(update={"seed": seed}))
    for account in counts.get("sets", []):
        logger.info(Account(**account).sentence())
    return table, counts
