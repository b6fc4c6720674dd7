"""One frozen model for all tests of a file, which none of them may change."""

from __future__ import annotations

import pytest
import torch

from excise.erasers.material import Material
from excise.models.diffusion import DiffusionModel
from material import make_material


@pytest.fixture(scope="module")
def model(tiny_spec):
    return DiffusionModel.load(tiny_spec)


@pytest.fixture(scope="module")
def material(model, tmp_path_factory) -> Material:
    return make_material(model, tmp_path_factory.mktemp("banks"))


@pytest.fixture
def base_model_is_untouched(model):
    parts = (model.pipe.unet, model.pipe.text_encoder)
    before = [p.clone() for part in parts for p in part.state_dict().values()]
    yield
    after = [p for part in parts for p in part.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(p.grad is not None or p.requires_grad for part in parts for p in part.parameters())
    assert not model.pipe.text_encoder.get_input_embeddings()._forward_hooks
