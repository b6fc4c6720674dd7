"""A LoRA (Hu et al. 2022): differences of low rank, as kohya's scripts, diffusers and peft write them.

They are added at full strength, ``alpha / rank`` times up times down, to the base model's weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from excise.errors import UserError

from .kind import Change, Low
from .layout import WRAPPER, quantised, spell
from .weights import base_of

if TYPE_CHECKING:
    import torch

    from .checkpoint import Checkpoint
    from .layout import Layout, Part

Tensors = Mapping[str, "torch.Tensor"]
DOWN = re.compile(
    r"(?P<module>.+?)(?P<end>\.lora_down\.weight|\.lora_A\.(default\.)?weight|[._]lora\.down\.weight"
    r"|\.lora_linear_layer\.down\.weight)"
)
# marks of what is added otherwise than as pairs: DoRA, LoHa, LoKr, OFT, whole differences
OTHER = re.compile(r".*(lora_mid|dora_scale|lora_magnitude_vector|hada_w|lokr_w|\boft_).*|.*\.diff(_b)?")
KOHYA = {"lora_unet_": "", "lora_transformer_": "", "lora_te_": "text_encoder", "lora_te1_": "text_encoder"}
KOHYA |= {"lora_te2_": "text_encoder_2", "lora_te3_": "text_encoder_3"}
DOTTED = ("base_model.model.", "diffusion_model.")


class Lora:
    """A file of pairs, or peft's folder of an adapter."""

    what = "a LoRA"

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return any(DOWN.fullmatch(key) or OTHER.fullmatch(key) for key in checkpoint.keys)

    def masks(self, checkpoint: Checkpoint) -> bool:
        return False

    def read(self, checkpoint: Checkpoint, tensors: Tensors, layout: Layout) -> Change:
        for key in checkpoint.keys:
            if OTHER.fullmatch(key):
                raise UserError(
                    f"'{checkpoint.path}' adds more than plain pairs of matrices ('{key}'): merge it into its model "
                    "with the program that it was made by, and audit what comes out."
                )
        found = pairs_of({key: tensors[key] for key in checkpoint.keys}, checkpoint, layout)
        if found is None:  # modules are named as in the original's code
            found = pairs_of(_by_diffusers(checkpoint, tensors, layout), checkpoint, layout)
        if found is None:
            key = next(key for key in checkpoint.keys if DOWN.fullmatch(key))
            raise UserError(layout.unknown(checkpoint.path, key, []))
        return Change(added=found, base=base_of(checkpoint), notes=_strength(checkpoint))


def _strength(checkpoint: Checkpoint) -> list[str]:
    """How strongly it was merged, and on whose word."""
    told = "lora_alpha" in checkpoint.configs.get("adapter", {}) or "lora_adapter_metadata" in checkpoint.metadata
    if told or any(key.endswith(".alpha") for key in checkpoint.keys):
        return ["It was merged at full strength."]
    return ["It was merged at full strength, alpha / rank taken for 1: it does not say which."]


def pairs_of(tensors: Tensors, checkpoint: Checkpoint, layout: Layout) -> dict[str, list[Low]] | None:
    """Parameter -> what is added to it; None where a module is not found by its name.

    Raises:
        UserError: a pair is not whole, does not fit, or there is a key that belongs to no pair.
    """
    found: dict[str, list[Low]] = {}
    used = set()
    for key, down in tensors.items():
        match = DOWN.fullmatch(key)
        if match is None:
            continue
        module, end = match["module"], match["end"]
        other = key.removesuffix(end) + end.replace("down", "up").replace("lora_A", "lora_B")
        if other not in tensors:
            raise UserError(f"'{checkpoint.path}' has '{key}' and no '{other}': fetch it anew.")
        place = module_of(module, layout)
        if place is None:
            return None
        part, name = place
        up = tensors[other]
        if down.ndim < 2 or not down.numel():
            raise UserError(
                f"'{checkpoint.path}' is damaged: its '{key}' should be a matrix of at least one row, and is "
                f"{spell(down.shape)}; fetch it anew."
            )
        for name_of, value in ((key, down), (other, up)):
            if not value.is_floating_point():
                raise UserError(quantised(checkpoint.path, name_of, value))
        rank = down.shape[0]
        alpha = next((a for a in (f"{module}.alpha", f"{key}.alpha") if a in tensors), None)
        scale = _number(tensors[alpha], alpha, checkpoint) / rank if alpha else _stored_scale(checkpoint, part, rank)
        shape = part.shapes[name]
        if up.shape[:2] != (shape[0], rank) or up.numel() != shape[0] * rank or down[0].numel() != prod(shape[1:]):
            raise UserError(
                f"'{checkpoint.path}' was not made from {layout.model}: its '{key}' changes a weight of another shape "
                f"than the base model's '{part.name}.{name}', which is {spell(shape)}."
            )
        found.setdefault(part.prefix + name, []).append(Low(up, down, scale))
        used |= {key, other, *([alpha] if alpha else [])}
    for key in tensors:
        if key not in used:
            raise UserError(
                f"'{checkpoint.path}' has a key '{key}' that belongs to no pair of a LoRA: look what it is of."
            )
    return found


