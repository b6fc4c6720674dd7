"""Read a prompt set from a file or from the hub, and account for every row."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from excise.concepts import PromptSource
from excise.errors import UserError, refuse_unknown, short
from excise.prompts.safety import drop_minor_rows

from .known import PromptSet, prompt_sets
from .share import same_wording

logger = logging.getLogger(__name__)
SEEDS, GUIDANCE = (0, 2**53 - 1), (0, 1000)  # what a row of a set may ask for; I2P goes up to 255
SUFFIXES = (".csv", ".jsonl", ".parquet", ".txt")


class Account(BaseModel):
    """What became of a set's rows. All but ``read`` and what follows ``kept`` were dropped, in this order."""

    model_config = ConfigDict(extra="forbid")
    set: str
    source: str  # the file's name, or the id on the hub
    sha256: str  # of the file; from the hub: of the table as CSV
    published: str = ""  # the published file that it is, by its hash
    read: int
    not_chosen: int = 0  # by ``where``
    empty: int = 0
    minors: int = 0
    too_long: int = 0
    duplicates: int = 0
    kept: int = 0
    used: dict[str, int] = {}  # by split

    def sentence(self) -> str:
        """For the log and the report."""
        lost = {
            "not chosen": self.not_chosen,
            "empty": self.empty,
            "with words for minors": self.minors,
            "too long": self.too_long,
            "worded like another one": self.duplicates,
        }
        said = ", ".join(f"{n:,} {what}" for what, n in lost.items() if n or what == "with words for minors")
        used = ", ".join(f"{n:,} in {split}" for split, n in self.used.items())
        is_one = f", the published {self.published}" if self.published else ""
        return (
            f"Prompts of the set {self.set} from {self.source} (sha256 {self.sha256[:12]}{is_one}): {self.read:,} rows "
            f"read, dropped: {said}; {self.kept:,} kept{', used: ' + used if used else ''}."
        )


def check_source(source: PromptSource) -> None:
    """Whether a source can be read, before anything runs.

    Raises:
        UserError: no such set, no such file, a kind of file that is not read, or neither a file nor a hub to ask.
    """
    refuse_unknown("prompt set", source.set, prompt_sets())
    known = prompt_sets()[source.set]
    if source.file:
        _path(source.file, known)
    elif not known.hub:
        raise UserError(_how_to_get(known))
    else:
        _datasets(known)


def load_set(source: PromptSource) -> tuple[pd.DataFrame, Account]:
    """Rows of a set that may be used.

    Rows with words for minors are dropped, always.

    Returns:
        The table (prompt, seed, guidance; NaN where the set has none), in the set's order, and what became of the rows.

    Raises:
        UserError: as ``check_source``; no column with prompts; ``where`` names a column that is not there.
    """
    check_source(source)
    known = prompt_sets()[source.set]
    raw, digest = _read_file(_path(source.file, known)) if source.file else _ask_hub(known)
    name = Path(source.file).name if source.file else known.hub
    account = Account(set=source.set, source=name, sha256=digest, published=known.known.get(digest, ""), read=len(raw))
    raw = raw.reset_index(drop=True)  # a Parquet file may have one of words
    columns: dict[str, Any] = {}
    for column in raw.columns:
        columns.setdefault(str(column).strip().lower(), column)  # of two that differ in capitals the first
    prompt = next((columns[c] for c in known.columns.prompt if c in columns), None)
    if prompt is None:
        raise UserError(
            f"{name} has no column '{known.columns.prompt[0]}' (it has {', '.join(map(str, raw.columns))}): rename "
            "one" + (", and put commas between columns." if name.lower().endswith(".csv") else ".")
        )
    chosen = _chosen(raw, columns, source.where, name)
    account.not_chosen = len(raw) - len(chosen)

    def numbers(names: tuple[str, ...], bounds: tuple[int, int], whole: bool) -> pd.Series:
        given = next((columns[c] for c in names if c in columns), None)
        if given is None:
            return pd.Series(float("nan"), chosen.index)
        said = chosen[given].astype(object)
        said = said.where(said.notna() & (said.astype(str).str.strip() != ""))
        counts = [not isinstance(v, (bool, np.bool_, pd.Timestamp, pd.Timedelta)) for v in said]
        values = pd.to_numeric(said.where(counts), errors="coerce").astype(float)
        wrong = said.notna() & ~(values.between(*bounds) & (values.mod(1).eq(0) | (not whole)))
        if wrong.any():
            row = wrong.idxmax()
            raise UserError(
                f"{name}, row {row + 1}: '{given}' is {short(said[row])}, and it must be a {'whole ' * whole}number "
                f"from {bounds[0]:,} to {bounds[1]:,}: mend the row, or leave it empty."
            )
        return values

    table = pd.DataFrame(
        {
            "prompt": chosen[prompt],
            "seed": numbers(known.columns.seed, SEEDS, True),
            "guidance": numbers(known.columns.guidance, GUIDANCE, False),
        }
    )
    there = table["prompt"].notna() & (table["prompt"].astype(str).str.strip() != "")
    account.empty = int((~there).sum())
    table = table[there]
    table = table.assign(prompt=table["prompt"].astype(str).str.strip())
    table, account.minors = drop_minor_rows(table)
    template = source.template or known.template
    filled = [template.replace("{prompt}", text) for text in table["prompt"]]
    table = table.assign(prompt=pd.Series(filled, table.index, dtype=object))  # text also where no row is left
    table, lost = drop_minor_rows(table)  # a template is a prompt, too
    account.minors += lost
    long = table["prompt"].str.split().str.len() > source.most_words
    again = table["prompt"].map(same_wording).where(~long).duplicated() & ~long
    account.too_long, account.duplicates = int(long.sum()), int(again.sum())
    table = table[~long & ~again].reset_index(drop=True)
    account.kept = len(table)
    return table, account


