"""Kedro datasets for what excise keeps on disk. All are versioned where the catalog says so, and nothing is pickled.

Every file is written whole or not at all, also by those that are Kedro's own (``drafted``).
"""

from .drafted import CsvDataset, JsonDataset, RowsDataset, TableDataset, TextDataset
from .eraser import EraserDataset
from .folder import FolderDataset
from .image_set import ImageSetDataset
from .mask import MaskDataset
from .png import PngDataset
from .prompt_table import PromptTableDataset
from .tensors import TensorsDataset

__all__ = [
    "CsvDataset",
    "EraserDataset",
    "FolderDataset",
    "ImageSetDataset",
    "JsonDataset",
    "MaskDataset",
    "PngDataset",
    "PromptTableDataset",
    "RowsDataset",
    "TableDataset",
    "TensorsDataset",
    "TextDataset",
]