def module_of(written: str, layout: Layout) -> tuple[Part, str] | None:
    """The part and the weight of a module, however it is written."""
    for prefix, name in KOHYA.items():
        if written.startswith(prefix):
            part = layout.parts.get(name) if name else layout.denoiser
            return None if part is None else _flat(written.removeprefix(prefix), part)
    for prefix in DOTTED:
        written = written.removeprefix(prefix)
    first, _, rest = written.partition(".")
    part, name = (layout.parts[first], rest) if first in layout.parts else (layout.denoiser, written)
    name = re.sub(r"\.processor\b", "", name)
    for old, new in (("to_out_lora", "to_out.0"), ("_lora", "")):
        name = name[: -len(old)] + new if name.endswith(old) else name
    encoders = re.sub(r"self_attn\.to_(q|k|v|out)(\.0)?$", r"self_attn.\1_proj", name)
    for candidate in (name, re.sub(r"to_out$", "to_out.0", name), encoders):
        if found := part.find(f"{candidate}.weight"):
            return part, found
    return None


def _flat(written: str, part: Part) -> tuple[Part, str] | None:
    """kohya's scripts write underscores in the place of dots."""
    for name in part.shapes:
        if name.endswith(".weight"):
            module = name.removesuffix(".weight").replace(".", "_")
            wrapper = WRAPPER.replace(".", "_")
            if written in (module, wrapper + module, module.removeprefix(wrapper)):
                return part, name
    return None


def _number(value: Any, name: str, checkpoint: Checkpoint) -> float:
    """A strength as a number.

    Raises:
        UserError: it is none, or not finite.
    """
    try:
        number = float(value)
    except (ValueError, TypeError, RuntimeError):  # a text, nothing, several numbers
        number = float("nan")
    if not isfinite(number):
        raise UserError(f"'{checkpoint.path}' is damaged: its '{name}' is not one finite number; fetch it anew.")
    return number


def _stored_scale(checkpoint: Checkpoint, part: Part, rank: int) -> float:
    """alpha / rank as peft's config or diffusers' header says it; 1 where nobody does.

    Raises:
        UserError: each layer has its own, or what is said cannot be read.
    """
    told = dict(checkpoint.configs.get("adapter", {}))
    if "lora_adapter_metadata" in checkpoint.metadata:
        try:
            written = json.loads(checkpoint.metadata["lora_adapter_metadata"])
            if not isinstance(written, dict):
                raise TypeError("no names")
        except (ValueError, TypeError, RecursionError):
            raise UserError(
                f"'{checkpoint.path}' is damaged: 'lora_adapter_metadata' in its header, which should say the strength "
                "of its pairs, is no JSON of names and values; fetch it anew."
            ) from None
        own = {key.removeprefix(f"{part.name}."): v for key, v in written.items() if key.startswith(f"{part.name}.")}
        told |= own
    if told.get("alpha_pattern") or told.get("rank_pattern") or told.get("use_dora"):
        raise UserError(
            f"'{checkpoint.path}' has a strength for each layer (alpha_pattern), or DoRA: merge it into its model with "
            "peft's merge_and_unload, and audit what comes out."
        )
    written = told.get("lora_alpha")
    alpha = _number(rank if written is None else written, "lora_alpha", checkpoint)
    return alpha / rank**0.5 if told.get("use_rslora") else alpha / rank


def _by_diffusers(checkpoint: Checkpoint, tensors: Tensors, layout: Layout) -> dict[str, torch.Tensor]:
    """By diffusers' names, as its own loader translates them.

    Raises:
        UserError: it cannot.
    """
    import diffusers
    import torch

    known = getattr(diffusers, layout.pipeline).lora_state_dict
    how = {"unet_config": layout.denoiser.module.config} if layout.denoiser.name == "unet" else {"return_alphas": True}
    try:
        state, alphas = known({key: tensors[key] for key in checkpoint.keys}, **how)
        alphas = {key: torch.tensor(float(value)) for key, value in (alphas or {}).items()}
    except Exception as error:  # whatever its tables stumble over
        raise UserError(
            f"'{checkpoint.path}' changes modules that {layout.model} does not have (diffusers' loader stops at "
            f"{(str(error) or type(error).__name__).splitlines()[0]}): look whether it is of another base model."
        ) from None
    return {**state, **alphas}
