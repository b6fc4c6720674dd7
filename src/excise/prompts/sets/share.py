"""Which split a prompt belongs to: its wording decides, and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import pandas as pd

from excise.prompts.safety.disguise import EITHER, fold

SHARES = {"fit": 0.4, "tune": 0.2, "test": 0.4}  # of the splits that a set serves


def same_wording(prompt: str) -> str:
    """The same for prompts that differ in nothing but capitals, accents, blanks and punctuation."""
    return re.sub(r"[^\w]+", " ", fold(prompt).replace(EITHER, "i")).strip() or prompt.strip()


def place(prompt: str, seed: int | None = None) -> float:
    """A number in [0, 1) that follows from the wording, and from a seed if there is one."""
    text = same_wording(prompt) if seed is None else f"{seed}/{same_wording(prompt)}"
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:6], "big") / 2**48


def split_of(prompt: str, splits: Sequence[str]) -> str:
    """The split of a prompt, among those that a set serves."""
    at, upto = place(prompt) * sum(SHARES[s] for s in splits), 0.0
    for split in splits:
        upto += SHARES[split]
        if at < upto:
            return split
    return splits[-1]


def share_out(table: pd.DataFrame, splits: Sequence[str], counts: dict[str, int], seed: int) -> dict[str, pd.DataFrame]:
    """A set's rows by split: no wording is in two, and more rows do not move the ones that are there.

    Args:
        table: with a column ``prompt``.
        splits: those that the set serves.
        counts: how many rows a split may have; of more a sample is drawn by ``seed``.

    Returns:
        The rows of each split, in the table's order.
    """
    ordered = [s for s in SHARES if s in splits]
    of = table["prompt"].map(lambda prompt: split_of(prompt, ordered))
    found = {}
    for split in ordered:
        rows = table[of == split]
        drawn = rows["prompt"].map(lambda prompt: place(prompt, seed)).sort_values(kind="stable").index[: counts[split]]
        found[split] = rows.loc[sorted(drawn)].reset_index(drop=True)
    return found
