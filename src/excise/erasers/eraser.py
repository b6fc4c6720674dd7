"""The small file that erases a concept from a model, and can be taken off again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from excise.cache import write_atomically
from excise.errors import UserError
from excise.masks.mask import Mask
from excise.models.identity import model_sha256
from excise.models.parts import denoiser_of, editable, owner

if TYPE_CHECKING:
    import torch

FORMAT = 1


@dataclass(frozen=True)
class Eraser:
    """Changed weights and a pruning mask for one base model.

    Attributes:
        header: method, variant, options, concept, base (name and sha256), seed, versions, run id.
        weights: parameter name -> new value; names are the denoiser's, those of a text encoder begin with
            ``text_encoder.`` (``text_encoder_2.``, …).
        pruned: parameter name -> bool, True where the weight becomes zero (after ``weights`` are in).

    Example:
        >>> eraser = Eraser.load("eraser.safetensors")
        >>> eraser.apply(pipe)
        >>> eraser.lift(pipe)
    """

    header: dict
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    pruned: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def mask(self) -> Mask:
        """The pruning mask alone."""
        return Mask(self.pruned, {k: self.header[k] for k in ("base", "concept", "support") if k in self.header})

    @property
    def sha256(self) -> str:
        """Hash of what it changes, names, shapes, values and zeros; the header has no part in it."""
        import torch

        digest = hashlib.sha256()
        for kind, tensors in (("weight", self.weights), ("mask", self.pruned)):
            for name, value in sorted(tensors.items()):
                plain = value.detach().cpu().contiguous()
                digest.update(f"{kind}:{name}{tuple(plain.shape)}{plain.dtype}".encode())
                digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    # on and off ---------------------------------------------------------------------------------------------------
    def apply(self, pipe) -> None:
        """Erase the concept from a diffusers pipeline, in place.

        Raises:
            UserError: the pipeline is another base model, or wears an eraser already.
        """
        import torch

        denoiser = denoiser_of(pipe)
        if hasattr(denoiser, "_excise_originals"):
            raise UserError("This pipeline wears an eraser already: lift that one first.")
        sha256 = model_sha256(pipe)
        if sha256 != self.header["base"]["sha256"]:
            raise UserError(
                f"This eraser was made for the base model '{self.header['base']['name']}' "
                f"({self.header['base']['sha256'][:12]}…), "
                f"not for this one ({sha256[:12]}…): load that model, or erase from this one."
            )
        places = {name: owner(pipe, name) for name in {*self.weights, *self.pruned}}
        names = {id(m): {n for n, _ in m.named_parameters()} for m in editable(pipe)}
        for name, (module, own) in places.items():  # all of them before anything is changed
            if own not in names[id(module)]:
                raise UserError(f"This eraser changes '{name}', which the model does not have: make it anew.")
            there = module.get_parameter(own).shape
            for given in (self.weights.get(name), self.pruned.get(name)):
                if given is not None and given.shape != there:
                    raise UserError(
                        f"This eraser has '{name}' in the shape {tuple(given.shape)}, and the model has it in "
                        f"{tuple(there)}: make it anew."
                    )
        denoiser._excise_originals = {}
        with torch.no_grad():
            for name, (module, own) in places.items():
                parameter = module.get_parameter(own)
                module.__dict__.setdefault("_excise_originals", {})[own] = parameter.detach().clone()
                value = self.weights.get(name, parameter).to(parameter)
                if name in self.pruned:
                    value = value.masked_fill(self.pruned[name].to(parameter.device), 0)
                parameter.copy_(value)

    def lift(self, pipe) -> None:
        """Give every weight its old value back, bit for bit.

        Raises:
            UserError: the pipeline wears no eraser.
        """
        import torch

        if not hasattr(denoiser_of(pipe), "_excise_originals"):
            raise UserError("This pipeline wears no eraser: there is nothing to lift.")
        for module in editable(pipe):
            with torch.no_grad():
                for name, value in module.__dict__.pop("_excise_originals", {}).items():
                    module.get_parameter(name).copy_(value)

    # several concepts -----------------------------------------------------------------------------------------------
    @classmethod
    def join(cls, *erasers: Eraser) -> Eraser:
        """One eraser for several concepts: all of their masks at once, whose order does not matter.

        Raises:
            UserError: none is given, they are for different base models, or two of them give the same parameter new
                values, which cannot both hold.
        """
        if not erasers:
            raise UserError("There is no eraser to join: give at least one.")
        bases = {e.header["base"]["sha256"] for e in erasers}
        if len(bases) > 1:
            raise UserError("These erasers were made for different base models: join those of one model.")
        weights: dict[str, torch.Tensor] = {}
        mask = Mask({}, {})
        for eraser in erasers:
            twice = sorted(weights.keys() & eraser.weights.keys())
            if twice:
                raise UserError(
                    f"Two of these erasers give '{twice[0]}' new values: join erasers that are masks over frozen "
                    "weights (prune.weight_lr 0), or make one of a concept that names all the words."
                )
            weights |= eraser.weights
            mask = mask.union(eraser.mask)
        first = erasers[0].header
        together = {k: "+".join(str(e.header[k]) for e in erasers) for k in ("method", "variant", "concept")}
        return cls(first | together | {"parts": [e.header for e in erasers]}, weights, mask.pruned)

    # storage ------------------------------------------------------------------------------------------------------
    def save(self, path: str | Path) -> None:
        """Write safetensors with a JSON header."""
        from safetensors.torch import save_file

        mask = self.mask
        header = {**self.header, "format": FORMAT, "shapes": mask.shapes()}
        tensors = {f"weight:{n}": w.detach().cpu().contiguous() for n, w in self.weights.items()}
        tensors |= {f"mask:{n}": t for n, t in mask.packed().items()}
        write_atomically(Path(path), lambda p: save_file(tensors, p, {"excise": json.dumps(header, sort_keys=True)}))

    @classmethod
    def load(cls, path: str | Path) -> Eraser:
        """Read an eraser file.

        Raises:
            UserError: there is no such file, it is damaged, a weight is NaN or infinite, or it is not an eraser of
                excise's.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if path.is_dir():  # a versioned data set: the newest one
            versions = sorted(path.glob(f"*/{path.name}"))
            if not versions:
                raise UserError(f"There is no eraser file in {path}: run a pipeline first, or point to another.")
            path = versions[-1]
        if not path.exists():
            raise UserError(f"There is no eraser file {path}: run a pipeline first, or point to another.")
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {})["excise"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  (it is no dict)
            if header.pop("format", FORMAT) != FORMAT:
                raise UserError(f"{path} was written by another version of excise: make it again with this one.")
            header["base"]["sha256"]
            weights = {k.removeprefix("weight:"): v for k, v in tensors.items() if k.startswith("weight:")}
            wrong = next((n for n, v in weights.items() if not torch.isfinite(v).all()), None)
            if wrong is not None:
                raise UserError(f"{path} has weights that are no finite numbers ({wrong}): make it again.")
            packed = {k.removeprefix("mask:"): v for k, v in tensors.items() if k.startswith("mask:")}
            return cls(header, weights, Mask.unpack(packed, header.pop("shapes"), {}).pruned)
        except UserError:
            raise
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            sentence = f"{path} is damaged or not an eraser file of excise: make it again, or point to another."
            raise UserError(sentence) from None
