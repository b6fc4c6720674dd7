"""Write an erased model for other programs. The node opens the model and calls the rooms."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pandas as pd

from excise.cache import Cache
from excise.concepts import Concept
from excise.erasers import Eraser
from excise.errors import UserError
from excise.exports import FORMATS, ExportOptions
from excise.models import ModelSpec

NAN = float("nan")
WHAT = {
    "folder": "the whole model as a diffusers folder",
    "weights": "the changed weights alone, named as in diffusers",
    "mask": "the pruning mask alone",
    "single_file": "the whole model in one file, named as in Stable Diffusion 1",
    "lora": "the change as a LoRA, which only comes near it",
}


def export_eraser(
    concept: dict, model: dict, eraser: Eraser, metrics: dict, export: ExportOptions, cache: Cache
) -> tuple[Path, pd.DataFrame]:
    """Write the formats and the card; print what was written and what was not.

    Returns:
        The folder, and one row a format: format, path, bytes, what, note, error (of the LoRA; NaN for others).

    Raises:
        UserError: a format that was asked for cannot be written, or the figures are not of this eraser.
    """
    from excise.exports import choose_formats
    from excise.exports.card import check_figures

    spec, described = ModelSpec(**model), Concept(**concept)
    formats, left_out = choose_formats(export, eraser, spec.folder)
    check_figures(eraser, metrics)
    home = cache.folder("export", ("excise.exports",), model=model, eraser=eraser.sha256, export=export)
    folder = Path(mkdtemp(prefix="export-", dir=home))  # no other run's, nor half of one that was killed
    folder.chmod(0o755)
    try:
        table = _fill(folder, formats, spec, eraser, metrics, described.erase, export, left_out)
    except BaseException:  # a whole model that nobody will read, in a folder that nobody knows
        rmtree(folder)
        raise
    return folder, table


def _fill(
    folder: Path,
    formats: list[str],
    spec: ModelSpec,
    eraser: Eraser,
    metrics: dict,
    erase: str,
    export: ExportOptions,
    left_out: dict[str, str],
) -> pd.DataFrame:
    """Formats and card; one row a format."""
    from excise.exports import model_card
    from excise.exports.options import denoiser_of

    notes = _write(formats, spec, eraser, export, folder, left_out)
    rows = [
        {
            "format": name,
            "path": FORMATS[name] + ("/" if name == "folder" else ""),
            "bytes": _size(folder / FORMATS[name]),
            "what": WHAT[name],
            "note": notes[name][0],
            "error": notes[name][1],
        }
        for name in notes
    ]
    checker = json.loads((spec.folder / "model_index.json").read_text()).get("safety_checker") or [None]
    card = model_card(
        eraser, erase, metrics, rows, left_out, export.dtype, checker[0] is not None, denoiser_of(spec.folder)
    )
    (folder / "README.md").write_text(card)
    table = pd.DataFrame(rows)
    print(_told(table, left_out, folder / "README.md"))
    return table


def _write(
    formats: list[str], spec: ModelSpec, eraser: Eraser, export: ExportOptions, folder: Path, left_out: dict[str, str]
) -> dict[str, tuple[str, float]]:
    """Write the formats; format -> (what is to be said of it, the LoRA's error). Where all were asked for, what proves
    impossible goes into ``left_out`` with the reason."""
    from excise.exports import save_folder, save_lora, save_mask, save_single_file, save_weights

    def mask(path: Path) -> tuple[str, float]:
        save_mask(eraser, path)
        return f"{eraser.mask.count:,} of {eraser.mask.size:,} weights are zero", NAN

    def whole(path: Path) -> tuple[str, float]:
        save_folder(model, eraser, path)
        return "", NAN

    def weights(path: Path) -> tuple[str, float]:
        return f"{save_weights(model, eraser, path):,} parameters", NAN

    def single_file(path: Path) -> tuple[str, float]:
        return f"{save_single_file(model, eraser, path):,} tensors", NAN

    def lora(path: Path) -> tuple[str, float]:
        fit = save_lora(exact, eraser, path, export.rank, export.dtype)
        worst, error = fit.worst
        note = (
            f"rank {export.rank}, relative error {fit.error:.4f} (worst: {worst}, {error:.4f}); "
            f"{len(fit.left_out):,} changed parameters are biases, norms or embeddings, which it does not carry"
        )
        return note, fit.error

    writers = {"folder": whole, "weights": weights, "mask": mask, "single_file": single_file, "lora": lora}
    model = _open(spec, export.dtype) if {"folder", "weights", "single_file"} & set(formats) else None
    notes = {}
    for name in formats:  # the LoRA comes last
        if name == "lora":
            model = None  # before another one is loaded; singular vectors of large layers take long without a GPU
            exact = _open(spec, "float32", spec.device)
        try:
            notes[name] = writers[name](folder / FORMATS[name])
        except UserError as error:
            if "all" not in export.formats:
                raise
            left_out[name] = f"it proved impossible ({str(error).rstrip('.')})"
            remove(folder / FORMATS[name])
    return notes


def remove(path: Path) -> None:
    """Half a format."""
    if path.is_dir():
        rmtree(path)
    path.unlink(missing_ok=True)


def _open(spec: ModelSpec, dtype: str, device: str = "cpu"):
    """A copy of the base model of our own, so that the one that other nodes share stays as it is.

    Raises:
        UserError: the folder holds another model than the run began with.
    """
    from excise.models.diffusion import DiffusionModel

    model = DiffusionModel.load(spec.model_copy(update={"dtype": dtype, "device": device}))
    if spec.sha256 != model.sha256:
        raise UserError("The base model's weights are not those of the run: run the whole job, then export.")
    return model


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _told(table: pd.DataFrame, left_out: dict[str, str], card: Path) -> str:
    shown = table[["path", "bytes", "note"]].copy()
    shown.loc[len(shown)] = ["README.md", card.stat().st_size, "the model card"]
    shown["bytes"] = [f"{size:,}" for size in shown["bytes"]]
    wide = [max(map(len, shown[column])) for column in ("path", "bytes")]
    rows = [f"{path:<{wide[0]}}  {size:>{wide[1]}}  {note}".rstrip() for path, size, note in shown.to_numpy()]
    lines = [f"Not written: {name}, since {reason}." for name, reason in left_out.items()]
    return "\n".join(["", *rows, *lines, ""])
