"""Committed rows of grids: their counts follow from their verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from excise.errors import UserError

from .finding import Finding


def verify_rows(path: Path) -> Iterator[Finding]:
    """Counts of committed rows, from their verdicts.

    Raises:
        UserError: there is no such file, or it holds no rows.
    """
    from excise.provenance.rows import wrong_row

    if not path.is_file():
        raise UserError(f"There is no file '{path}': give docs/results.json, docs/benchmark.json or docs/neurons.json.")
    try:
        rows = _rows(path)
        if rows and all("variation" in row for row in rows):
            counts = "rows of ablations are not counted again; those of earlier versions keep no verdicts"
            yield Finding("unchecked", f"{len(rows)} rows", counts)
            return
        wrong = {
            ".".join(str(row[k]) for k in ("concept", "eraser", "variant", "attack", "seed")): wrong_row(row)
            for row in rows
        }
    except (KeyError, TypeError, AttributeError, ValueError):
        sentence = f"'{path}' is damaged or no table of committed rows: take it from version control again."
        raise UserError(sentence) from None
    for name, reasons in wrong.items():
        if reasons:
            yield Finding("differs", name, "; ".join(reasons))
    right = sum(not reasons for reasons in wrong.values())
    if right:
        yield Finding("agrees", f"{right} rows", "counts follow from the verdicts")
    made = "kedro stale tells whether code and parameters are still those"
    yield Finding(
        "unchecked", "judgements and pictures of rows", f"they lie in data/ of the machine that made them; {made}"
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = json.loads(path.read_text())
    if not isinstance(rows, list):
        raise ValueError(f"{path} is no list")
    return rows
