"""What an eraser changes, as a LoRA: the best approximation of a low rank, and how good it is.

A mask sets weights to zero here and there, and such a difference has no low rank: a LoRA can only come near it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from excise.cache import write_atomically
from excise.errors import UserError

from .weights import metadata, worn_pairs

if TYPE_CHECKING:
    import torch

    from excise.erasers.eraser import Eraser
    from excise.models.diffusion import DiffusionModel


AMBIGUOUS = "add_embedding."  # of Stable Diffusion XL, whose two layers kohya's names do not tell apart


@dataclass(frozen=True)
class LoraFit:
    """A LoRA in kohya's format, and what it misses.

    Attributes:
        tensors: ``<module>.lora_down.weight``, ``.lora_up.weight`` and ``.alpha`` (the rank, so that the scale is 1).
        error: Frobenius norm of what is missed over that of all that the eraser changes; what is not carried counts as
            missed. 0 is exact, 1 is nothing.
        errors: the same for each parameter that is carried.
        left_out: parameters that a LoRA cannot carry: biases, norms, embeddings and what embeds conditions.
    """

    tensors: dict[str, torch.Tensor] = field(repr=False)
    error: float
    errors: dict[str, float] = field(repr=False)
    left_out: list[str] = field(repr=False)

    @property
    def worst(self) -> tuple[str, float]:
        """The parameter with the largest error, and that error."""
        return max(self.errors.items(), key=lambda item: item[1])


def fit_lora(
    pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]], layers: set[str], rank: int, dtype: torch.dtype
) -> LoraFit:
    """Fit every difference by its first singular vectors (Eckart and Young 1936), and measure what was missed.

    Args:
        pairs: parameter -> (value in the base model, value under the eraser), named as in an eraser.
        layers: names of the parameters that a LoRA can carry: weights of linear layers and convolutions.
        rank: of each layer; a layer that has no such rank gets all that it has.
        dtype: of the matrices; the errors are those of the rounded ones.

    Raises:
        UserError: the eraser changes nothing that a LoRA can carry.
    """
    import torch
    from tqdm import tqdm

    carried = [name for name in pairs if name in layers]
    if not carried:
        raise UserError("This eraser changes no linear layer and no convolution: there is nothing for a LoRA to carry.")
    tensors: dict[str, torch.Tensor] = {}
    errors, missed, whole = {}, 0.0, 0.0
    for name, (before, after) in tqdm(pairs.items(), desc="LoRA", mininterval=2.0, disable=None):
        difference = after.float() - before.float()
        size = float(difference.double().pow(2).sum())
        whole += size
        if name not in layers:
            missed += size
            continue
        up, down = low_rank(difference.flatten(1), rank)
        up, down = up.to(dtype), down.to(dtype)
        lost = float((difference.flatten(1).double() - up.double() @ down.double()).pow(2).sum())
        missed += lost
        errors[name] = (lost / size) ** 0.5 if size else 0.0
        module = kohya_name(name)
        spatial = difference.shape[2:]
        tensors[f"{module}.lora_up.weight"] = up.reshape(*up.shape, *(1 for _ in spatial)).cpu().contiguous()
        tensors[f"{module}.lora_down.weight"] = down.reshape(-1, difference.shape[1], *spatial).cpu().contiguous()
        tensors[f"{module}.alpha"] = torch.tensor(float(up.shape[1]))  # half-precision floats have no 2049
    error = (missed / whole) ** 0.5 if whole else 0.0
    return LoraFit(tensors, error, errors, [name for name in pairs if name not in layers])


def low_rank(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(m, n) as (m, r) times (r, n), with the least squared error of all of that rank; r is at most the rank asked."""
    import torch

    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:rank]


def kohya_name(parameter: str) -> str:
    """``down_blocks.1.conv.weight`` -> ``lora_unet_down_blocks_1_conv``."""
    module = parameter.removesuffix(".weight")
    if module.startswith("text_encoder."):
        inside = module.removeprefix("text_encoder.").removeprefix("text_model.")
        return f"lora_te_text_model_{inside}".replace(".", "_")
    return f"lora_unet_{module}".replace(".", "_")


def layers_of(model: DiffusionModel) -> set[str]:
    """Names, as in an eraser, of the weights of linear layers and convolutions that a LoRA can name."""
    from torch import nn

    found = set()
    for prefix, part in (("", model.denoiser), ("text_encoder.", model.pipe.text_encoder)):
        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
        found |= {f"{prefix}{name}.weight" for name, module in part.named_modules() if isinstance(module, kinds)}
    return {name for name in found if not name.startswith(AMBIGUOUS)}


def save_lora(model: DiffusionModel, eraser: Eraser, path: Path, rank: int, dtype: str) -> LoraFit:
    """Write the LoRA of an eraser as safetensors; the model should be in single precision.

    Raises:
        UserError: the eraser changes nothing that a LoRA can carry.
    """
    import torch
    from safetensors.torch import save_file

    fit = fit_lora(worn_pairs(model, eraser), layers_of(model), rank, getattr(torch, dtype))
    header = metadata("lora", eraser, rank=rank, relative_error=round(fit.error, 6), left_out=len(fit.left_out))
    write_atomically(Path(path), lambda draft: save_file(fit.tensors, draft, header))
    return fit
