"""What the user can mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """One sentence that says what is wrong and what to change; shown without a traceback."""


class GateError(UserError):
    """A run did its work and was not passed by the gate; the command ends with this exit code, not with 1."""

    exit_code = 3


def refuse_unknown(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise a ``UserError`` with the nearest known name, unless the name is known."""
    known = sorted(known)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
        raise UserError(f"There is no {kind} '{name}': {hint}")
