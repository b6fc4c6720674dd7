"""What lies at a path, from names and headers alone: nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.errors import UserError

if TYPE_CHECKING:
    import torch

PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "vae")  # of a diffusers folder
OTHER_PRECISIONS = re.compile(r".+\.(fp16|bf16|non_ema)[.-].+")  # second copies of the same weights
SHARD = re.compile(r"(.+)-\d+-of-(\d+)")
STANDARD = ("diffusion_pytorch_model", "model")  # what from_pretrained reads, whatever else lies beside it
DTYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"},
    **{"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"},
}
ADAPTER = "adapter_model.safetensors"
LONGEST_HEADER = 100_000_000  # as safetensors itself has it


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: where it is, and what its header says of it."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A file or folder of safetensors.

    Attributes:
        path: as it was given.
        entries: key -> tensor. In a diffusers folder a key begins with the pipeline's part (``unet.conv_in.weight``).
        metadata: of the file's header.
        configs: part -> its ``config.json``, of a folder; ``""`` for one that lies in the folder itself, ``index`` for
            ``model_index.json``, ``adapter`` for peft's ``adapter_config.json``.
    """

    path: Path
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return list(self.entries)

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    @property
    def files(self) -> list[Path]:
        return sorted({entry.file for entry in self.entries.values()})

    @property
    def sha256(self) -> str:
        """Hash of its files, one after the other by name."""
        digest = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
        return digest.hexdigest()

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """Its tensors by key, each read when it is asked for."""
        return _Read(self.entries)

    def sketch(self) -> Mapping[str, torch.Tensor]:
        """The same without values: shapes alone. Single numbers, such as a LoRA's alpha, are read."""
        import torch

        stored = _Read(self.entries)
        return {
            key: stored[key]
            if prod(entry.shape) == 1
            else torch.empty(entry.shape, dtype=getattr(torch, DTYPES[entry.dtype]), device="meta")
            for key, entry in self.entries.items()
        }


