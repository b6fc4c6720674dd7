"""Kedro datasets for what excise keeps on disk. All are versioned where the catalog says so, and nothing is pickled.

Reports are plain text: ``text.TextDataset`` keeps them.
"""

from .eraser import EraserDataset
from .folder import FolderDataset
from .image_set import ImageSetDataset
from .mask import MaskDataset
from .png import PngDataset
from .prompt_table import PromptTableDataset
from .tensors import TensorsDataset

__all__ = [
    "EraserDataset",
    "FolderDataset",
    "ImageSetDataset",
    "MaskDataset",
    "PngDataset",
    "PromptTableDataset",
    "TensorsDataset",
]
