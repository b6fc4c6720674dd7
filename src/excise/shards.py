"""Shards: long work is cut into batches of a fixed make-up, and each of several processes does its share of them.

What a shard has done lies in the cache; whoever does the whole afterwards finds it there. So the make-up of a batch,
and with it every bit of the result, is the same whether one process worked or many.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from excise.errors import UserError


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count``.

    Attributes:
        number: from 1 to ``count``.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "2/4", the second of four.

        Raises:
            UserError: it is not of that form.
        """
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", str(text).strip())
        if match is None or int(match[1]) > int(match[2]):
            raise UserError(f"The parameter 'shard' cannot be '{text}': write '2/4' for the second of four parts.")
        return cls(int(match[1]), int(match[2]))

    @property
    def whole(self) -> bool:
        """Whether all the work is this shard's."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether work that cannot be cut is this shard's."""
        return self.number == 1

    def has(self, batch: int) -> bool:
        """Whether a batch, counted from 0, is this shard's."""
        return batch % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Shard()
