"""The base model's parameters by name and shape, and which of them a checkpoint's key means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from excise.errors import UserError
from excise.models.parts import ENCODERS

if TYPE_CHECKING:
    import torch
    from torch import nn

    from excise.models.diffusion import DiffusionModel

DENOISERS = ("unet", "transformer")
FORMER = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
WRAPPER = "text_model."  # recent versions of transformers leave it out for some text encoders


@dataclass(frozen=True)
class Part:
    """A part of the pipeline.

    Attributes:
        name: its attribute in the pipeline.
        prefix: what an eraser writes before the names of its parameters.
        shapes: parameter -> shape.
        same: another name of a parameter (of weights that are tied) -> the parameter.
        buffers: what is stored beside the parameters and follows from the config.
        module: the module itself; of a sketch it has shapes alone.
    """

    name: str
    prefix: str
    shapes: Mapping[str, tuple[int, ...]]
    same: Mapping[str, str]
    buffers: frozenset[str]
    module: nn.Module

    @classmethod
    def of(cls, name: str, module: nn.Module) -> Part:
        names = {id(p): n for n, p in module.named_parameters()}
        return cls(
            name=name,
            prefix="" if name in DENOISERS else f"{name}.",
            shapes={n: tuple(p.shape) for n, p in module.named_parameters()},
            same={n: names[id(p)] for n, p in module.named_parameters(remove_duplicate=False) if n != names[id(p)]},
            buffers=frozenset(n for n, _ in module.named_buffers()),
            module=module,
        )

    def find(self, key: str) -> str | None:
        """The parameter that a key means; ``""`` for a buffer, None for nothing of this part."""
        for name in (key, key.removeprefix(WRAPPER), WRAPPER + key, _renamed(key)):
            if name in self.shapes or name in self.same:
                return self.same.get(name, name)
            if name in self.buffers or name.endswith("position_ids"):
                return ""
        return None


def _renamed(key: str) -> str:
    """A key of an attention layer as diffusers has called it since, which renames it while loading; the autoencoders of
    Stable Diffusion 1 and 2 were published before."""
    for old, new in FORMER.items():
        key = key.replace(old, new)
    return key


@dataclass(frozen=True)
class Layout:
    """A model's parts.

    Attributes:
        model: its name, for sentences.
        pipeline: its class in diffusers.
        prediction: what its scheduler takes it to predict; None where it does not say.
        parts: attribute of the pipeline -> part.
    """

    model: str
    pipeline: str
    prediction: str | None
    parts: Mapping[str, Part]

    @classmethod
    def of(cls, model: DiffusionModel) -> Layout:
        names = [name for name in (*DENOISERS, *ENCODERS, "vae") if getattr(model.pipe, name, None) is not None]
        parts = {name: Part.of(name, getattr(model.pipe, name)) for name in names}
        prediction = model.pipe.scheduler.config.get("prediction_type")
        return cls(model.spec.name, type(model.pipe).__name__, prediction, parts)

    @property
    def denoiser(self) -> Part:
        return next(part for name, part in self.parts.items() if name in DENOISERS)

    @property
    def encoders(self) -> list[Part]:
        return [part for name, part in self.parts.items() if name in ENCODERS]

    def place(
        self, part: Part, named: Mapping[str, torch.Tensor], path: Any, *, masks: bool = False
    ) -> dict[str, torch.Tensor]:
        """Tensors of a part, by the names of an eraser.

        Args:
            masks: they are no weights, but say which weights are zero.

        Raises:
            UserError: the part has no such weight, or one of another shape; or weights are integers.
        """
        for key, value in () if masks else named.items():  # first: packed ones have other shapes and keys, too
            if part.find(key) and not value.is_floating_point():
                raise UserError(quantised(path, f"{part.name}.{key}", value))
        found = {}
        for key, value in named.items():
            name = part.find(key)
            if name is None:
                raise UserError(self.unknown(path, f"{part.name}.{key}", [f"{part.name}.{n}" for n in part.shapes]))
            if not name:
                continue
            if tuple(value.shape) != part.shapes[name]:
                raise UserError(
                    f"'{path}' was not made from {self.model}: its '{part.name}.{key}' is of shape "
                    f"{spell(value.shape)}, and the base model's is {spell(part.shapes[name])}."
                )
            found[part.prefix + name] = value
        return found

    def unknown(self, path: Any, key: str, known: Iterable[str]) -> str:
        """What to say of a key that nothing here has a weight for."""
        near = get_close_matches(key, list(known), n=1, cutoff=0.8)
        hint = f"the nearest there is '{near[0]}'" if near else "look whether it is of another base model"
        return f"'{path}' has a weight '{key}' that {self.model} does not have: {hint}."


def quantised(path: Any, key: str, value: torch.Tensor) -> str:
    """What to say of weights that are integers."""
    return (
        f"'{path}' has weights of the type {str(value.dtype).removeprefix('torch.')} ('{key}'), and quantised weights "
        "are not read: convert them to float16 or float32 first, with the program that they were made by."
    )


def spell(shape: Iterable[int]) -> str:
    """``(320, 768)`` -> ``320 x 768``."""
    return " x ".join(map(str, shape)) or "a single number"
