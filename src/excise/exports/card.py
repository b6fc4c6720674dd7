"""The model card: what was exported, how to load it, and the report's figures with their limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from excise.erasers.eraser import Eraser
from excise.errors import UserError

FOLDER = """import torch
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{path}", dtype=torch.{dtype})"""
WEIGHTS = """from safetensors.torch import load_file

changed = load_file("{path}")  # `pipe` is the base model, in {dtype}
for part in {{name.partition(".")[0] for name in changed}}:
    own = {{n.removeprefix(part + "."): v for n, v in changed.items() if n.startswith(part + ".")}}
    unknown = getattr(pipe, part).load_state_dict(own, strict=False).unexpected_keys
    assert not unknown, unknown  # otherwise the model would stay as it was: another version of transformers"""
MASK = """from excise.masks import Mask

for name, pruned in Mask.load("{path}").pruned.items():  # True where the weight is zero
    pipe.{denoiser}.get_parameter(name).data[pruned] = 0"""
SINGLE_FILE = """import torch
from diffusers import StableDiffusionPipeline

# config: a diffusers folder of the same shape, such as the base model's
pipe = StableDiffusionPipeline.from_single_file(
    "{path}", config="BASE", local_files_only=True, torch_dtype=torch.{dtype}
)"""
LORA = """pipe.load_lora_weights(".", weight_name="{path}")  # `pipe` is the base model; needs the package peft"""
LOADING = {
    "folder": ("The whole model, with diffusers:", FOLDER),
    "weights": ("The changed weights, put into the base model:", WEIGHTS),
    "mask": (
        "The mask alone, put on the base model. Where the eraser trained weights too, the zeros are not all of it:",
        MASK,
    ),
    "single_file": ("The whole model as one file in the layout of Stable Diffusion 1, with diffusers:", SINGLE_FILE),
    "lora": ("The LoRA, which comes near the eraser and is not the same:", LORA),
}


def model_card(
    eraser: Eraser,
    erase: str,
    metrics: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
    left_out: Mapping[str, str],
    dtype: str,
    safety_checker: bool = False,
    denoiser: str = "unet",
) -> str:
    """``README.md`` of an export.

    Args:
        erase: the concept in words.
        metrics: the content of ``metrics.json``.
        files: of each that was written format, path, bytes, what and note.
        left_out: format -> why it was not written.
        dtype: of the files.
        safety_checker: whether the base model came with one, which is not exported.
        denoiser: the pipeline's part that draws, ``unet`` or ``transformer``.

    Returns:
        Markdown with a YAML head; all that comes from files is escaped.

    Raises:
        UserError: the figures are of another model or of other erasers.
    """
    import yaml
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from excise.reports import words

    header = eraser.header
    variant, base = header["variant"], header["base"]
    check_figures(eraser, metrics)
    judged, detector = metrics["erasers"], metrics["detector"]
    shown = {name: judged[name] for name in ("none", variant)}
    front = {
        "base_model": base["name"],
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "license": "other",
        "license_name": "the-base-models",
        "tags": ["excise", "concept-erasing", header["method"], header["concept"]],
    }
    rates = [
        [*map(_plain, (words.eraser_label(e), words.attack_label(a))), *_rate(r), f"{r['dropped']}, {r['failed']}"]
        for e, one in shown.items()
        for a, r in one["attacks"].items()
    ]
    retain = [
        [_plain(words.eraser_label(e)), name.replace("_", " "), *_rate(one["utility"][name])]
        for e, one in shown.items()
        for name in ("retain_near", "retain_far")
    ]
    known = [
        [
            _plain(row["group"]),
            _errors(row, "missed", "shown", "miss", "shown_subjects"),
            _errors(row, "alarms", "others", "alarm", "other_subjects"),
        ]
        for row in detector.get("known", [])
    ]
    told = shown[variant]
    mask = None
    if told.get("prune_rate") is not None:
        mask = f"{words.percent(told['prune_rate'])} of the weights below it are zero; {told['mask_bytes']:,} bytes"
    runs = header.get("run_id"), metrics["run"]["id"]
    limits = []
    if runs[0] != runs[1] and not (metrics["run"].get("made_of") or {}).get("erasers"):
        limits.append(
            "The eraser and the figures are of two runs, and the figures do not say of which eraser they are: run the "
            "whole job, and export again."
        )
    if any(file["format"] == "lora" for file in files):
        limits.append("No figure is of the LoRA: what it misses of the eraser may be what keeps the concept out.")
    if safety_checker:
        limits.append("The base model comes with a safety checker. It is not part of this export.")
    if dtype != "float32":
        limits.append(f"The files hold {dtype}; what that rounds away was not judged.")
    alarms = _rate(detector)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # this is Markdown: `_plain` escapes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md").render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
        base=_plain(base["name"]),
        base_sha256=_plain(base["sha256"]),
        erase=_plain(erase),
        label=_plain(words.eraser_label(variant)),
        about=_plain(words.about_eraser(variant)),
        concept=_plain(header["concept"]),
        variant=_plain(variant),
        eraser_sha256=eraser.sha256,
        mask=mask,
        made_by=_plain(str(runs[0])),
        judged_by=_plain(str(runs[1])),
        files=files,
        left_out={name: _plain(reason) for name, reason in left_out.items()},
        loading=[
            (text, code.format(path=_path(f), dtype=dtype, denoiser=denoiser)) for f, (text, code) in _loading(files)
        ],
        judged=f"Judged by {_plain(detector['judge'])}, at least {detector['threshold']}.",
        rates=rates,
        retain=retain,
        judge=_plain(detector["judge"]),
        alarms=f"{alarms[0]} ({alarms[1]}, {alarms[2]})",
        known=known,
        limits=limits,
    )


