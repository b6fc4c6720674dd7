"""Committed rows, looked at before anything is taken over from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from excise.errors import UserError
from excise.provenance.rows import wrong_row

from .plan import Cell, cell_of

logger = logging.getLogger(__name__)
MEND = "Take the file from version control again."


def rows_by_cell(rows: list[dict], where: str) -> dict[Cell, dict]:
    """Cell -> its row.

    Args:
        where: the rows' name, for the sentence.

    Raises:
        UserError: these are no rows, or one of them counts what its verdicts do not say.
    """
    found = {}
    try:
        for row in rows:
            cell = cell_of(row)
            if not row["fingerprint"] or (reasons := wrong_row(row)):
                raise UserError(f"{where}: the row of {cell.id} is wrong ({'; '.join(reasons)}). {MEND}")
            found[cell] = row
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{where} has something that is no row ({type(error).__name__}: {error}). {MEND}") from None
    return found


def tell_left_out(rows: Iterable[Cell], cells: list[Cell]) -> None:
    """Say how many rows are of no cell of this grid: what is written now has none of them."""
    count = len(set(rows) - set(cells))
    if count:
        logger.warning(
            "%d committed rows are of no cell of this grid and are not written again; version control has them.", count
        )
