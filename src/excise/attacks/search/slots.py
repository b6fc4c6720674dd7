"""Where adversarial tokens stand in a prompt, and which tokens they may be."""

from __future__ import annotations

import functools

import torch

from excise.images.tokens import frame_tokens
from excise.models.diffusion import DiffusionModel
from excise.prompts.safety import names_minor

SLOT = -1  # in a template: a place for an adversarial token


@functools.lru_cache(2)
def words_for_minors(tokenizer, size: int) -> list[int]:
    """Tokens that no attack may use: the filter on prompts holds for what an attack finds, too."""
    return [i for i in range(size) if names_minor(tokenizer.decode([i]))]


def vocabulary(model: DiffusionModel) -> torch.Tensor:
    """Token ids that an attack may use: neither special, nor a word for a minor; (V,)."""
    tok, size = model.tokenizer, model.vocabulary_size
    allowed = torch.ones(size, dtype=torch.bool, device=model.device)
    allowed[[i for i in tok.all_special_ids if i < size]] = False
    allowed[len(tok) :] = False  # an embedding may have more rows than the tokenizer has words
    allowed[words_for_minors(tok, min(size, len(tok)))] = False
    return allowed.nonzero().squeeze(-1)


class Slots:
    """Prompts with places that a search fills.

    Args:
        templates: token ids of each prompt between start and end, with ``SLOT`` in the places; rows may have
            different numbers of them.
    """

    def __init__(self, model: DiffusionModel, templates: list[list[int]]):
        self.model, self.templates = model, templates
        self.count = max(t.count(SLOT) for t in templates)
        # the text ends where the first end token stands: the places must not hold one
        filler = int(vocabulary(model)[0])
        self.ids = frame_tokens(model, [[filler if i == SLOT else i for i in t] for t in templates])
        # unused places of shorter rows point behind the text, and are cut off again
        places = torch.full((len(templates), self.count), self.ids.shape[1])
        for row, template in enumerate(templates):
            at = [model.family.first + i for i, token in enumerate(template) if token == SLOT]
            places[row, : len(at)] = torch.tensor(at, dtype=torch.long)
        self.places = places.to(self.ids.device)

    def words(self, vectors: torch.Tensor) -> torch.Tensor:
        """Word embeddings (n, L, d) with ``vectors`` (n, k, d) in the places; differentiable."""
        words = self.model.word_vectors(self.ids).detach()
        room = torch.cat([words, words[:, :1]], 1)  # one place more, for what a shorter row does not use
        return room.scatter(1, self.places.unsqueeze(-1).expand_as(vectors), vectors)[:, :-1]

    def states(self, vectors: torch.Tensor) -> torch.Tensor:
        """Text states (n, L, d) of vectors in the places; differentiable."""
        return self.model.encode_embeddings(self.words(vectors), self.ids)

    def fill(self, chosen: list[list[int]]) -> list[list[int]]:
        """Token ids of each prompt, with the chosen ones in the places."""
        filled = []
        for template, tokens in zip(self.templates, chosen, strict=True):
            source = iter(tokens)
            filled.append([next(source) if i == SLOT else i for i in template])
        return filled

    def used(self, chosen: list[list[int]]) -> list[list[int]]:
        """The chosen tokens of each prompt, without those that it has no place for."""
        return [tokens[: t.count(SLOT)] for t, tokens in zip(self.templates, chosen, strict=True)]
