"""Which weights are pruned, in as few bytes as possible."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from excise.cache import write_atomically
from excise.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Mask:
    """Pruned weights.

    Attributes:
        pruned: parameter name -> bool tensor of the parameter's shape, True where the weight is zero.
        header: what the mask belongs to (base-model hash, support, ...).
    """

    pruned: dict[str, torch.Tensor]
    header: dict

    @property
    def size(self) -> int:
        """Weights in the support's parameters."""
        return sum(m.numel() for m in self.pruned.values())

    @property
    def count(self) -> int:
        """Weights pruned."""
        return sum(int(m.sum()) for m in self.pruned.values())

    @property
    def prune_rate(self) -> float:
        """Share of the parameters under the mask that is zero."""
        return self.count / self.size if self.size else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of the packed form, without the header."""
        return sum(t.numel() * t.element_size() for t in self.packed().values())

    def union(self, other: Mask) -> Mask:
        """Prune what either prunes; the header stays this mask's.

        Raises:
            ValueError: a parameter has another shape in each.
        """
        names = sorted({*self.pruned, *other.pruned})
        for name in self.pruned.keys() & other.pruned.keys():
            if self.pruned[name].shape != other.pruned[name].shape:
                raise ValueError(f"masks of two models: {name} has another shape in each")
        both = {
            n: self.pruned[n] | other.pruned[n]
            if n in self.pruned and n in other.pruned
            else self.pruned.get(n, other.pruned.get(n))
            for n in names
        }
        return Mask(both, self.header)

    # storage ------------------------------------------------------------------------------------------------------
    def packed(self) -> dict[str, torch.Tensor]:
        """For each parameter one bit a weight, or the sorted indices of the pruned, whichever is smaller."""
        import torch

        out = {}
        for name, mask in self.pruned.items():
            flat = mask.reshape(-1).numpy()
            indices = np.flatnonzero(flat)
            kind = np.int32 if len(flat) < 2**31 else np.int64
            if indices.size * np.dtype(kind).itemsize < (len(flat) + 7) // 8:
                out[f"{name}|indices"] = torch.from_numpy(indices.astype(kind))
            else:
                out[f"{name}|bits"] = torch.from_numpy(np.packbits(flat))
        return out

    def shapes(self) -> dict[str, list[int]]:
        return {name: list(mask.shape) for name, mask in self.pruned.items()}

    @classmethod
    def unpack(cls, tensors: dict[str, torch.Tensor], shapes: dict[str, list[int]], header: dict) -> Mask:
        """From the packed form.

        Raises:
            ValueError: the tensors are not those of these shapes.
        """
        import torch

        pruned = {}
        if sorted(key.rsplit("|", 1)[0] for key in tensors) != sorted(shapes):
            raise ValueError("names and shapes differ")
        for key, stored in tensors.items():
            name, form = key.rsplit("|", 1)
            size = math.prod(shapes[name])
            if form == "indices":
                flat = torch.zeros(size, dtype=torch.bool)
                if stored.numel() and not 0 <= int(stored.min()) <= int(stored.max()) < size:
                    raise ValueError(f"{name} has no such weight")
                flat[stored.long()] = True
            elif stored.numel() != (size + 7) // 8:
                raise ValueError(f"{name} has another number of bits")
            else:
                flat = torch.from_numpy(np.unpackbits(stored.numpy(), count=size).astype(bool))
            pruned[name] = flat.view(shapes[name])
        return cls(pruned, header)

    def save(self, path: Path) -> None:
        """Write safetensors with a JSON header."""
        from safetensors.torch import save_file

        header = {**self.header, "prune_rate": self.prune_rate, "pruned": self.count, "shapes": self.shapes()}
        write_atomically(Path(path), lambda p: save_file(self.packed(), p, {"excise_mask": json.dumps(header)}))

    @classmethod
    def load(cls, path: Path) -> Mask:
        """Read a mask file.

        Raises:
            UserError: not a mask of excise's.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                header = json.loads(file.metadata()["excise_mask"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  (it is no dict)
            return cls.unpack(tensors, header.pop("shapes"), header)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            sentence = f"{path} is not a mask file of excise: point to a mask.safetensors of a finished run."
            raise UserError(sentence) from None
