"""Who may become the champion, whatever keeps the record of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol


def may_take_over(run: str, passed: bool, rolled_back: bool, champion_run: str | None) -> tuple[bool, str]:
    """Whether an eraser becomes the champion, and why (not).

    Ids of runs are dates, so that the larger one is the later. An older run that ends late never takes over from a
    newer one, and what was rolled back does not come back by being repeated.

    Args:
        run: the id of the run that made the eraser.
        passed: the gate's verdict.
        rolled_back: whether it was champion, and was taken back.
        champion_run: the id of the present champion's run; None if there is no champion.
    """
    if not passed:
        return False, "the gate is not passed"
    if rolled_back:
        return False, "it was champion before, and was rolled back: a new run is needed"
    if champion_run is not None and run < champion_run:
        return False, f"the champion is of a newer run, {champion_run}"
    return True, "the gate is passed"


class Registry(Protocol):
    """Keeps the versions of an eraser, and which of them is the champion."""

    def champion(self, model: str, concept: str) -> dict[str, Any] | None:
        """``version``, ``run`` and ``gate`` of the champion; None if there is none.

        ``gate`` is the content of its ``gate.json``, or None where that cannot be read.
        """

    def record(self, gate: Mapping[str, Any], sha256: str, save: Callable[[Path], None]) -> dict[str, Any]:
        """Register an eraser as a version and, where ``may_take_over`` says so, make it the champion.

        Args:
            gate: the content of ``gate.json``.
            sha256: hash of what the eraser changes.
            save: writes the eraser file.

        Returns:
            The content of ``promotion.json``: registry, name, version, passed, champion, before, sentence.
        """
