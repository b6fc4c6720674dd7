"""Two CLIP text encoders side by side, as Stable Diffusion XL and 3 have them."""

from __future__ import annotations

from typing import ClassVar

import torch

from .family import Family, read_words


class TwoClips(Family):
    """They share a vocabulary, and pad with different words of it."""

    leading: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")

    def read(self, ids: torch.Tensor, words: torch.Tensor | None) -> list:
        """What both encoders say, with all hidden states and the projection (``text_embeds``)."""
        own = [ids, self._padded_by_second(ids)]
        given: list[torch.Tensor | None] = [None, None]
        if words is not None:
            first, second = words.split(self.widths(), -1)
            table = self.pipe.text_encoder_2.get_input_embeddings().weight
            given = [first, torch.where((own[1] != ids).unsqueeze(-1), table[own[1]], second)]
        return [
            read_words(encoder, i, w, output_hidden_states=True)
            for encoder, i, w in zip(self.encoders.values(), own, given, strict=True)
        ]

    def _padded_by_second(self, ids: torch.Tensor) -> torch.Tensor:
        """The second tokenizer's ids: the same, but for what stands behind the end of the text."""
        behind = (ids == self.tokenizer.eos_token_id).cumsum(1).roll(1, 1)
        behind[:, 0] = 0
        return ids.masked_fill(behind > 0, self.pipe.tokenizer_2.pad_token_id)
