"""Erased models that others made, in whatever form they come: what they change, as an eraser of the base model.

A kind is a class with ``recognises`` and ``read`` and one line here; the first that recognises a checkpoint reads it.
"""

from .checkpoint import Checkpoint, find_checkpoint
from .kind import KINDS, kind_of, register
from .options import AuditOptions
from .read import check_checkpoint, read_checkpoint

__all__ = [
    "KINDS",
    "AuditOptions",
    "Checkpoint",
    "check_checkpoint",
    "find_checkpoint",
    "kind_of",
    "read_checkpoint",
    "register",
]

register("eraser", "excise.checkpoints.eraser_file:EraserFile")
register("mask", "excise.checkpoints.mask_file:MaskFile")
register("lora", "excise.checkpoints.lora:Lora")
register("single_file", "excise.checkpoints.single_file:SingleFile")
register("folder", "excise.checkpoints.folder:Folder")
register("text_encoder", "excise.checkpoints.text_encoder:TextEncoder")
register("weights", "excise.checkpoints.weights:Weights")
