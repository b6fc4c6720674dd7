"""Pictures for people."""

from __future__ import annotations

import base64

from kedro.io.core import get_filepath_str
from kedro_datasets._typing import ImagePreview
from kedro_datasets.pillow import ImageDataset

from .drafted import Drafted


class PngDataset(Drafted, ImageDataset):
    """A PIL image, such as a contact sheet, that kedro-viz shows.

    What it shows is what was saved: pictures of unsafe concepts have to be pixelated before.
    """

    def preview(self) -> ImagePreview:
        """The file, base64-encoded."""
        with self._fs.open(get_filepath_str(self._get_load_path(), self._protocol), "rb") as file:
            return ImagePreview(base64.b64encode(file.read()).decode())
