"""New words of a text encoder, as vectors that a gradient can move."""

from __future__ import annotations

import torch
from torch import nn

from excise.errors import UserError
from excise.images.tokens import frame_tokens
from excise.models.diffusion import DiffusionModel


class LearnedWords(nn.Module):
    """Vectors in the places of ids beyond the vocabulary.

    Args:
        contents: ids between start and end of text; id V + k is the k-th new word.
        start: the word whose embedding they start from; empty for the vocabulary's mean.
    """

    def __init__(self, model: DiffusionModel, contents: list[list[int]], count: int, start: str):
        super().__init__()
        self.model = [model]  # in a list: the model's weights are not ours to train
        table, size = model.word_vectors().detach(), model.vocabulary_size
        ids = frame_tokens(model, contents)
        self.ids = ids.masked_fill(ids >= size, 0)
        self.places = (ids - size).clamp_min(-1)
        first = table.mean(0) if not start else table[_one_token(model, start)]
        self.vectors = nn.Parameter(first.expand(count, -1).clone())

    def states(self, rows: torch.Tensor) -> torch.Tensor:
        """States of some of the texts, (n, L, d), differentiable in the vectors."""
        model, places = self.model[0], self.places[rows]
        words = model.word_vectors(self.ids[rows]).detach()
        words = torch.where((places >= 0).unsqueeze(-1), self.vectors[places.clamp_min(0)], words)
        return model.encode_embeddings(words, self.ids[rows])


def _one_token(model: DiffusionModel, word: str) -> int:
    ids = model.tokenizer(word, add_special_tokens=False).input_ids
    if len(ids) != 1:
        raise UserError(f"options.start: '{word}' is not one token to this model: take another word.")
    return ids[0]
