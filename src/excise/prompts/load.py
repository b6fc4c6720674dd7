"""A user's own prompt table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from excise.concepts import PromptSource

from .sets import load_set


def load_prompt_table(path: str | Path) -> tuple[pd.DataFrame, int]:
    """Read a CSV, JSON lines, Parquet or text file with a column ``prompt``, as I2P and its kin have it.

    Seeds and guidance are taken where they are there, under the names that published lists use. Empty rows, and rows
    that differ from an earlier one in capitals and punctuation only, are left out.

    Returns:
        The table (prompt, seed, guidance; NaN where not given) and the number of rows dropped for words for minors.

    Raises:
        UserError: no such file, or no column ``prompt``.
    """
    table, account = load_set(PromptSource(file=str(path)))
    return table, account.minors
