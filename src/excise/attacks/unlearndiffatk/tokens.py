"""Adversarial tokens as points that a gradient can move."""

from __future__ import annotations

import functools

import torch
from torch import nn

from excise.images.tokens import frame_tokens
from excise.models.diffusion import DiffusionModel
from excise.prompts.safety import names_minor


@functools.lru_cache(2)
def words_for_minors(tokenizer, size: int) -> list[int]:
    """Tokens that no attack may use: the filter on prompts holds for what an attack finds, too."""
    return [i for i in range(size) if names_minor(tokenizer.decode([i]))]


class TokenSimplex(nn.Module):
    """k points on the simplex over the vocabulary before each of n prompts."""

    def __init__(self, model: DiffusionModel, contents: list[list[int]], k: int, references: torch.Tensor):
        super().__init__()
        self.model, self.references = [model], references  # in a list: the model's weights are not ours to train
        self.k = k
        tok = model.tokenizer
        self.ids = frame_tokens(model, [[tok.eos_token_id] * k + c for c in contents])
        table = model.pipe.text_encoder.get_input_embeddings().weight.detach()
        allowed = torch.ones(len(table), dtype=torch.bool, device=table.device)
        allowed[[tok.bos_token_id, tok.eos_token_id, tok.pad_token_id]] = False
        allowed[words_for_minors(tok, len(table))] = False
        self.vocabulary = allowed.nonzero().squeeze(-1)
        self.embeddings = table[self.vocabulary]
        # the text ends where the first end token stands: the places of the adversarial tokens must not hold one
        self.ids[:, 1 : 1 + k] = self.vocabulary[0]
        v = len(self.vocabulary)
        self.points = nn.Parameter(torch.full((len(contents), k, v), 1 / v, dtype=table.dtype, device=table.device))
        self.register_buffer("best", torch.full((len(contents),), float("inf"), dtype=table.dtype, device=table.device))
        self.register_buffer("best_tokens", torch.zeros(len(contents), k, dtype=torch.long, device=table.device))

    def plain_losses(self, contents: list[list[int]], noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The same error for the prompts as they are, (n,)."""
        model = self.model[0]
        times = time.expand(len(noise)).to(noise.device)
        states = model.encode_tokens(frame_tokens(model, contents))
        predicted = model.predict_noise(model.add_noise(self.references, noise, times), times, states)
        return (predicted - noise).pow(2).mean((1, 2, 3))

    def losses(self, one_hot: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Mean squared noise error of each prompt, (n,)."""
        model = self.model[0]
        words = model.pipe.text_encoder.get_input_embeddings().weight[self.ids].detach()
        words = torch.cat([words[:, :1], one_hot @ self.embeddings, words[:, 1 + self.k :]], 1)
        times = time.expand(len(noise)).to(noise.device)
        predicted = model.predict_noise(
            model.add_noise(self.references, noise, times), times, model.encode_embeddings(words, self.ids)
        )
        return (predicted - noise).pow(2).mean((1, 2, 3))

    def remember(self, ids: torch.Tensor, losses: torch.Tensor) -> None:
        """Keep the tokens of each prompt that scored best so far."""
        better = losses < self.best
        self.best.copy_(torch.where(better, losses, self.best))
        self.best_tokens.copy_(torch.where(better.unsqueeze(-1), ids, self.best_tokens))

    @property
    def best_ids(self) -> torch.Tensor:
        """(n, k) token ids."""
        return self.vocabulary[self.best_tokens]

    @property
    def best_losses(self) -> torch.Tensor:
        return self.best
