"""Concept, model and prompts: what a run starts from."""

from __future__ import annotations

import pandas as pd

from excise.concepts import Concept, load_concept
from excise.models import ModelSpec
from excise.prompts import PromptOptions, build_prompts


def find_concept(concepts: dict, name: str) -> dict:
    """The concept's description, checked."""
    return load_concept(name, concepts).model_dump(mode="json")


def identify_model(model: ModelSpec) -> dict:
    """The base model's description with the identity of its weights."""
    from excise.models.diffusion import DiffusionModel

    return model.model_copy(update={"sha256": DiffusionModel.load(model).sha256}).model_dump(mode="json")


def make_prompts(concept: dict, prompts: PromptOptions, seed: int) -> tuple[pd.DataFrame, dict]:
    """The prompt table, and how many rows were dropped and why."""
    return build_prompts(Concept(**concept), prompts.model_copy(update={"seed": seed}))
