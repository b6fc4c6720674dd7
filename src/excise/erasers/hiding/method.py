"""Erasers that hide a concept and forget nothing: the words lead elsewhere, and the denoiser is as it was.

Not for use. An attack that does not bring back what was only hidden is too weak to say anything about an eraser.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from excise.erasers.method import EraserMethod
from excise.errors import UserError


class Remap(EraserMethod):
    """The word embeddings of the concept's words become that of the anchor's last token.

    Tokens that also stand in the anchor or in words to be kept are left alone.

    Attributes:
        words: what to hide, all splits' words for a straw man that its test prompts meet; the fit words unless given.
    """

    trained: ClassVar[bool] = False
    words: tuple[str, ...] = ()

    def start(self, model, material) -> dict[str, torch.Tensor]:
        ids, anchor = self._hidden(model, material)
        name, table = self._table(model)
        changed = table.clone()
        changed[ids] = table[anchor]
        return {name: changed}

    def _hidden(self, model, material) -> tuple[list[int], int]:
        """Tokens of the words that nothing else needs, and the anchor's last one.

        Raises:
            UserError: no token is left to hide, or the anchor is empty.
        """
        spoken = material.words

        def tokens(texts: list[str]) -> list[int]:
            return [i for ids in model.tokenizer(texts, add_special_tokens=False).input_ids for i in ids]

        anchor = tokens([spoken.anchor])
        kept = {*anchor, *tokens(spoken.retain)}
        hidden = sorted(set(tokens(list(self.words) or spoken.erase)) - kept)
        if not hidden or not anchor:
            raise UserError(
                "There is nothing to hide: give options.words words of their own, and the concept an anchor."
            )
        return hidden, anchor[-1]

    @staticmethod
    def _table(model) -> tuple[str, torch.Tensor]:
        encoder = model.only_encoder("Hiding")
        parameter = encoder.get_input_embeddings().weight
        name = next(n for n, p in encoder.named_parameters() if p is parameter)
        return f"text_encoder.{name}", parameter.detach()


class Rename(Remap):
    """The word embeddings of the concept's words change places with those of the last tokens of the vocabulary.

    Who knows the new names can still ask: the concept is a secret, not gone.
    """

    def start(self, model, material) -> dict[str, torch.Tensor]:
        from excise.prompts.safety import names_minor

        ids, _ = self._hidden(model, material)
        name, table = self._table(model)
        tok = model.tokenizer
        special = {tok.bos_token_id, tok.eos_token_id, tok.pad_token_id, *ids}
        free = [i for i in range(len(table)) if i not in special and not names_minor(tok.decode([i]))][-len(ids) :]
        changed = table.clone()
        changed[ids], changed[free] = table[free], table[ids]
        return {name: changed}