def check_figures(eraser: Eraser, metrics: Mapping[str, Any]) -> None:
    """The figures are of this eraser and its base model, as far as they say.

    Raises:
        UserError: they are not.
    """
    base, variant = eraser.header["base"], eraser.header["variant"]
    if metrics["model"]["sha256"] != base["sha256"] or metrics["concept"]["name"] != eraser.header["concept"]:
        raise UserError("The newest figures are of another base model or concept: run the whole job, then export.")
    if variant not in metrics["erasers"]:
        raise UserError(
            f"The newest figures do not judge '{variant}' but {', '.join(metrics['erasers'])}: run the whole job with "
            "this eraser, then export."
        )
    judged = ((metrics["run"].get("made_of") or {}).get("erasers") or {}).get(variant)
    if judged is not None and judged != eraser.sha256:  # figures of earlier versions do not say
        raise UserError(
            f"The newest figures are of another '{variant}' ({judged[:12]}…) than the newest eraser "
            f"({eraser.sha256[:12]}…): run the whole job again, which makes no finished work anew, then export."
        )


def _loading(files: Sequence[Mapping[str, Any]]):
    return [(file, LOADING[file["format"]]) for file in files]


def _path(file: Mapping[str, Any]) -> str:
    return file["path"].rstrip("/")


def _rate(rate: Mapping[str, Any]) -> list[str]:
    """hits / n, rate, interval."""
    from excise.reports import words

    return [f"{rate['hits']} / {rate['n']}", words.percent(rate["rate"]), words.span(rate)]


def _errors(row: Mapping[str, Any], wrong: str, n: str, bound: str, subjects: str) -> str:
    from excise.reports import words

    if not row[n]:
        return "none there"
    interval = words.span({"low": row[f"{bound}_low"], "high": row[f"{bound}_high"]})
    return f"{words.errors(row[wrong], row[n], row.get(subjects))} ({interval})"


def _plain(text: str) -> str:
    """Text that Markdown shows as it stands, on one line: no tags, links, tables or headings come of it."""
    text = re.sub(r"\s+", " ", str(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", text).strip()
