"""What all architectures have to say of themselves.

A prompt's states are one tensor, (n, L, d), whatever the architecture: the encoders' states of its tokens, and where
the denoiser also takes one vector for the whole prompt that vector too, in rows of its own at the end (padded with
zeros). So prompts can be stacked, picked and mixed without knowing which model they are for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import nn

from excise.errors import UserError
from excise.models.schedule import Schedule


class Family(ABC):
    """One architecture.

    Args:
        pipe: a loaded pipeline of diffusers.
        pixels: height and width of a picture; None for what the model was made for.

    Class attributes:
        denoiser_part: the pipeline's attribute that predicts.
        leading: attributes of the text encoders whose words can be searched. They share one vocabulary, and a word's
            embedding is theirs one after the other.
        following: attributes of those of other vocabularies: they read what the tokens spell, and no gradient
            goes through them.
        lead_tokenizer: the attribute of the vocabulary's tokenizer.
    """

    denoiser_part: ClassVar[str] = "unet"
    leading: ClassVar[tuple[str, ...]] = ("text_encoder",)
    following: ClassVar[tuple[str, ...]] = ()
    lead_tokenizer: ClassVar[str] = "tokenizer"

    def __init__(self, pipe: Any, pixels: int | None = None):
        self.pipe = pipe
        self.scale = int(pipe.vae_scale_factor)  # pixels a latent
        self.side = self._side(pixels)
        self.schedule = self._schedule()

    # parts ---------------------------------------------------------------------------------------------------------
    @property
    def denoiser(self) -> nn.Module:
        return getattr(self.pipe, self.denoiser_part)

    @property
    def encoders(self) -> dict[str, nn.Module]:
        """The leading text encoders, by attribute."""
        return {name: getattr(self.pipe, name) for name in self.leading}

    @property
    def tokenizer(self):
        return getattr(self.pipe, self.lead_tokenizer)

    @classmethod
    def resting(cls) -> tuple[str, ...]:
        """Parts that nothing searches or trains: attributes of the pipeline that may rest in the machine's memory."""
        return (*cls.following, "vae")

    # words ---------------------------------------------------------------------------------------------------------
    @property
    def length(self) -> int:
        """Tokens that a prompt is padded to."""
        return self.tokenizer.model_max_length

    @property
    def first(self) -> int:
        """Tokens before a prompt's first one."""
        return int(self.tokenizer.bos_token_id is not None)

    def frame(self, contents: list[list[int]]) -> torch.Tensor:
        """Content ids between start and end of text, padded; (n, L)."""
        tok = self.tokenizer
        start = [tok.bos_token_id] * self.first
        rows = [[*start, *c, tok.eos_token_id] for c in contents]
        return torch.tensor([r + [tok.pad_token_id] * (self.length - len(r)) for r in rows])

    def empty(self, ids: torch.Tensor) -> torch.Tensor:
        """Which texts have no word, (n,)."""
        return ids[:, self.first] == self.tokenizer.eos_token_id

    def spelled(self, ids: torch.Tensor) -> list[str]:
        """The texts of token ids (n, L)."""
        return self.tokenizer.batch_decode(ids, skip_special_tokens=True)

    def vectors(self, ids: torch.Tensor) -> torch.Tensor:
        """Word embeddings of ids of any shape, those of all leading encoders one after the other, (…, d)."""
        return torch.cat([e.get_input_embeddings().weight[ids] for e in self.encoders.values()], -1)

    def widths(self) -> list[int]:
        """How wide the embeddings of each leading encoder are."""
        return [e.get_input_embeddings().weight.shape[1] for e in self.encoders.values()]

    def states_of(self, texts: list[str], ids: torch.Tensor) -> torch.Tensor:
        """States of texts and their token ids: encoders that follow may read them as they were typed."""
        return self.states(ids, None)

    @abstractmethod
    def states(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        """States (n, L, d) of token ids (n, L).

        Args:
            words: (n, L, d) embeddings in the place of the ids' own; differentiable.
        """

    @abstractmethod
    def pooled(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        """One vector a text, (n, d)."""

    @property
    def state_shape(self) -> tuple[int, int]:
        """(L, d) of one prompt's states, rows of the whole prompt's vector included."""
        width = self.state_width
        return self.length + -(-self.pooled_size // width), width

    @property
    def state_width(self) -> int:
        """d of a prompt's states."""
        return int(self.denoiser.config.cross_attention_dim)

    @property
    def pooled_size(self) -> int:
        """How long the vector of the whole prompt is that the denoiser takes; 0 for none."""
        return 0

    def prompt_readers(self) -> dict[str, str]:
        """The denoiser's weights that read a prompt's states first: name -> ``tokens`` or ``pooled``."""
        from excise.models.layers import parameter_names

        return dict.fromkeys(parameter_names(self.denoiser, "kv"), "tokens")

    # noise ---------------------------------------------------------------------------------------------------------
    @abstractmethod
    def arguments(self, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> dict[str, Any]:
        """What the denoiser is called with."""

    def prediction(self, output: Any, latents: torch.Tensor) -> torch.Tensor:
        """What it said, shaped as the latents."""
        return output.sample

    @abstractmethod
    def sampler(self, steps: int, device: torch.device):
        """A scheduler of diffusers, its timesteps set."""

    @abstractmethod
    def _schedule(self) -> Schedule: ...

    def _side(self, pixels: int | None) -> int:
        """Height and width of the latents.

        Raises:
            UserError: a size that the model's patches do not divide.
        """
        if pixels is None:
            return int(self.denoiser.config.sample_size)
        step = self.scale * self.patch
        if pixels % step:
            raise UserError(f"model.pixels is {pixels}: take a multiple of {step} for this model.")
        return pixels // self.scale

    @property
    def patch(self) -> int:
        """Latents a token of the denoiser, along a side."""
        return 1

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return int(self.denoiser.config.in_channels), self.side, self.side

    # pictures ------------------------------------------------------------------------------------------------------
    def to_picture_space(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents as the decoder takes them."""
        config = self.pipe.vae.config
        return latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)

    def from_picture_space(self, latents: torch.Tensor) -> torch.Tensor:
        """The encoder's latents as the denoiser takes them."""
        config = self.pipe.vae.config
        return (latents - (getattr(config, "shift_factor", None) or 0.0)) * config.scaling_factor


def read_words(encoder: nn.Module, ids: torch.Tensor, words: torch.Tensor | None, **how):
    """What a text encoder says of ids, with embeddings of one's own in the place of theirs."""
    if words is None:
        return encoder(ids, **how)
    hook = encoder.get_input_embeddings().register_forward_hook(lambda module, args, output: words)
    try:
        return encoder(ids, **how)
    finally:
        hook.remove()


def with_pooled(states: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
    """States (n, L, d) with a vector (n, p) in rows of its own at the end."""
    n, _, width = states.shape
    rows = -(-pooled.shape[1] // width)
    padded = torch.nn.functional.pad(pooled, (0, rows * width - pooled.shape[1]))
    return torch.cat([states, padded.view(n, rows, width).to(states)], 1)


def split_pooled(states: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(states of the tokens, the whole prompt's vector (n, size))."""
    last = states.shape[1] - -(-size // states.shape[2])
    return states[:, :last], states[:, last:].flatten(1)[:, :size]


FAMILIES: dict[str, str] = {}


def register(pipeline: str, where: str) -> None:
    """Make an architecture known: the class in ``model_index.json`` -> ``module:Class``."""
    FAMILIES[pipeline] = where


def family_of(pipeline: str) -> type[Family]:
    """The family of a pipeline's class.

    Raises:
        UserError: there is none.
    """
    if pipeline not in FAMILIES:
        raise UserError(f"Models of the class '{pipeline}' are not known here: take one of {', '.join(FAMILIES)}.")
    module, _, name = FAMILIES[pipeline].partition(":")
    return getattr(import_module(module), name)
