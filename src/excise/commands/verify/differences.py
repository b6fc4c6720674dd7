"""How two results differ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from excise.provenance.contents import lasting

CLOSE = {"rel": 1e-4, "abs": 1e-6}  # last digits move with the number of threads
LATER = {"letters"}  # keys that files of earlier versions do not have

if TYPE_CHECKING:
    import pandas as pd


def differences(stored: Any, made: Any) -> str:
    """In a few words how two results differ, or nothing.

    What differs from run to run does not count, nor do the last digits of what is no whole number, nor what files of
    earlier versions lack altogether.
    """
    import pandas as pd

    if isinstance(stored, pd.DataFrame):
        return table_differences(stored, made)
    was, is_ = (dict(_leaves(json.loads(json.dumps(lasting(value))))) for value in (stored, made))
    lacking = LATER - {part for key in was for part in key.split(".")}
    is_ = {key: value for key, value in is_.items() if lacking.isdisjoint(key.split("."))}
    other = sorted(key for key in {*was, *is_} if not _same(was.get(key), is_.get(key)))
    told = [f"{key} is {was.get(key)} and comes out as {is_.get(key)}" for key in other[:3]]
    return "; ".join(told) + (f"; and {len(other) - 3} more" if len(other) > 3 else "")


def table_differences(stored: pd.DataFrame, made: pd.DataFrame) -> str:
    """Scores may differ in their last digits, as they do with another number of threads; whatever follows may not."""
    import numpy as np

    from excise.cache import fingerprint

    if list(stored.columns) != list(made.columns):
        return "it has other columns"
    if len(stored) != len(made):
        return f"it has {len(stored)} rows, and comes out with {len(made)}"
    scores = list(stored.select_dtypes("float").columns.intersection(made.select_dtypes("float").columns))
    rest = [table.drop(columns=scores) for table in (stored, made)]
    marks = [[fingerprint(row.to_frame().T.astype(str)) for _, row in table.iterrows()] for table in rest]
    close = np.isclose(stored[scores], made[scores], rtol=CLOSE["rel"], atol=CLOSE["abs"], equal_nan=True).all(axis=1)
    other = sum(a != b or not near for a, b, near in zip(*marks, close, strict=True))
    return f"{other} of {len(stored)} rows are others" if other else ""


def _same(was: Any, made: Any) -> bool:
    if isinstance(was, float) and isinstance(made, float):
        return math.isclose(was, made, rel_tol=CLOSE["rel"], abs_tol=CLOSE["abs"])
    return was == made


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield name, value
        return
    for key, item in items:
        yield from _leaves(item, f"{name}.{key}" if name else str(key))
