"""Whether a prompt has a word for a minor in it, in any of many languages and disguises.

The filter would rather drop a harmless row than keep a harmful one. The words are in ``minors.yml``; what it sees
through, and what it knowingly drops too much, is in docs/prompts.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .disguise import EDGES, EITHER, SIGNS, fold, key, readings, spelled, squeezed

if TYPE_CHECKING:
    import pandas as pd

LIST = Path(__file__).with_name("minors.yml")
# the list's hash is code, so that whatever was made under another list is made anew
LIST_SHA256 = "42bfe48ee9fb4725c6bd3ac685429111b9a8697c35bd9bb65ce4efe64d496342"
# pieces that say what they say: 'a do' is not 'ado', while 'gi rl' is nothing but hidden
ORDINARY = frozenset(
    (
        *(
            "a",
            "an",
            "i",
            "in",
            "on",
            "so",
            "to",
            "do",
            "no",
            "be",
            "me",
            "my",
            "we",
            "he",
            "it",
            "is",
            "at",
            "as",
            "am",
        ),
        *(
            "or",
            "of",
            "by",
            "up",
            "us",
            "go",
            "if",
            "ad",
            "id",
            "ox",
            "oh",
            "men",
            "put",
            "min",
            "chic",
            "mini",
            "bin",
            "new",
            "the",
        ),
        *("and", "for", "o", "y", "e", "le", "la", "il", "de", "en", "un", "da", "di", "das", "der", "die", "el", "es"),
        *("et", "ne", "si", "se", "que"),
    )
)
KINDS = ("inside", "begins", "words", "endings")
AGES = ("numbers", "units", "spans", "more", "half", "before", "about", "turns", "below", "limits", "nearly")
OTHER = "(?:k|d|mm|cm|km|px|p|bit|fps|hz|mp)"  # what makes a number one of something else: 'color grade, 8k'
_LETTER = r"[^\W\d_]"
_GLUE, _GLUES = "[ -]", re.compile("[ -]")
_SIGNS = "".join(SIGNS)
_NUMBERED = re.compile("[0-9一二三四五六七八九十]")
_NO_BLANKS = re.compile(
    "[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\\w ]"
)  # scripts without blanks between words; signs


@lru_cache(1)
def word_list() -> dict:
    """The committed list, checked against its hash.

    Raises:
        RuntimeError: the list is not the one that belongs to the code.
    """
    import yaml

    text = LIST.read_text(encoding="utf-8")
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != LIST_SHA256:
        raise RuntimeError(
            f"{LIST.name} has the hash {found}: put it into LIST_SHA256 if the list was meant to change."
        )
    return yaml.safe_load(text)


def languages() -> list[str]:
    """The languages of the list."""
    return [name for name in word_list() if name not in ("ages", "harmless")]


def entries(language: str) -> dict[str, list[str]]:
    """A language's words, folded: inside, begins, words, endings."""
    found = word_list()[language]
    return {k: list(dict.fromkeys(fold(w).replace(EITHER, "i") for w in found.get(k) or [])) for k in KINDS}


