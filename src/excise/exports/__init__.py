"""An erased model in the forms that other programs read: one format a file, a function of a model and an eraser."""

from .card import model_card
from .folder import save_folder, write_folder
from .lora import LoraFit, fit_lora, save_lora
from .options import FORMATS, ExportOptions, choose_formats
from .single_file import ldm_names, save_single_file
from .weights import changed_weights, origin, save_mask, save_weights

__all__ = [
    "FORMATS",
    "ExportOptions",
    "LoraFit",
    "changed_weights",
    "choose_formats",
    "fit_lora",
    "ldm_names",
    "model_card",
    "origin",
    "save_folder",
    "save_lora",
    "save_mask",
    "save_single_file",
    "save_weights",
    "write_folder",
]
