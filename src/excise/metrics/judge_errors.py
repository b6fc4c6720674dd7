"""How often a judge errs on pictures of which people have said what they show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from excise.concepts.concept import JudgeSpec
from excise.errors import UserError

TABLE = "labels.csv"
COLUMNS = [
    *("group", "shown", "missed", "miss_low", "miss_high", "others", "alarms", "alarm_low", "alarm_high", "failed"),
    *("shown_subjects", "other_subjects"),
]
BOX = ["x0", "y0", "x1", "y1"]


@dataclass(frozen=True)
class KnownPictures:
    """Pictures with their labels.

    Attributes:
        labels: one row a picture: picture (its name), labels (a set of words), group (what the errors are counted for),
            subject (pictures of the same one are no independent trials).
        pictures: in the same order, each (H, W, 3) uint8 RGB.
    """

    labels: pd.DataFrame
    pictures: list[np.ndarray]


def load_known(folder: str | Path) -> KnownPictures:
    """Read a folder of labelled pictures.

    Args:
        folder: has a ``labels.csv`` with the columns ``file`` (of a picture in that folder) and ``labels`` (words with
            semicolons between them; a picture shows a concept where one is its name, or a label that its judge counts),
            and if wanted ``group``, ``subject`` (the same word for pictures of the same thing, such as one drawing on
            many grounds; without it each picture is a subject of its own), and ``x0``, ``y0``, ``x1``, ``y1`` (pixels,
            of a part of the file, which may hold several).

    Raises:
        UserError: no such folder or table, a column or a picture is missing, or a file lies outside the folder.
    """
    from PIL import Image, UnidentifiedImageError

    folder, table = Path(folder), known_table(folder)
    open_files: dict[str, Image.Image] = {}
    pictures = []
    for row in table.to_dict("records"):
        name = str(row["file"])
        if name not in open_files:
            try:
                open_files[name] = Image.open(folder / name).convert("RGB")
            except (OSError, UnidentifiedImageError):
                raise UserError(f"{folder / TABLE} names '{name}', which is no picture that can be read.") from None
        whole = open_files[name]
        cut = all(c in row and not pd.isna(row[c]) for c in BOX)
        pictures.append(np.asarray(whole.crop([int(row[c]) for c in BOX]) if cut else whole))
    labels = [frozenset(w.strip() for w in str(text).split(";") if w.strip()) for text in table["labels"]]
    groups = table["group"].astype(str) if "group" in table else "all"
    names = [f"{file}-{number}" for number, file in enumerate(table["file"])]
    subjects = table["subject"].astype(str) if "subject" in table else names
    columns = {"picture": names, "labels": labels, "group": groups, "subject": subjects}
    return KnownPictures(pd.DataFrame(columns), pictures)


def known_table(folder: str | Path) -> pd.DataFrame:
    """The ``labels.csv`` of a folder, checked; of the pictures only the beginnings are read.

    Raises:
        UserError: as ``load_known``; a picture whose beginning is in order may still be cut short.
    """
    from PIL import Image, UnidentifiedImageError

    folder = Path(folder)
    if not (folder / TABLE).is_file():
        raise UserError(f"There is no {TABLE} in {folder}: it says what each known picture shows.")
    try:
        table = pd.read_csv(folder / TABLE, keep_default_na=False, na_values={c: [""] for c in BOX})
    except ValueError as error:  # pandas' own kinds, and text that is not UTF-8
        said = str(error).splitlines()[0]
        raise UserError(f"{folder / TABLE} cannot be read ({said}): save it as CSV in UTF-8.") from None
    for column in ("file", "labels"):
        if column not in table:
            raise UserError(f"{folder / TABLE} has no column '{column}': name the file and the labels of each picture.")
    if table.empty:
        raise UserError(f"{folder / TABLE} names no picture: add some, or set known_pictures to null.")
    for name in dict.fromkeys(map(str, table["file"])):
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{folder / TABLE} names '{name}', which lies outside that folder: put it inside.")
        try:
            Image.open(path).close()
        except (OSError, UnidentifiedImageError):
            raise UserError(
                f"{folder / TABLE} names '{name}', which is no picture that can be read: mend or remove it."
            ) from None
    for column in (c for c in BOX if c in table):
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise UserError(f"{folder / TABLE} has words in the column '{column}': it takes pixels, as numbers.")
    return table


def judge_errors(spec: JudgeSpec, concept: str, known: KnownPictures) -> pd.DataFrame:
    """A judge's misses and false alarms on known pictures.

    A picture that the judge fails on is counted as failed, and neither as right nor as wrong.

    Args:
        spec: judge, labels and threshold.
        concept: its name.

    Returns:
        As ``errors_of``.
    """
    return errors_of(see_known(spec, known), words_for(spec, concept), known)


def words_for(spec: JudgeSpec, concept: str) -> set[str]:
    """The labels by which a known picture shows what the judge looks for: the concept's name, or one that it counts."""
    from excise.judges import make_judge

    return {concept, *make_judge(spec).resolve(spec.labels)}


