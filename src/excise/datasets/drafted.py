"""Kedro's own data sets of single files, written whole or not at all.

As they come they open the very file that a run will read: a kill or a full disk leaves half of one, and as the newest
version at that.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.text import TextDataset as KedroTextDataset

from excise.cache import write_atomically


class Drafted:
    """Put before a versioned data set: its ``save`` writes to a draft beside the file, which is then moved."""

    _draft: PurePosixPath | None = None

    def save(self, data: Any) -> None:
        path = Path(self._get_save_path())
        path.parent.mkdir(parents=True, exist_ok=True)

        def write(draft: Path) -> None:
            self._draft = PurePosixPath(draft)
            try:
                super(Drafted, self).save.__wrapped__(self, data)
            finally:
                self._draft = None

        write_atomically(path, write)

    def _get_save_path(self) -> PurePosixPath:
        return super()._get_save_path() if self._draft is None else self._draft


class JsonDataset(Drafted, JSONDataset):
    """Plain data as JSON."""


class RowsDataset(JsonDataset):
    """Rows that earlier runs may have committed; none, where there is no file yet."""

    def load(self) -> Any:
        return super().load() if super()._exists() else []

    def _exists(self) -> bool:
        return True


class TableDataset(Drafted, ParquetDataset):
    """A table as Parquet."""


class CsvDataset(Drafted, CSVDataset):
    """A table as text."""


class TextDataset(Drafted, KedroTextDataset):
    """Text, such as a page."""
