"""Words as people hide them: look-alike letters, digits for letters, letters apart, letters repeated.

``fold`` takes from a text what can be taken away without a guess (accents, capitals, invisible characters, letters of
other scripts that look like Latin ones). What takes a guess (is ``1`` an i or an l?) is left to ``spelled``, which
writes a word as a pattern that takes either, and to ``key``, which is the same for all ways to write a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby

EITHER = "í"  # in a folded text, where no accent is left: a capital I, which may be an i or stand for an l
# what else may stand for a letter
LOOKS = {
    "a": "4@^",
    "b": "86",
    "c": "(<¢©",
    "e": "3",
    "g": "69q",
    "i": f"{EITHER}1!|¡l",
    "l": f"{EITHER}1!|¡£",
    "o": "0°",
    "q": "9",
    "r": "®",
    "s": "5$§",
    "t": "7+",
    "u": "v",
    "x": "×",
    "y": "¥",
    "z": "2",
}
HIDDEN = "*"  # for any vowel
PAIRS = {"rn": "m", "vv": "w", "cl": "d"}  # two letters that look like one
SIGNS = frozenset(c for looks in LOOKS.values() for c in looks if not c.isalnum()) | {HIDDEN}
EDGES = "".join(SIGNS) + "0123456789"
PICTURES = frozenset("👶🧒👦👧👼👪🚸🚼🍼")
# letters of other scripts, after case and accents are gone, by the Latin letter that they look like most
SIMILAR = {
    "a": "аαλ∂",
    "b": "вбьъβ",
    "c": "с",
    "d": "ԁδ",
    "e": "еєэзεξ€",
    "f": "φ",
    "g": "ԍ",
    "h": "нһ",
    "i": "іιӏ",
    "j": "јϳ",
    "k": "кκ",
    "m": "м",
    "n": "пиηπ",
    "o": "оөοσθ",
    "p": "рρ",
    "q": "ԛ",
    "r": "гя",
    "s": "ѕ",
    "t": "тτ†",
    "u": "цυμ",
    "v": "ѵν",
    "w": "шщԝω",
    "x": "хχ",
    "y": "уүчγ",
    "z": "ʒζ",
}
_SIMILAR = {other: letter for letter, others in SIMILAR.items() for other in others}
VOICED = {0x3099, 0x309A}  # と and ど are two letters, not one with an accent
_NAMED = re.compile(
    r"LATIN (?:SMALL |CAPITAL )?LETTER "
    r"(?:SMALL CAPITAL |SCRIPT |TURNED |REVERSED |OPEN |LONG |BARRED |INSULAR |DOTLESS )*"
    r"([A-Z]{1,2}|ALPHA|IOTA|UPSILON|ETH|ENG)(?: WITH .*)?"
)
_NAMES = {"ALPHA": "a", "IOTA": "i", "UPSILON": "u", "ETH": "d", "ENG": "n"}
_ARABIC = str.maketrans("ىةیکےہۃ", "يهيكيهه")
_SQUARED = (0x1F130, 0x1F150, 0x1F170, 0x1F1E6)  # A to Z in squares and circles, and as flags
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800\u0640"  # letters without a shape


class _Folds(dict):
    """Character -> what is left of it, found when it is first seen."""

    def __missing__(self, code: int) -> str:
        self[code] = found = self._fold(chr(code), code)
        return found

    @staticmethod
    def _fold(char: str, code: int) -> str:
        kind = unicodedata.category(char)
        if char in SIGNS or char in PICTURES or code in VOICED or char == EITHER:
            return char
        if char in _SIMILAR:
            return _SIMILAR[char]
        for first in _SQUARED:
            if first <= code < first + 26:
                return chr(code - first + ord("a"))
        if kind == "Nd":
            return str(unicodedata.digit(char))
        if kind in ("Lm", "Mn", "Me", "Cf", "Co", "Cn", "Cs") or char in _FILLERS:
            return char if char == "ー" else ""  # the long vowel of Japanese is a letter
        if kind[0] == "Z" or char in "\t\n\r\v\f":
            return " "
        if kind[0] == "L" and code > 127:
            named = _NAMED.fullmatch(unicodedata.name(char, ""))
            return _NAMES.get(named[1], named[1].lower()) if named else char.translate(_ARABIC)
        if kind[0] in "LNM":
            return char
        return "" if kind == "Cc" else "-"


_FOLDS = _Folds()


def fold(text: str) -> str:
    """A text without accents, capitals and invisible characters.

    Compatibility forms and look-alikes of other scripts become Latin letters, digits of any script 0 to 9, runs of
    blanks one blank, other punctuation a hyphen. A capital I becomes ``EITHER``. Signs that can be read as letters
    stay.
    """
    text = _LONG_RUNS.sub(r"\1\1\1\1", text)
    plain = text if text.isascii() else unicodedata.normalize("NFKD", _FRACTIONS.sub(_in_words, text))
    foreign = not plain.isascii()
    if foreign:  # before case goes: a small sharp s is two letters, but accents must not turn into EITHER
        plain = "".join(c for c in plain if c not in "íÍ")
    plain = _SHORTENED.sub("", plain.replace("I", EITHER).casefold()).translate(_FOLDS)
    if foreign:
        plain = unicodedata.normalize("NFC", plain)
        plain = _SEAM.sub(" ", plain)
    return _HYPHENS.sub("-", _BLANKS.sub(" ", plain))


def _in_words(fraction: re.Match) -> str:
    """9½ is no 91-2."""
    return " and a half " if fraction.start() and fraction.string[fraction.start() - 1].isdigit() else " half "


_LONG_RUNS = re.compile(r"(.)\1{4,}", re.DOTALL)  # no word has so many, and patterns take long over them
_FRACTIONS = re.compile("[¼½¾⅐-⅞]")
_SHORTENED = re.compile(r"(?<=[^\W\d_])['\u2019\u02bc](?=(?:s|t|d|m|ll|re|ve)\b)")  # she's on: no son
_EASTERN = r"\u3040-\u30ff\u3400-\u9fff"
_SEAM = re.compile(rf"(?<=[a-z0-9])(?=[{_EASTERN}\uac00-\ud7a3])|(?<=[{_EASTERN}])(?=[a-z])")
_BLANKS, _HYPHENS = re.compile(r"[ -]* [ -]*"), re.compile(r"-{2,}")


def readings(folded: str) -> list[str]:
    """The ways to read a folded text: signs as letters or as punctuation, pairs of letters as what they look like."""
    found = [folded]
    if HIDDEN in folded:
        found += [folded.replace(HIDDEN, vowel) for vowel in "aeiouy"]
    if any(c in SIGNS for c in folded):
        found.append(_HYPHENS.sub("-", "".join("-" if c in SIGNS else c for c in folded)))
    joined = folded
    for pair, letter in PAIRS.items():
        joined = joined.replace(pair, letter)
    found = found if joined == folded else [*found, joined]
    return [_HYPHENS.sub("-", _BLANKS.sub(" ", one)) for one in found]


def _classes() -> dict[str, str]:
    """Character -> one that stands for all that it may be mistaken for."""
    of: dict[str, str] = {}
    for letter, looks in LOOKS.items():
        same = {of.get(c, c) for c in letter + looks}
        of |= dict.fromkeys([*same, *(c for c, k in of.items() if k in same), letter, *looks], min(same))
    return of


_KEYS = str.maketrans(_classes())
_RUNS = re.compile(r"(.)\1+", re.DOTALL)


@lru_cache(1 << 16)
def key(word: str) -> str:
    """The same for every way to write a folded word; some words share one."""
    return _RUNS.sub(r"\1", word.translate(_KEYS))


def spelled(words: Iterable[str], blanks: bool = False) -> str:
    """A pattern for folded words, whatever looks like their letters and however often each is repeated.

    Args:
        blanks: a blank in a word may be there, or be a hyphen, or not be there; otherwise there is none.
    """
    tree: dict = {}
    for word in words:
        node = tree
        for letter, run in groupby(word.replace(EITHER, "i").replace("-", " ") if blanks else squeezed(word)):
            node = node.setdefault((letter, len(list(run))), {})
        node[""] = {}
    return _branches(tree)


def squeezed(word: str) -> str:
    """An entry of a word list without what may or may not be there."""
    return word.replace(EITHER, "i").replace(" ", "").replace("-", "")


def _branches(node: dict) -> str:
    ways = [_letters(*letters) + _rest(below) for letters, below in node.items() if letters != ""]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _rest(node: dict) -> str:
    if set(node) == {""}:
        return ""
    return f"(?:{_branches(node)})?" if "" in node else _branches(node)


def _letters(letter: str, count: int) -> str:
    if letter == " ":
        return "[ -]?"
    looks = re.escape(LOOKS.get(letter, ""))
    one = f"[{re.escape(letter)}{looks}]" if looks else re.escape(letter)
    return f"{one}{{{count},}}" if count > 1 else f"{one}+"