class Filter:
    """The list in a form that is fast to ask."""

    def __init__(self) -> None:
        inside: list[str] = []
        begins: list[str] = []
        self.whole: dict[str, set[str]] = {}  # key -> the words that have it
        for language in languages():
            found = entries(language)
            inside += found["inside"]
            begins += found["begins"]
            for word in [*found["inside"], *found["begins"], *found["words"]]:
                for ending in ("", *found["endings"]):
                    full = squeezed(word + ending)
                    self.whole.setdefault(key(full), set()).add(full)
        self.starts = {k[:n] for k in self.whole for n in range(1, len(k) + 1)}
        latin = [[w for w in words if w.isascii()] for words in (inside, begins)]
        self.latin = self._parts(*latin)
        self.others = self._parts(*([w for w in words if not w.isascii()] for words in (inside, begins)))
        unbounded = "|".join(_spaced(w) for w in inside if _NO_BLANKS.search(w))
        self.unbounded = re.compile(unbounded)
        harmless = [
            re.escape(fold(w)).replace("i", f"[i{EITHER}]").replace(r"\ ", _GLUE) for w in word_list()["harmless"]
        ]
        self.harmless = re.compile(rf"(?<!{_LETTER})(?:{'|'.join(harmless) or '(?!)'})(?!{_LETTER})")
        self._verified: dict[str, re.Pattern] = {}
        self.longest = max(len(word) for words in self.whole.values() for word in words)
        self._alone = lru_cache(1 << 16)(self._in)
        self._make_ages()

    @staticmethod
    def _parts(inside: list[str], begins: list[str]) -> re.Pattern:
        return re.compile(f"{spelled(inside)}|(?<!{_LETTER}){spelled(begins)}")

    def _make_ages(self) -> None:
        """Patterns of a number below 18 with a unit, or after a word for an age."""
        lists = dict(word_list()["ages"])
        east = "|".join(fold(u) for u in lists.pop("east")["units"])
        # '9.0', but not '2 0', which is a 20 that was torn apart
        digits = r"(?<!\d)(?:(?:0?[1-9]|1[0-7])(?:-00?(?!\d))?|(?<!\d[ -])00?)"
        not_next = rf"(?!\d)(?!{OTHER}(?!{_LETTER}))"
        self.in_words = []
        every: dict[str, list[str]] = {}  # digits go with the words of every language
        for found in lists.values():
            own = {kind: [fold(w) for w in found.get(kind, [])] for kind in AGES}
            every = {kind: [*every.get(kind, []), *words] for kind, words in own.items()}
            if own["numbers"]:
                numbers = [*own["numbers"], *own["more"], *own["limits"]]
                self.in_words.append(({key(squeezed(n))[:3] for n in numbers}, re.compile(self._age_in_words(own))))
        half, about = (rf"(?:{_GLUE}?{_spell(every[kind])})?" for kind in ("half", "about"))
        start = rf"(?<!{_LETTER})"
        ways = [
            rf"{digits}{half}{_GLUE}?{_spell(every['units'])}s?(?!{_LETTER})",
            rf"\d{half}{_GLUE}?{_spell(every['spans'])}s?(?!{_LETTER})",
            rf"{start}{_spell(every['before'])}{about}{_GLUE}?{digits}{not_next}",
            rf"{start}{_spell(every['turns'])}{_GLUE}?{digits}{not_next}",
            rf"{start}{_spell(every['below'])}{_GLUE}?(?:0?(?:[5-9]|1[0-8]){not_next}|[1-4]s(?!\w))",
            rf"{start}{_spell(every['nearly'])}{_GLUE}?18{not_next}",
            rf"(?<!\w)u{_GLUE}?(?:[5-9]|1[0-8])(?!\d)",
            rf"(?<!\w)(?:[1-9]|1[0-8]){_GLUE}?(?:st|nd|rd|th){_GLUE}(?:grade(?:r|rs)?|birthday)(?!{_LETTER})",
            rf"{start}grades?{_GLUE}?(?:[1-9]|1[0-2]){not_next}",
            # 15F: of small numbers with a letter the most are lengths and apertures
            rf"(?<![\w-])(?:[1-9]-?f|1[0-7]{_GLUE}?f|1[3-7]-?m|1[3-7]{_GLUE}(?:fe)?male)(?!\w|-\w)",
            rf"(?:{digits}|(?<![一二三四五六七八九十百])(?:十?[一二三四五六七八九]|十)) ?(?:{east})",
        ]
        self.in_digits = re.compile("|".join(ways))

    @staticmethod
    def _age_in_words(own: dict[str, list[str]]) -> str:
        """A pattern of one language's numbers with its units."""
        start, end, numbers = rf"(?<!{_LETTER})", rf"(?!{_LETTER})", own["numbers"]
        half, about = (rf"(?:{_GLUE}{_spell(own[k])})?" if own[k] else "" for k in ("half", "about"))
        ways = [rf"{start}{_spell(numbers)}{half}{_GLUE}?{_spell(own['units'])}(?:s|ers?)?{end}"]
        if own["spans"]:
            ways.append(rf"{start}{_spell(numbers + own['more'])}{half}{_GLUE}?{_spell(own['spans'])}(?:s|ers?)?{end}")
        if own["limits"]:  # the others' numbers mean too much else
            ways.append(rf"{start}{_spell(own['before'])}{about}{_GLUE}{_spell(numbers)}{end}")
            ways.append(rf"{start}{_spell(own['turns'])}{_GLUE}{_spell(numbers[4:])}{end}")
            ways.append(rf"{start}{_spell(own['below'])}{_GLUE}{_spell(numbers[4:] + own['limits'])}s?{end}")
            ways.append(rf"{start}{_spell(own['nearly'])}{_GLUE}{_spell(own['limits'])}{end}")
        return "|".join(ways)

    def find(self, prompt: str) -> str | None:
        """The place in a prompt, folded, that names a minor; None where there is none."""
        for reading in readings(fold(prompt)):
            tokens = _GLUES.split(reading)
            found = self._age(reading, tokens)
            if found is None and self.harmless.search(reading):
                reading = self.harmless.sub("·", reading)
                tokens = _GLUES.split(reading)
            if found is None and not reading.isascii():
                match = self.unbounded.search(reading)
                found = match and match.group()
            found = found or next(filter(self._alone, tokens), None) or next(self._apart(tokens), None)
            if found:
                return found
        return None

    def _age(self, text: str, tokens: list[str]) -> str | None:
        patterns = [self.in_digits] if _NUMBERED.search(text) else []
        starts = {key(t)[:n] for t in tokens for n in (1, 2, 3)}
        patterns += [pattern for numbers, pattern in self.in_words if not numbers.isdisjoint(starts)]
        for pattern in patterns:
            for match in pattern.finditer(text):
                if _has_letter(match.group()):
                    return match.group()
        return None

    def _apart(self, tokens: list[str]) -> Iterator[str]:
        """Words whose letters stand apart."""
        for at, token in enumerate(tokens):
            for joined in dict.fromkeys((token, token.lstrip("(<"), token.strip(_SIGNS))):
                pieces = [token]
                for other in tokens[at + 1 : at + 2 * self.longest]:  # letters may be there twice
                    if key(joined) not in self.starts:
                        break
                    joined += other
                    pieces.append(other)
                    if (self._is(joined) or self._is(joined.rstrip(_SIGNS))) and not all(map(_ordinary, pieces)):
                        yield " ".join(pieces)

    def _in(self, token: str) -> bool:
        """Whether what stands together names a minor: words come again and again."""
        step = self.longest  # a pattern's time grows faster than the length of what has no blank in it
        for part in (token[at : at + 2 * step] for at in range(0, max(1, len(token) - step), step)):
            for pattern in (self.latin, self.others) if not part.isascii() else (self.latin,):
                if any(_has_letter(match.group()) for match in pattern.finditer(part)):
                    return True
        return any(map(self._is, {token, token.lstrip("(<"), token.strip(_SIGNS), token.strip(EDGES)}))

    def _is(self, word: str) -> bool:
        name = key(word)
        if name not in self.whole or not _has_letter(word):
            return False
        if name not in self._verified:
            self._verified[name] = re.compile(spelled(self.whole[name]))
        return self._verified[name].fullmatch(word) is not None


def _spell(words: list[str]) -> str:
    return spelled(words, blanks=True)


def _spaced(word: str) -> str:
    return f"{_GLUE}?".join(map(re.escape, squeezed(word)))


def _has_letter(found: str) -> bool:
    """Numbers alone are numbers."""
    return any(c.isalpha() or c > "\xff" for c in found)


def _ordinary(piece: str) -> bool:
    return piece.replace(EITHER, "i") in ORDINARY or not _has_letter(piece)


@lru_cache(1)
def the_filter() -> Filter:
    """Made when it is first needed."""
    return Filter()


def names_minor(prompt: str) -> bool:
    """Whether a prompt has a word for a minor in it, in another script's letters, with digits for letters, or apart."""
    return the_filter().find(str(prompt)) is not None


def drop_minor_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The table without the rows whose ``prompt`` names a minor, and how many those were."""
    named = table["prompt"].map(names_minor).astype(bool)
    return table[~named].reset_index(drop=True), int(named.sum())
