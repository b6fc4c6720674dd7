"""One check of a result, told in a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, and what came out."""

    outcome: Literal["agrees", "differs", "unchecked"]
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:<9} {self.what}" + (f": {self.detail}" if self.detail else "")


def many(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count != 1 else "")
