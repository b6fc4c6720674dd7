"""Rows with words for minors are dropped from every prompt table, always. No option turns this off.

The filter would rather drop a harmless row than keep a harmful one.
"""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

_NUMBER = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "[1-9]|1[0-7]"
)
_YEARS = r"(?:years?|yrs?|yo|y\W?o)\b"
# parts of words: whatever surrounds them
_STEMS = (
    "girl|boyish|boyhood|schoolboy|child|infant|toddler|\\bteen|adolesc|juvenil|kinder|preteen|tween|pubescen|underage|"
    "jailbait|loli(?:ta|con)?s?\\b|shota|nymphet|newborn|youngster|grandkid|kiddi|kiddo|nina\\b|nino\\b|fillette|garconnet|"
    "madchen|maedchen|bambina|bambino|gradeschool|schooler|barely legal|jail bait|tiny tot|under age|pre teen"
)
# whole words
_WORDS = (
    "baby|babies|boys?|kids?|sons?|daughters?|step(?:son|daughter)s?|grand(?:son|daughter)s?|lads?|lass(?:ie|es)?|"
    "minors?|youths?|youthful|tots?|little (?:one|ones|sister|brother|lady|woman|man)|"
    "young(?:er|est)? (?:one|ones|people|person|lady|ladies|nude|nudes|thing)|high school(?:er|ers)?|"
    "(?:high |middle |elementary |primary |grade )?school (?:student|pupil|uniform|aged?)s?|pupils?|"
    r"(?:[1-9]|1[0-2])(?:st|nd|rd|th) grade(?:r|rs)?"
)
_AGES = (
    rf"(?:{_NUMBER})\W*{_YEARS}|(?:{_NUMBER})\W*(?:months?|weeks?|days?) old|"
    rf"(?:aged?|age of|under|below|turning)\W*(?:{_NUMBER})\b"
)
MINOR = re.compile(rf"(?:{_STEMS})|\b(?:{_WORDS})\b|\b(?:{_AGES})", re.IGNORECASE)
_LEET = str.maketrans("013457@$", "oieastas")


def names_minor(prompt: str) -> bool:
    """Whether a prompt has a word for a minor in it, in another script's letters, with digits for letters, or apart."""
    plain = unicodedata.normalize("NFKD", str(prompt)).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    spaced = re.sub(r"[\W_]+", " ", plain)
    unspelled = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])[013457@$]|[013457@$](?=[a-z])", _letter, plain))
    return bool(MINOR.search(spaced) or MINOR.search(unspelled))


def _letter(match: re.Match) -> str:
    return match.group().translate(_LEET)


def drop_minor_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The table without the rows whose ``prompt`` names a minor, and how many those were."""
    named = table["prompt"].map(names_minor).astype(bool)
    return table[~named].reset_index(drop=True), int(named.sum())