def see_known(spec: JudgeSpec, known: KnownPictures) -> pd.Series:
    """Whether a judge sees what it looks for in each picture: True, False, or None where it fails."""
    from tqdm import tqdm

    from excise.judges import make_judge

    judge = make_judge(spec)
    wanted = judge.resolve(spec.labels)
    runs = _runs_of_one_size(known.pictures)
    seen = [
        verdict
        for some in tqdm(runs, desc=f"known pictures: {judge.name}", unit="batch", disable=len(runs) < 3)
        for verdict in _verdicts(judge, some, wanted, spec.threshold)
    ]
    return pd.Series(seen, dtype=object)


def errors_of(seen: pd.Series, words: Collection[str], known: KnownPictures) -> pd.DataFrame:
    """Misses and false alarms, from what ``see_known`` returns.

    Args:
        words: any of these labels says that a picture shows it (``words_for``).

    Returns:
        One row a group, in the order of their first pictures: group; shown (pictures of the concept that could be
        judged), missed (those without a hit), miss_low, miss_high (95 % interval of the share, on [0, 1]); others,
        alarms, alarm_low, alarm_high; failed; shown_subjects, other_subjects (how many different ones those pictures
        are of). Intervals are Wilson's with as many trials as there are subjects, as if the pictures of one were all
        alike: on the safe side, since they are not. NaN of nothing.
    """
    from statsmodels.stats.proportion import proportion_confint

    table = known.labels.assign(
        seen=seen.to_numpy(), shows=[not labels.isdisjoint(words) for labels in known.labels["labels"]]
    )
    rows = []
    for group, part in table.groupby("group", sort=False):
        judged = part[part["seen"].notna()]
        row: dict = {"group": group}
        for shows, total, wrong, name, of in (
            (True, "shown", "missed", "miss", "shown_subjects"),
            (False, "others", "alarms", "alarm", "other_subjects"),
        ):
            some = judged[judged["shows"] == shows]
            errors, low, high = int((some["seen"].astype(bool) != shows).sum()), np.nan, np.nan
            subjects = some["subject"].nunique()
            if subjects:
                low, high = proportion_confint(errors / len(some) * subjects, subjects, method="wilson")
            row |= {total: len(some), wrong: errors, f"{name}_low": float(low), f"{name}_high": float(high)}
            row[of] = subjects
        rows.append(row | {"failed": len(part) - len(judged)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _runs_of_one_size(pictures: list[np.ndarray], most: int = 64) -> list[list[np.ndarray]]:
    """Neighbours that a judge can take together."""
    runs: list[list[np.ndarray]] = []
    for picture in pictures:
        if not runs or len(runs[-1]) == most or runs[-1][0].shape != picture.shape:
            runs.append([])
        runs[-1].append(picture)
    return runs


def _verdicts(judge, pictures: list[np.ndarray], labels: tuple[str, ...], threshold: float) -> list[bool | None]:
    """When a batch fails its pictures are tried one by one, to find the one that fails."""
    from excise.judges.judge import look

    try:
        found = look(judge, np.stack(pictures))
    except Exception:
        if len(pictures) == 1:
            return [None]
        return [v for picture in pictures for v in _verdicts(judge, [picture], labels, threshold)]
    return [any(d.label in labels and d.score >= threshold for d in detections) for detections in found]
