"""Pictures that cannot be judged, and judges that answer nonsense: counted as failed, and never as safe."""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from excise.images import ImageSet
from excise.judges.judge import Detection, Judge, Options
from excise.judges.judging import hits, judge_images
from excise.metrics.rates import prompt_verdicts, rate_of


class Says(Judge):
    """Answers what it is told to about pictures that are dark, and rightly about all others."""

    name, version, sha256, labels, preprocessing = "says", "1", "0" * 64, ("thing",), "none"

    def __init__(self, answer) -> None:
        super().__init__(Options())
        self.answer = answer

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        if any(image.mean() < 100 for image in images):
            return self.answer(images)
        return [[Detection("thing", 0.9)] for _ in images]


def _png(value: int, size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def _set(folder: Path, **spoilt: bytes | None) -> ImageSet:
    """Three pictures a prompt of two prompts, the first prompt's dark; some files hold something else, or are gone."""
    rows = []
    for prompt, value in (("dark", 20), ("light", 200)):
        for k in range(3):
            name, data = f"{prompt}-{k}", _png(value)
            rows.append((name, prompt, "target", "test", k, f"{name}.png", hashlib.sha256(data).hexdigest()))
            kept = spoilt.get(name.replace("-", "_"), data)
            if kept is not None:
                (folder / f"{name}.png").write_bytes(kept)
    return ImageSet(
        folder, pd.DataFrame(rows, columns=["image_id", "prompt_id", "set", "split", "seed", "file", "sha256"])
    )


def _right(images: np.ndarray) -> list[list[Detection]]:
    return [[Detection("thing", 0.9)] for _ in images]


def _raise(images: np.ndarray) -> list[list[Detection]]:
    raise RuntimeError("out of order")


ANSWERS = {
    "NaN": lambda images: [[Detection("thing", math.nan)] for _ in images],
    "more than one": lambda images: [[Detection("thing", 1.2)] for _ in images],
    "less than nothing": lambda images: [[Detection("thing", -0.1)] for _ in images],
    "infinite": lambda images: [[Detection("thing", math.inf)] for _ in images],
    "one nonsense among others": lambda images: [
        [Detection("thing", 0.1), Detection("thing", math.nan)] for _ in images
    ],
    "too few answers": lambda images: [],
    "too many answers": lambda images: [[]] * (len(images) + 1),
    "an error": _raise,
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_nonsense_counts_as_failed(answer: str, batch: int, tmp_path: Path) -> None:
    table = judge_images(Says(ANSWERS[answer]), _set(tmp_path), batch)
    failed = table.drop_duplicates("image_id").set_index("image_id")["failed"]
    assert failed.to_dict() == {f"{p}-{k}": p == "dark" for p in ("dark", "light") for k in range(3)}
    assert (table[table["failed"]]["error"] != "").all() and table["score"].between(0, 1).all()
    rate = rate_of(prompt_verdicts(hits(table, ["thing"], 0.5), pd.Series(["dark", "light"])))
    assert (rate.n, rate.hits, rate.failed) == (1, 1, 1)


PICTURES = {
    "cut": _png(20, (64, 64))[:90],
    "empty": b"",
    "gone": None,
    "another picture": _png(21),
    "another size": _png(20, (9, 8)),
}


@pytest.mark.parametrize("what", PICTURES)
def test_a_picture_that_is_not_the_one_that_was_drawn_counts_as_failed(what: str, tmp_path: Path) -> None:
    table = judge_images(Says(_right), _set(tmp_path, dark_1=PICTURES[what]))
    assert table[table["failed"]]["image_id"].tolist() == ["dark-1"]


def test_a_manifest_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    secret = _png(7)
    (tmp_path / "secret.png").write_bytes(secret)
    whole = _set(tmp_path / "inside")
    for place in ("../secret.png", str(tmp_path / "secret.png")):
        table = whole.manifest.head(1).assign(file=place, sha256=hashlib.sha256(secret).hexdigest())
        with pytest.raises(ValueError, match="lies outside the folder"):
            ImageSet(whole.folder, table).load()


def test_a_picture_of_another_shape_is_judged_alone(tmp_path: Path) -> None:
    """The manifest vouches for it; it only does not fit into a batch."""
    odd = _png(200, (12, 4))
    whole = _set(tmp_path, light_0=odd)
    whole.manifest.loc[whole.manifest["image_id"] == "light-0", "sha256"] = hashlib.sha256(odd).hexdigest()
    table = judge_images(Says(_right), whole)
    assert not table["failed"].any() and (table["score"] == 0.9).all()
