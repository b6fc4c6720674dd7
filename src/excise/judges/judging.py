"""From images to judgements, and from judgements to hits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from excise.cache import finished, write_atomically
from excise.judges.judge import Detection, Judge, look
from excise.shards import WHOLE, Shard

if TYPE_CHECKING:
    from excise.images import ImageSet

COLUMNS = [
    *("image_id", "prompt_id", "set", "judge", "judge_version", "judge_sha256"),
    *("label", "score", "x0", "y0", "x1", "y1", "failed", "error"),
]
LONG = 200  # images from which a progress bar is shown


def judge_images(
    judge: Judge, image_set: ImageSet, batch: int = 64, folder: Path | None = None, shard: Shard = WHOLE
) -> pd.DataFrame:
    """Raw detections on every image of a set.

    An image without any detection has one row with label "" and score 0. An image that cannot be read or judged has
    one row with ``failed`` and the reason; it does not stop the others, and it does not count as clear.

    Args:
        folder: where judged batches are kept; one in which an image failed is not, and is judged again next time.
        shard: whose batches are judged; the table that comes back has just those.

    Returns:
        One row a detection, in the manifest's order: image_id, prompt_id, set, judge, judge_version, judge_sha256,
        label, score on [0, 1], x0, y0, x1, y1 (pixels; NaN without a box), failed, error.
    """
    from tqdm import tqdm

    manifest = image_set.manifest
    tables = [_table([])]
    quiet = {"disable": True} if len(manifest) < LONG else {}  # else as the environment says
    with tqdm(total=len(manifest), desc=f"judging with {judge.name}", unit="image", **quiet) as bar:
        for number, start in enumerate(range(0, len(manifest), batch)):
            part = manifest.iloc[start : start + batch]
            bar.update(len(part))
            if not shard.has(number):
                continue
            kept = folder / f"batch-{number:05d}.parquet" if folder else None
            if kept is not None and finished(kept):
                tables.append(pd.read_parquet(kept))
                continue
            images, outcomes = part.to_dict("records"), _outcomes(judge, image_set, part)
            tables.append(_table([r for i, o in zip(images, outcomes, strict=True) for r in _rows(judge, i, o)]))
            if kept is not None and not tables[-1]["failed"].any():
                write_atomically(kept, tables[-1].to_parquet)
    return pd.concat([t for t in tables if len(t)] or tables, ignore_index=True)


def _table(rows: list[dict]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"score": float, "x0": float, "y0": float, "x1": float, "y1": float, "failed": bool})


def _outcomes(judge: Judge, image_set: ImageSet, part: pd.DataFrame) -> list[list[Detection] | Exception]:
    """Detections for each image; when a batch fails its images are tried one by one, to find the one that fails."""
    ids = part["image_id"].tolist()
    try:
        return look(judge, image_set.load(ids))
    except Exception as error:
        if len(ids) == 1:
            return [error]
    return [outcome for i in range(len(part)) for outcome in _outcomes(judge, image_set, part.iloc[i : i + 1])]


def _rows(judge: Judge, image: dict[str, Any], outcome: list[Detection] | Exception) -> list[dict]:
    failed = isinstance(outcome, Exception)
    common = {
        **{column: image[column] for column in ("image_id", "prompt_id", "set")},
        **{"judge": judge.name, "judge_version": judge.version, "judge_sha256": judge.sha256},
        **{"failed": failed, "error": f"{type(outcome).__name__}: {outcome}" if failed else ""},
    }
    found = [] if failed else outcome
    return [
        {**common, "label": one.label, "score": one.score}
        | dict(zip(("x0", "y0", "x1", "y1"), one.box or (np.nan,) * 4, strict=True))
        for one in found or [Detection("", 0.0)]
    ]


def hits(judgements: pd.DataFrame, labels: Iterable[str], threshold: float) -> pd.DataFrame:
    """Which images show any of some labels.

    Args:
        judgements: one judge's table, from ``judge_images``.
        labels: resolved labels (``Judge.resolve``).
        threshold: a score that is at least this counts.

    Returns:
        One row an image: image_id, prompt_id, hit, failed. A failed image has no hit and is not clear either.
    """
    seen = judgements["label"].isin(list(labels)) & (judgements["score"] >= threshold)
    return _by_image(judgements, seen)


def right(judgements: pd.DataFrame, expected: pd.Series, threshold: float) -> pd.DataFrame:
    """Which images show what their prompt asks for: the likeliest label is the expected one.

    Args:
        judgements: one judge's table, from ``judge_images``.
        expected: prompt_id -> label; images of other prompts are left out.
        threshold: the likeliest label must reach this score.

    Returns:
        As ``hits``.
    """
    asked = judgements[judgements["prompt_id"].isin(expected.index)]
    best = asked.groupby("image_id", sort=False)["score"].transform("max")
    wanted = asked["label"] == asked["prompt_id"].map(expected)
    return _by_image(asked, wanted & (asked["score"] == best) & (asked["score"] >= threshold))


def _by_image(judgements: pd.DataFrame, seen: pd.Series) -> pd.DataFrame:
    table = judgements.assign(hit=seen & ~judgements["failed"])
    grouped = table.groupby(["image_id", "prompt_id"], sort=False)
    return grouped[["hit", "failed"]].any().reset_index()
