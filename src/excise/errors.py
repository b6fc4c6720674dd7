"""What the user can mend, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

TRY_AGAIN = 75  # exit code of what is the machine's trouble and may be over next time (EX_TEMPFAIL of sysexits.h)


class UserError(ValueError):
    """One sentence that says what is wrong and what to change; shown without a traceback."""


class GateError(UserError):
    """A run did its work and was not passed by the gate; the command ends with this exit code, not with 1."""

    exit_code = 3


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."


def refuse_unknown(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise a ``UserError`` with the nearest known name, unless the name is known."""
    known = sorted(known)
    if name not in known:
        raise UserError(f"There is no {kind} '{short(name)}': {hint(name, known)}")


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def refuse_no_name(kind: str, name: str) -> None:
    """Raise a ``UserError`` unless a name may become part of a path and of a data set's name."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"'{short(name)}' cannot be the name of {kind}: take at most 64 letters, digits, _ and -, beginning with a "
            "letter or a digit."
        )


def refuse_no_part(kind: str, name: str) -> None:
    """The same of an eraser's or an attack's name: results are called by both, with two ``_`` between them."""
    refuse_no_name(kind, name)
    if "__" in name:
        raise UserError(f"'{name}' cannot be the name of {kind}: two _ in a row part names from each other; take one.")


def short(text: str, most: int = 60) -> str:
    """The beginning of a long text, on one line."""
    text = " ".join(str(text).split())
    return text if len(text) <= most else f"{text[:most]}…"


# what pydantic says, and what a user reads; the first that fits is taken
_WORDS = [
    (r"Input should be a valid dictionary.*", "it must be a mapping of names to values"),
    (r"Input should be a valid integer.*", "it must be a whole number"),
    (r"Input should be a valid number.*", "it must be a number"),
    (r"Input should be a valid boolean.*", "it must be true or false"),
    (r"Input should be a valid string.*", "it must be text"),
    (r"Input should be a valid list.*", "it must be a list"),
    (r"String should match pattern '\^\[a-z\]\[a-z0-9_\]\*\$'", "it must be small letters, digits and _, letter first"),
    (r"\w+ should have (at (?:least|most) \d+ \w+).*", r"it must have \1"),
    (r"Input should be (.*)", r"it must be \1"),
    (r"Value error, (.*?)\.?", r"\1"),
]


def what_is_wrong(kind: str, value: str, message: str) -> str:
    """What pydantic found, as the end of a sentence that begins with the place.

    Args:
        kind: pydantic's type of the error.
        value: what was given, as text.
        message: pydantic's own words.
    """
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "does not exist; remove it or correct its name"
    found = ((re.fullmatch(pattern, message, re.S), words) for pattern, words in _WORDS)
    said = next((match.expand(words) for match, words in found if match), message)
    if kind == "value_error" and value[:1] in "{[":  # about several things at once: all of them would be too much
        return f"does not fit together: {said}"
    return f"cannot be {short(value)}: {said[0].lower()}{said[1:]}"


def first_wrong(error: ValueError) -> tuple[str, str]:
    """The place of the first thing that a ``pydantic.ValidationError`` found, with dots, and what is wrong there; of
    another error no place, and its own words."""
    if not hasattr(error, "errors"):
        return "", f"cannot be used: {short(str(error), 200)}"
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return place, what_is_wrong(first["type"], repr(first.get("input")), first["msg"])


def checked(kind: Any, values: Any, place: str) -> Any:
    """An options model of plain data.

    Args:
        kind: the pydantic model.
        place: where the data stands, for the user.

    Raises:
        UserError: the first thing that is wrong there.
    """
    try:
        return kind.model_validate(values)
    except ValueError as error:
        inner, wrong = first_wrong(error)
        raise UserError(f"{place}: {' '.join(filter(None, [inner, wrong]))}.") from None
