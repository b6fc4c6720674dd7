"""A linear classifier and its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from excise.cache import write_atomically
from excise.errors import UserError
from excise.judges.probe.features import WIDTH


@dataclass(frozen=True)
class Probe:
    """Softmax over ``features @ weight.T + bias``, summed over the rows of a label.

    Several rows may have one label: a style looks different on every thing, so that a row stands for a thing in a
    style, and its label is the style.

    Attributes:
        rows: the label of each row, k of them.
        weight: (k, 2208) float16.
        bias: (k,) float32.
        version: of the probe.
        fitted_on: what it was fitted on, in words.
        accuracy: share of held-out paints that it names rightly, by how they were treated.
    """

    rows: tuple[str, ...]
    weight: torch.Tensor
    bias: torch.Tensor
    version: str
    fitted_on: str
    accuracy: dict[str, float]

    @property
    def labels(self) -> tuple[str, ...]:
        """What can be told apart."""
        return tuple(dict.fromkeys(self.rows))

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """(n, 2208) features to (n, labels) probabilities."""
        each = (features @ self.weight.float().T + self.bias).softmax(1)
        places = torch.tensor([self.labels.index(row) for row in self.rows])
        return each.new_zeros(len(each), len(self.labels)).index_add_(1, places, each)

    def save(self, path: Path) -> None:
        """Write a safetensors file whose header holds all that is not a tensor."""
        from safetensors.torch import save_file

        header = {
            "rows": self.rows,
            "version": self.version,
            "fitted_on": self.fitted_on,
            "accuracy": self.accuracy,
        }
        # one key: the order of several in a safetensors header changes from one process to the next
        header = {"probe": json.dumps(header, sort_keys=True)}
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"weight": self.weight.contiguous(), "bias": self.bias.contiguous()}
        write_atomically(path, lambda draft: save_file(tensors, draft, metadata=header))

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read a probe.

        Raises:
            UserError: no such file, or not the file of a probe.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise UserError(f"There is no probe at {path}: set the judge's option 'file' to the file of a probe.")
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {})["probe"])
                rows, accuracy = tuple(header["rows"]), header["accuracy"]
                weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{path} is not the file of a probe ({error}): choose one that `fit_probe` made.") from None
        if weight.shape != (len(rows), WIDTH) or bias.shape != (len(rows),):
            raise UserError(f"{path} has weights of another shape than its labels ask for: make it with `fit_probe`.")
        return cls(rows, weight, bias, header["version"], header["fitted_on"], accuracy)
