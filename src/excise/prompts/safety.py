"""Rows with words for minors are dropped from every prompt table, always. No option turns this off."""

from __future__ import annotations

import re

import pandas as pd

_WORDS = (
    "adolescents?|babies|baby|bab(?:e|es) in arms|boys?|boyish|child|childish|childlike|children|daughters?|"
    "girls?|girlish|grand(?:child|children|daughters?|sons?)|infants?|jailbait|juveniles?|kids?|kiddos?|kindergart(?:en|ner|eners)|"
    "lads?|lass(?:ie|es)?|little (?:one|ones|sister|brother)|lolis?|lolitas?|lolicon|minors?|newborns?|nymphets?|"
    "pre-?teens?|pre-?pubescent|pubescent|school-?(?:boys?|girls?|child|children|kids?)|shotas?|shotacon|sons?|"
    "teens?|teen-?agers?|teenaged?|toddlers?|tweens?|under-?aged?|young(?:er|est)? (?:one|ones|people|person)|"
    "youngsters?|youths?|youthful|(?:[1-9]|1[0-7])[ -]?(?:years?|yrs?|y/?o)(?:[ -]old)?|"
    "(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)"
    "[ -]years?[ -]old"
)
MINOR = re.compile(rf"(?<![\w])(?:{_WORDS})(?![\w])", re.IGNORECASE)


def names_minor(prompt: str) -> bool:
    """Whether a prompt has a word for a minor in it; apostrophes and underscores do not hide it."""
    return bool(MINOR.search(re.sub(r"[_'’]", " ", str(prompt))))


def drop_minor_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The table without the rows whose ``prompt`` names a minor, and how many those were."""
    named = table["prompt"].map(names_minor).astype(bool)
    return table[~named].reset_index(drop=True), int(named.sum())