class _Read(Mapping):
    """Tensors that are read one by one; files stay open as long as this lives."""

    def __init__(self, entries: Mapping[str, Entry]):
        self.entries, self._open = entries, {}

    def __getitem__(self, key: str) -> torch.Tensor:
        from safetensors import safe_open

        entry = self.entries[key]
        if entry.file not in self._open:
            self._open[entry.file] = safe_open(entry.file, "pt")
        return self._open[entry.file].get_tensor(entry.name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def find_checkpoint(path: str | Path) -> Checkpoint:
    """What is at a path.

    Raises:
        UserError: nothing, a pickle, several checkpoints, or files that are damaged.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"There is no checkpoint '{path}': point the parameter 'checkpoint' to a file or folder.")
    if path.is_file():
        return _of_file(path)
    versions = sorted(path.glob(f"*/{path.name}")) if path.suffix else []
    if versions:  # a versioned result of Kedro's, such as eraser.safetensors/<run>/eraser.safetensors: the newest
        return find_checkpoint(versions[-1])
    parts = [part for part in PARTS if _weights_in(path / part) or _pickles_in(path / part)]
    return _of_parts(path, parts) if parts else _of_folder(path)


def _of_file(path: Path) -> Checkpoint:
    if path.suffix.lower() in PICKLES:
        raise UserError(_pickled(path))
    shard = SHARD.fullmatch(path.stem)
    if shard and int(shard[2]) > 1:
        raise UserError(f"'{path.name}' is one of {int(shard[2])} shards of a checkpoint: name their folder.")
    metadata, entries = read_header(path)
    beside = path.with_name("adapter_config.json")  # peft's, which says the strength of the pairs
    configs = {"adapter": _json(beside)} if path.name == ADAPTER and beside.is_file() else {}
    return Checkpoint(path, entries, metadata, configs)


def _of_folder(path: Path) -> Checkpoint:
    """One part, or an adapter: its weights lie in the folder itself."""
    if not _weights_in(path) and not _pickles_in(path):
        raise UserError(f"There are no safetensors in the folder '{path}': point the parameter 'checkpoint' elsewhere.")
    metadata, entries = {}, {}
    for file in _one_of(path):
        told, found = read_header(file)
        metadata, entries = metadata | told, entries | found
    names = {"": "config.json", "adapter": "adapter_config.json"}
    configs = {key: _json(path / name) for key, name in names.items() if (path / name).exists()}
    return Checkpoint(path, entries, metadata, configs)


def _of_parts(path: Path, parts: list[str]) -> Checkpoint:
    """A diffusers folder: one folder a part."""
    entries, configs = {}, {}
    for part in parts:
        for file in _one_of(path / part):
            entries |= {f"{part}.{name}": entry for name, entry in read_header(file)[1].items()}
        if (path / part / "config.json").exists():
            configs[part] = _json(path / part / "config.json")
    for name, file in {"index": "model_index.json", "scheduler": "scheduler/scheduler_config.json"}.items():
        if (path / file).exists():
            configs[name] = _json(path / file)
    return Checkpoint(path, entries, {}, configs)


def _weights_in(folder: Path) -> list[Path]:
    """Safetensors of a folder; where there are copies of another precision beside the main ones, the main ones."""
    files = sorted(folder.glob("*.safetensors"))
    return [file for file in files if not OTHER_PRECISIONS.fullmatch(file.name)] or files


def _one_of(folder: Path) -> list[Path]:
    """The file of a folder, or its shards; of several in what ``save_pretrained`` wrote, those of the standard name.

    Raises:
        UserError: there are several that may be meant, a shard is not there, or there are pickles alone.
    """
    files = _weights_in(folder)
    if not files:
        raise UserError(_unpickle(folder, _pickles_in(folder)[0]))
    found: dict[tuple[str, int], list[Path]] = {}
    for file in files:
        shard = SHARD.fullmatch(file.stem)
        found.setdefault((shard[1], int(shard[2])) if shard else (file.stem, 1), []).append(file)
    if len(found) > 1 and (folder / "config.json").exists():
        found = {key: own for key, own in found.items() if key[0] in STANDARD} or found
    if len(found) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(f"The folder '{folder}' holds several checkpoints ({names}): name or leave one of them.")
    [((_, count), own)] = found.items()
    if len(own) != count:
        raise UserError(f"The folder '{folder}' holds {len(own)} of {count} shards: fetch the checkpoint anew.")
    return own


def _pickles_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in PICKLES)


def _pickled(file: Path) -> str:
    return (
        f"'{file}' is a pickle, and opening one can run whatever its maker put into it: convert it first, where that "
        "does no harm, with torch.load(PATH, weights_only=True) and safetensors.torch.save_file."
    )


def _begins_as_pickle(file: Path) -> bool:
    """Whether a file that is no safetensors begins as torch.save has it: with a zip archive, or a pickle."""
    try:
        with file.open("rb") as stream:
            start = stream.read(9)
    except OSError:
        return False
    is_header = start[8:] == b"{"  # of safetensors, whose first eight bytes are a number and may be any
    return start.startswith((b"PK\x03\x04", *(bytes((0x80, protocol)) for protocol in range(2, 6)))) and not is_header


def _unpickle(folder: Path, file: Path) -> str:
    return (
        f"The folder '{folder}' holds its weights as a pickle ({file.name}), and opening one can run whatever its "
        "maker put into it: convert it first, where that does no harm, with from_pretrained(FOLDER, "
        "use_safetensors=False) and save_pretrained(OTHER)."
    )


def read_header(file: Path) -> tuple[dict[str, str], dict[str, Entry]]:
    """Metadata and tensors of a safetensors file; its values are not read.

    Raises:
        UserError: it is none, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > LONGEST_HEADER:
                raise ValueError("no header is that long")
            header = json.loads(stream.read(size))
        metadata = header.pop("__metadata__", None) or {}
        entries = {n: Entry(file, n, one["dtype"], tuple(one["shape"])) for n, one in header.items()}
        unknown = sorted({entry.dtype for entry in entries.values()} - DTYPES.keys())
        if not unknown:
            with safe_open(file, "np"):  # compares shapes, offsets and the file's length
                pass
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError),
        *(struct.error, SafetensorError),
    ):
        if _begins_as_pickle(file):
            raise UserError(_pickled(file)) from None
        raise UserError(f"'{file}' is damaged or no safetensors file: fetch it anew, or point elsewhere.") from None
    if unknown:
        raise UserError(f"'{file}' holds numbers of the type {unknown[0]}, which is not known here: convert it first.")
    return metadata, entries


def _json(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text())
        if not isinstance(told, dict):
            raise TypeError("no names")
        return told
    except (OSError, ValueError, TypeError, RecursionError):
        raise UserError(f"'{file}' is damaged: fetch the checkpoint anew.") from None
