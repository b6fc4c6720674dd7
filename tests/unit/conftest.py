"""An eraser that changes a bit of everything, and its base model's bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from excise.erasers import Eraser
from excise.models.layers import parameter_names

ENCODER = ("encoder.layers.0.mlp.fc1.weight", "encoder.layers.0.mlp.fc1.bias", "embeddings.token_embedding.weight")
CONVOLUTIONS = (
    "conv_in.weight",
    "down_blocks.0.resnets.0.conv1.weight",
    "down_blocks.1.resnets.0.conv_shortcut.weight",
)
HEADER = {"method": "esd", "variant": "p_esd", "concept": "person", "seed": 5, "run_id": "run-1"}


@pytest.fixture(scope="session")
def make_eraser() -> Callable[..., Eraser]:
    def make(model, rate: float = 0.2, encoder: bool = True, group: str = "kv") -> Eraser:
        """New keys, values, convolutions and parts of the text encoder; zeros in the layers that a mask prunes."""
        generator = torch.Generator().manual_seed(0)
        base = model.weights()
        names = [*parameter_names(model.denoiser, group), *CONVOLUTIONS, "time_embedding.linear_1.bias"]
        names += [f"text_encoder.{name}" for name in ENCODER if encoder]
        weights = {n: base[n].float() + 0.05 * torch.randn(base[n].shape, generator=generator) for n in names}
        masked = parameter_names(model.denoiser, "ffn+kv") if rate else []
        pruned = {n: torch.rand(base[n].shape, generator=generator) < rate for n in masked}
        return Eraser({**HEADER, "base": {"name": "tiny", "sha256": model.sha256}}, weights, pruned)

    return make


@pytest.fixture(scope="session")
def bits() -> Callable[..., dict[str, bytes]]:
    def read(pipe) -> dict[str, bytes]:
        """Every weight of a pipeline, bit for bit."""
        parts = {"unet": pipe.unet, "text_encoder": pipe.text_encoder, "vae": pipe.vae}
        return {
            f"{part}.{name}": value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            for part, module in parts.items()
            for name, value in module.state_dict().items()
        }

    return read