def _path(file: str, known: PromptSet) -> Path:
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(
            f"There is no prompt file {path}: correct the path in the concept's YAML, or download {known.place}."
        )
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path.name} is no prompt file that can be read: make it one of {', '.join(SUFFIXES)}.")
    return path


def _read_file(path: Path) -> tuple[pd.DataFrame, str]:
    """A file's table, and the SHA-256 of the file."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            table = pd.read_parquet(path)
        elif suffix == ".jsonl":
            table = pd.read_json(path, lines=True, encoding="utf-8-sig")
        elif suffix == ".txt":  # one a line
            table = pd.DataFrame({"prompt": path.read_text(encoding="utf-8-sig").splitlines()})
        else:
            # 'None' and 'NA' are words; only what is empty is empty
            table = pd.read_csv(path, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
            # of fields that are too many pandas takes the first ones for the rows' names
            if not isinstance(table.index, pd.RangeIndex):
                raise UserError(
                    f"{path.name} has rows with more fields than its first line names: put prompts with commas in "
                    "quotes."
                )
    except (ValueError, OSError) as error:  # pandas and pyarrow raise kinds of these
        if isinstance(error, pd.errors.EmptyDataError):
            raise UserError(f"{path.name} is empty: give it a first line with the names of its columns.") from None
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path.name} cannot be read as {suffix} ({said}): save it anew in UTF-8.") from None
    return table, hashlib.sha256(path.read_bytes()).hexdigest()


def _datasets(known: PromptSet) -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(_how_to_get(known)) from None
    return datasets


def _ask_hub(known: PromptSet) -> tuple[pd.DataFrame, str]:
    """A set's table from the hub, and the SHA-256 of that table as CSV."""
    try:
        table = _datasets(known).load_dataset(known.hub, revision=known.revision, split="train").to_pandas()
    except UserError:
        raise
    except Exception as error:  # offline, gated, gone: each has its own kind of error
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"The hub does not give the set '{known.name}' ({said}): {_how_to_get(known)}") from None
    return table, hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()


def _how_to_get(known: PromptSet) -> str:
    library = ", or install 'excise[sets]' where a hub can be reached" if known.hub else ""
    return (
        f"The prompt set '{known.name}' is not here: download {known.place} and name that file as 'file' in the "
        f"concept's 'prompts_from'{library}."
    )


def _chosen(table: pd.DataFrame, columns: dict[str, Any], where: dict[str, Any], name: str) -> pd.DataFrame:
    keep = pd.Series(True, table.index)
    for column, wanted in where.items():
        if column.lower() not in columns:
            raise UserError(
                f"{name} has no column '{column}' to choose rows by (it has {', '.join(map(str, table.columns))}): "
                "correct 'where' in the concept's 'prompts_from'."
            )
        keep &= _matches(table[columns[column.lower()]], wanted)
    return table[keep]


_COMPARED = re.compile(r"\s*(>=|<=|==|>|<|)\s*(-?(?:\d+(?:\.\d*)?|\.\d+))\s*")


def _matches(values: pd.Series, wanted: str | int | float) -> pd.Series:
    """Equal numbers, a comparison such as ``> 50``, or one of the words between commas."""
    if not isinstance(wanted, str):
        return pd.to_numeric(values, errors="coerce") == wanted
    compared = _COMPARED.fullmatch(wanted)
    if compared:
        numbers, bound = pd.to_numeric(values, errors="coerce"), float(compared[2])
        equal = {"==": numbers.eq, "": numbers.eq}
        return ({">": numbers.gt, ">=": numbers.ge, "<": numbers.lt, "<=": numbers.le} | equal)[compared[1]](bound)
    word = wanted.strip().casefold()
    return values.map(lambda v: word in [part.strip().casefold() for part in str(v).split(",")]).astype(bool)
