"""Image sets: the manifest is the result, the pictures stay in the cache where they were drawn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kedro.io.core import DatasetError
from kedro.utils import find_kedro_project
from kedro_datasets._typing import TablePreview

from .local import LocalDataset

FOLDER = b"excise.folder"


class ImageSetDataset(LocalDataset):
    """An ``excise.images.ImageSet`` as ``manifest.parquet``.

    The pictures' folder is recorded in the file's schema, relative to the project, so that a project can be moved.
    The dataset *exists* only while every picture is there, so that ``--only-missing-outputs`` draws what was lost.
    """

    def read(self, path: Path) -> Any:
        import pyarrow.parquet as pq

        from excise.images import ImageSet

        table = pq.read_table(path)
        folder = self._home / (table.schema.metadata or {})[FOLDER].decode()
        return ImageSet(folder.resolve(), table.replace_schema_metadata(_without_folder(table)).to_pandas())

    def write(self, path: Path, data: Any) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not data.complete:
            raise DatasetError(f"the image set in {data.folder} lacks pictures; draw them before it is saved")
        table = pa.Table.from_pandas(data.manifest, preserve_index=False)
        folder = Path(os.path.relpath(data.folder, self._home)).as_posix()
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, FOLDER: folder.encode()}), path)

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows of the manifest, for kedro-viz; no pictures, since they may be unsafe."""
        return self.load().manifest.head(nrows).to_dict(orient="split")

    @property
    def _home(self) -> Path:
        # outside of a project (a test, a copied result) the file's own folder is what moves with it
        return find_kedro_project(Path(self._filepath)) or Path(self._filepath).parent

    def _exists(self) -> bool:
        return super()._exists() and self.load().complete


def _without_folder(table: Any) -> dict[bytes, bytes]:
    return {key: value for key, value in table.schema.metadata.items() if key != FOLDER}
