"""What turns a model's latents into pictures, besides the weights that identify it."""

from __future__ import annotations

import hashlib
from pathlib import Path

PARTS = ("vae", "scheduler", "tokenizer", "tokenizer_2", "tokenizer_3")
READ = {".json", ".txt", ".model", ".safetensors"}


def files_sha256(folder: Path, unet: Path | None = None) -> str:
    """Hash of all files that a model is loaded from, weights, configurations and tokenizers, to the byte.

    The identity of a model (``models.identity``) is the same for weights of the same signs and for any scheduler; what
    is kept of a model's work is not.

    Args:
        unet: a folder that takes the place of the model's own U-Net.
    """
    digest = hashlib.sha256()
    for place in filter(None, (folder, unet)):
        for path in sorted(place.rglob("*")):
            if path.suffix in READ and path.is_file():
                digest.update(_told(path, place))
    return digest.hexdigest()


def decoding_sha256(folder: Path) -> str:
    """Hash of the files of a diffusers folder's autoencoder, scheduler and tokenizers.

    An eraser does not touch these, and fits a model with others; a figure does not.
    """
    digest = hashlib.sha256()
    for part in PARTS:
        for path in sorted((folder / part).rglob("*")):
            if path.suffix in READ and ".fp16." not in path.name:
                digest.update(_told(path, folder))
    return digest.hexdigest()


def _told(path: Path, folder: Path) -> bytes:
    """A file's place in a folder, and a hash of what is in it."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path.relative_to(folder).as_posix()} {content}\n".encode()
