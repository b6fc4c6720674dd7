"""Fixtures: one tiny model for all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("EXCISE_MLFLOW", "off")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A diffusers folder with a tiny untrained model."""
    from tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_spec(tiny_folder):
    from excise.models import ModelSpec

    return ModelSpec(name="tiny", path=str(tiny_folder), device="cpu")


@pytest.fixture
def tiny_model(tiny_spec):
    """The tiny model, loaded afresh."""
    from excise.models.diffusion import DiffusionModel

    return DiffusionModel.load(tiny_spec)
