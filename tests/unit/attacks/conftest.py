from __future__ import annotations

import pytest

from attacked import PROMPTS
from excise.erasers import Eraser
from excise.models.diffusion import DiffusionModel

VALUES = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.weight"


@pytest.fixture(scope="module")
def model(tiny_spec) -> DiffusionModel:
    """In float64, so that two computations can be held against each other."""
    return DiffusionModel.load(tiny_spec.model_copy(update={"dtype": "float64"}))


@pytest.fixture(scope="module")
def references(model):
    return model.sample(model.encode(PROMPTS["prompt"].tolist()), [1, 2], steps=3).final


@pytest.fixture(scope="module")
def eraser(model) -> Eraser:
    """One layer's values, halved."""
    weight = model.denoiser.get_parameter(VALUES).detach()
    return Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, {VALUES: 0.5 * weight})
