"""What a dataset saves, it loads; what is not whole does not exist."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, DatasetError
from kedro.io.core import AbstractDataset, Version
from kedro_datasets.pillow import ImageDataset
from PIL import Image

from excise.datasets import (
    CsvDataset,
    EraserDataset,
    FolderDataset,
    ImageSetDataset,
    JsonDataset,
    MaskDataset,
    PngDataset,
    PromptTableDataset,
    RowsDataset,
    TableDataset,
    TensorsDataset,
    TextDataset,
)
from excise.erasers.eraser import Eraser
from excise.images import ImageSet
from excise.images.image_set import save_picture

VERSION = Version(None, "2026-01-01T00.00.00.000Z")


def _images(folder: Path, n: int = 3) -> ImageSet:
    folder.mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), np.uint8)
    rows = [
        {
            "image_id": f"p{i}-0",
            "prompt_id": f"p{i}",
            "set": "target",
            "split": "test",
            "seed": 7 + i,
            "file": f"p{i}-0.png",
            "sha256": save_picture(pictures[i], folder / f"p{i}-0.png"),
        }
        for i in range(n)
    ]
    return ImageSet(folder, pd.DataFrame(rows))


def _project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[tool.kedro]\npackage_name = 'excise'\n")
    return folder


def test_image_set_comes_back_after_the_project_moved(tmp_path: Path) -> None:
    old, new = _project(tmp_path / "old"), tmp_path / "new"
    images = _images(old / "data" / "cache" / "images-1")
    path = "data/07_model_output/images/manifest.parquet"
    ImageSetDataset(filepath=str(old / path), version=VERSION).save(images)
    shutil.move(old, new)
    back = ImageSetDataset(filepath=str(new / path), version=Version(None, None)).load()
    assert back.folder == new / "data" / "cache" / "images-1"
    pd.testing.assert_frame_equal(back.manifest, images.manifest)
    assert back.load().shape == (3, 8, 8, 3)


def test_image_set_exists_only_while_it_is_complete(tmp_path: Path) -> None:
    images = _images(tmp_path / "cache")
    dataset = ImageSetDataset(filepath=str(tmp_path / "manifest.parquet"), version=VERSION)
    assert not dataset.exists()
    dataset.save(images)
    assert dataset.exists()
    (images.folder / "p1-0.png").unlink()
    assert not dataset.exists()


def test_incomplete_image_set_is_not_saved(tmp_path: Path) -> None:
    images = _images(tmp_path / "cache")
    (images.folder / "p1-0.png").unlink()
    with pytest.raises(DatasetError, match="lacks pictures"):
        ImageSetDataset(filepath=str(tmp_path / "manifest.parquet")).save(images)
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"]


def test_image_set_preview_is_a_table(tmp_path: Path) -> None:
    dataset = ImageSetDataset(filepath=str(tmp_path / "manifest.parquet"))
    dataset.save(_images(tmp_path / "cache"))
    preview = dataset.preview(nrows=2)
    assert preview["columns"][0] == "image_id" and len(preview["data"]) == 2


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    dataset = TensorsDataset(filepath=str(tmp_path / "x.safetensors"), version=VERSION)
    tensors = {"a.b": torch.randn(3, 4).T, "c": torch.arange(5, dtype=torch.uint8)}
    dataset.save((tensors, {"model": "0f"}))
    back = dataset.load()
    assert back.keys() == tensors.keys() and all(torch.equal(back[k], tensors[k]) for k in tensors)
    assert dataset.header == {"model": "0f"}


def test_tensors_need_no_header(tmp_path: Path) -> None:
    dataset = TensorsDataset(filepath=str(tmp_path / "x.safetensors"))
    dataset.save({"a": torch.ones(2)})
    assert torch.equal(dataset.load()["a"], torch.ones(2)) and dataset.header == {}


def test_failed_save_leaves_no_file(tmp_path: Path) -> None:
    dataset = TensorsDataset(filepath=str(tmp_path / "x.safetensors"))
    with pytest.raises(DatasetError):
        dataset.save({"a": "not a tensor"})
    assert list(tmp_path.iterdir()) == []


def test_eraser_and_its_mask_come_back(tmp_path: Path) -> None:
    pruned = {"a.weight": torch.rand(4, 5) < 0.3}
    header = {"method": "esd", "base": {"name": "small", "sha256": "0f"}, "concept": "person", "support": "all"}
    eraser = Eraser(header, {"b.weight": torch.randn(3)}, pruned)
    for kind, saved in ((EraserDataset, eraser), (MaskDataset, eraser.mask)):
        dataset = kind(filepath=str(tmp_path / f"{kind.__name__}.safetensors"), version=VERSION)
        dataset.save(saved)
        back = dataset.load()
        assert torch.equal(back.pruned["a.weight"], pruned["a.weight"])
        assert back.header["concept"] == "person"
        assert [file.name for file in tmp_path.glob(f"{kind.__name__}*/*/*")] == [f"{kind.__name__}.safetensors"]
        if kind is EraserDataset:
            assert torch.equal(back.weights["b.weight"], eraser.weights["b.weight"])


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    def dataset() -> TensorsDataset:
        return TensorsDataset(filepath=str(tmp_path / "x.safetensors"), version=VERSION)

    dataset().save({"a": torch.ones(1)})
    with pytest.raises(DatasetError, match="must not exist"):
        dataset().save({"a": torch.zeros(1)})
    assert torch.equal(dataset().load()["a"], torch.ones(1))


def test_png_preview_is_the_picture(tmp_path: Path) -> None:
    dataset = PngDataset(filepath=str(tmp_path / "sheet.png"), version=VERSION)
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    dataset.save(picture)
    shown = Image.open(io.BytesIO(base64.b64decode(dataset.preview())))
    assert np.array_equal(np.asarray(shown), np.asarray(picture))


def test_urls_are_refused() -> None:
    with pytest.raises(DatasetError, match="local path"):
        EraserDataset(filepath="s3://bucket/eraser.safetensors")


def test_catalog_makes_them_and_describes_them_before_anything_exists(tmp_path: Path) -> None:
    kinds = [EraserDataset, ImageSetDataset, MaskDataset, PngDataset, TensorsDataset]
    config = {
        k.__name__: {
            "type": f"excise.datasets.{k.__name__}",
            "filepath": str(tmp_path / k.__name__),
            "versioned": True,
            "metadata": {"mlflow": "artifact"},
        }
        for k in kinds
    }
    catalog = DataCatalog.from_config(config, save_version=VERSION.save)
    for kind in kinds:
        dataset: AbstractDataset = catalog[kind.__name__]
        assert isinstance(dataset, kind) and not dataset.exists() and str(tmp_path) in str(dataset)
        assert dataset.metadata == {"mlflow": "artifact"}
    assert issubclass(PngDataset, ImageDataset)


def test_a_folder_is_moved_whole_and_each_version_stays(tmp_path: Path) -> None:
    for number in (1, 2):
        made = tmp_path / "draft"
        (made / "inside").mkdir(parents=True)
        (made / "inside/file.txt").write_text(f"text {number}")
        version = Version(None, f"2026-01-0{number}T00.00.00.000Z")
        FolderDataset(filepath=str(tmp_path / "data/export"), version=version).save(made)
        assert not made.exists()
    newest = FolderDataset(filepath=str(tmp_path / "data/export"), version=Version(None, None)).load()
    assert (newest / "inside/file.txt").read_text() == "text 2"
    assert sorted(p.read_text() for p in tmp_path.rglob("file.txt")) == ["text 1", "text 2"]


@pytest.mark.parametrize(
    ("kind", "name", "data"),
    [
        (JsonDataset, "a.json", {"a": 1}),
        (TableDataset, "a.parquet", pd.DataFrame({"a": [1, 2]})),
        (PromptTableDataset, "a.parquet", pd.DataFrame({"prompt": ["a", "b"]})),
        (CsvDataset, "a.csv", pd.DataFrame({"a": [1, 2]})),
        (TextDataset, "a.html", "<p>"),
        (PngDataset, "a.png", Image.new("RGB", (4, 4), "teal")),
        (TensorsDataset, "a.safetensors", {"a": torch.ones(2)}),
    ],
)
def test_a_version_that_was_not_finished_is_no_version(tmp_path, monkeypatch, kind, name, data):
    """As when the process is killed, or the disk is full, before the file has its name."""

    def made(version: str):
        return kind(filepath=str(tmp_path / name), version=Version(None, version))

    made("2026-01-01T00.00.00.000Z").save(data)
    with monkeypatch.context() as stopped:
        stopped.setattr("excise.cache.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(DatasetError, match="No space left"):
            made("2026-01-02T00.00.00.000Z").save(data)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [p.parent.name for p in files] == ["2026-01-01T00.00.00.000Z"]
    again = kind(filepath=str(tmp_path / name), version=Version(None, None))
    assert again.exists() and again.resolve_load_version() == "2026-01-01T00.00.00.000Z"
    again.load()
    made("2026-01-02T00.00.00.000Z").save(data)
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 2


def test_no_catalog_entry_writes_into_the_file_that_is_read():
    catalogs = sorted((Path(__file__).parents[3] / "conf").glob("**/catalog*.yml"))
    kinds = {kind for path in catalogs for kind in re.findall(r"type: *([\w.]+)", path.read_text())}
    assert len(kinds) > 5 and {k for k in kinds if not k.startswith("excise.")} <= {"partitions.PartitionedDataset"}


def test_rows_that_nobody_has_committed_yet_are_none(tmp_path: Path) -> None:
    rows = RowsDataset(filepath=str(tmp_path / "docs/mine/rows.json"))
    assert rows.exists() and rows.load() == []
    JsonDataset(filepath=str(tmp_path / "docs/mine/rows.json")).save([{"hits": 3}])
    assert rows.exists() and rows.load() == [{"hits": 3}]
