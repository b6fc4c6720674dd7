"""Prompts as people may see them: explicit words by their first letter, prompts of unsafe concepts by their beginning.

Whatever draws or writes a prompt for people (contact sheet, report, previews) masks it itself, so that no caller can
forget to. The tables keep the prompts: they are what was asked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from excise.prompts.safety.disguise import LOOKS, fold, readings, spelled

LIST = Path(__file__).with_name("explicit.yml")
BEGINNING = 4  # letters of a veiled prompt that are shown
STARS = "***"
_LEET = str.maketrans({c: letter for letter, looks in reversed(LOOKS.items()) for c in looks if not c.isalpha()})
_PIECES = re.compile(r"\S+")
_APART = re.compile(r"(?<!\S)\w(?:\s+\w(?!\S)){2,}")


class _Explicit:
    def __init__(self) -> None:
        import yaml

        found = yaml.safe_load(LIST.read_text(encoding="utf-8"))
        self.hashes = frozenset(found["hashes"])
        stems, words = ([fold(w) for w in found[k]] for k in ("stems", "words"))
        self.pattern = re.compile(f"{spelled(stems)}|(?:{spelled(words)})$")
        self.anywhere = re.compile("|".join(re.escape(fold(w)) for w in found["anywhere"]))

    def sees(self, piece: str) -> bool:
        """Whether a piece of text without blanks is an explicit word, in disguise or not."""
        for reading in readings(fold(piece)):
            parts = [part for part in re.split("[ -]", reading) if part]
            if any(map(self._is, [*parts, "".join(parts)])) or self.anywhere.search(reading):
                return True
        return False

    def _is(self, word: str) -> bool:
        if self.pattern.match(word):
            return True
        plain = word.translate(_LEET)
        starts = (f"={plain}", *(plain[:n] for n in range(3, len(plain) + 1)))
        return any(_digest(start) in self.hashes for start in starts)


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode("utf-8", "replace")).hexdigest()[:20]


@lru_cache(1)
def _explicit() -> _Explicit:
    return _Explicit()


def is_explicit(text: str) -> bool:
    """Whether a text has an explicit word in it."""
    return mask_words(text) != text


def mask_words(text: str) -> str:
    """A text with its explicit words masked: ``a n*** statue``."""
    see = _explicit().sees

    def masked(match: re.Match) -> str:
        return match.group()[0] + STARS if see(re.sub(r"\s", "", match.group())) else match.group()

    return _PIECES.sub(masked, _APART.sub(masked, text))


def veil(text: str) -> str:
    """The beginning of a prompt of an unsafe concept, and how long it is: ``a ph… (31 letters)``."""
    return text if len(text) <= 1 else f"{mask_words(text)[:BEGINNING].rstrip()}… ({len(text)} letters)"


def for_people(text: str, unsafe: bool) -> str:
    """A prompt as a report may show it."""
    return veil(text) if unsafe else mask_words(text)


def previewed(texts: Iterable[str]) -> list[str]:
    """A table's prompts as a preview may show them: if any of them is explicit, the beginnings of all."""
    texts = list(texts)
    return list(map(veil, texts)) if any(map(is_explicit, texts)) else texts
