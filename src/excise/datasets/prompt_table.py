"""Tables with prompts in them: kept as they are, shown masked."""

from __future__ import annotations

from kedro_datasets._typing import TablePreview

from .drafted import TableDataset


class PromptTableDataset(TableDataset):
    """A Parquet table whose prompts and attacked texts kedro-viz shows only as far as people may see them.

    Where any prompt has an explicit word, the whole column is cut to the beginnings of its prompts.
    """

    TEXTS = ("prompt", "text")

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows."""
        from excise.reports.masking import previewed

        table = self.load()
        shown = {column: previewed(table[column].fillna("").astype(str)) for column in self.TEXTS if column in table}
        return table.assign(**shown).head(nrows).to_dict(orient="split")
