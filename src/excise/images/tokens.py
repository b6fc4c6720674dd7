"""Prompts that no text spells: token ids, and learned embeddings in the places of ids beyond the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from excise.models.diffusion import DiffusionModel


def frame_tokens(model: DiffusionModel, contents: list[list[int]]) -> torch.Tensor:
    """Content ids between start and end of text, padded; (n, L).

    Raises:
        ValueError: a text is longer than the model reads.
    """
    if any(len(c) > model.room for c in contents):
        raise ValueError(f"a prompt has more than {model.room} tokens")
    return model.frame(contents)


def states_of_tokens(
    model: DiffusionModel, contents: Sequence[Sequence[int]], embeddings: Sequence[Sequence[float]]
) -> torch.Tensor:
    """States of token ids, (n, L, d).

    Args:
        contents: ids between start and end; id V + k, V being the size of the vocabulary, stands for the k-th learned
            embedding of its row.
        embeddings: a row's learned embeddings one after the other, k * d numbers; empty where there are none.
    """
    import torch

    ids = frame_tokens(model, [list(map(int, c)) for c in contents])
    with torch.no_grad():
        if not any(len(e) for e in embeddings):
            return model.encode_tokens(ids)
        size = model.vocabulary_size
        learned = ids >= size
        spelled = ids.masked_fill(learned, model.tokenizer.pad_token_id)
        words = model.word_vectors(spelled).clone()
        for row in learned.any(1).nonzero().squeeze(-1).tolist():
            own = torch.tensor(list(embeddings[row])).to(words).view(-1, words.shape[-1])
            words[row, learned[row]] = own[ids[row, learned[row]] - size]
        # the text ends where the first end token stands: the places of learned embeddings must not hold one
        return model.encode_embeddings(words, ids.masked_fill(learned, 0))
