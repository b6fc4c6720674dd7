"""Judging image sets, with a judge simple enough to know its answers."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from excise.images import ImageSet
from excise.judges.judge import Detection, Judge, Options
from excise.judges.judging import COLUMNS, hits, judge_images, right
from excise.shards import Shard


class Shades(Judge):
    """Sees "light" by how bright an image is and "dark" by how dark; nothing in mid gray; chokes on pure red."""

    name, version, sha256, labels, preprocessing = "shades", "1", "0" * 64, ("light", "dark"), "none"

    def detect(self, images):
        if any(image[..., 0].min() == 255 and image[..., 1:].max() == 0 for image in images):
            raise RuntimeError("too red")
        light = images.mean((1, 2, 3)) / 255
        return [
            [] if abs(m - 0.5) < 0.1 else [Detection("light", m, (0, 0, 1, 1)), Detection("dark", 1 - m)] for m in light
        ]


@pytest.fixture
def image_set(tmp_path) -> ImageSet:
    colours = {"a-0": (230,) * 3, "a-1": (20,) * 3, "b-0": (128,) * 3, "b-1": (255, 0, 0), "c-0": (200,) * 3}
    rows = []
    for image_id, colour in colours.items():
        path = tmp_path / f"{image_id}.png"
        Image.new("RGB", (8, 8), colour).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append((image_id, image_id[0], "target", "test", 0, path.name, digest))
    (tmp_path / "c-0.png").write_bytes(b"no picture")
    columns = ["image_id", "prompt_id", "set", "split", "seed", "file", "sha256"]
    return ImageSet(tmp_path, pd.DataFrame(rows, columns=columns))


@pytest.fixture(params=[1, 2, 64])
def judgements(image_set, request) -> pd.DataFrame:
    return judge_images(Shades(Options()), image_set, batch=request.param)


def by_image(table: pd.DataFrame) -> dict:
    return {row.image_id: (row.prompt_id, row.hit, row.failed) for row in table.itertuples()}


def test_one_row_a_detection_and_one_for_nothing_or_failure(judgements):
    assert list(judgements.columns) == COLUMNS
    assert judgements["image_id"].tolist() == ["a-0", "a-0", "a-1", "a-1", "b-0", "b-1", "c-0"]
    nothing = judgements.set_index("image_id").loc["b-0"]
    assert (nothing["label"], nothing["score"], nothing["failed"], nothing["error"]) == ("", 0.0, False, "")
    boxes = judgements[["x0", "y0", "x1", "y1"]]
    assert boxes.iloc[0].tolist() == [0, 0, 1, 1] and boxes.iloc[1].isna().all()


def test_a_failure_stays_with_its_image(judgements):
    failed = judgements[judgements["failed"]].set_index("image_id")["error"]
    assert failed.index.tolist() == ["b-1", "c-0"]
    assert "too red" in failed["b-1"] and failed["c-0"]
    assert judgements["failed"].dtype == bool


def test_hits(judgements):
    seen = by_image(hits(judgements, ["light"], 0.5))
    assert seen["a-0"] == ("a", True, False)
    assert seen["a-1"] == ("a", False, False)
    assert seen["b-0"] == ("b", False, False)
    assert seen["b-1"] == ("b", False, True), "an image that was not judged is neither hit nor clear"
    assert by_image(hits(judgements, ["light", "dark"], 0.5))["a-1"][1]
    exact = judgements.loc[0, "score"]
    assert by_image(hits(judgements, ["light"], exact))["a-0"][1], "a score at the threshold counts"
    assert not by_image(hits(judgements, ["light"], np.nextafter(exact, 1)))["a-0"][1]
    assert not hits(judgements, ["light"], 0.0).set_index("image_id").loc["b-0", "hit"]


def test_right(judgements):
    seen = by_image(right(judgements, pd.Series({"a": "dark", "b": "dark"}), 0.0))
    assert set(seen) == {"a-0", "a-1", "b-0", "b-1"}, "prompts that expect nothing are left out"
    assert seen["a-0"] == ("a", False, False), "seen, but light is likelier"
    assert seen["a-1"] == ("a", True, False)
    assert seen["b-1"] == ("b", False, True)
    assert not by_image(right(judgements, pd.Series({"a": "dark"}), 0.95))["a-1"][1]


def test_an_empty_set(image_set):
    empty = judge_images(Shades(Options()), ImageSet(image_set.folder, image_set.manifest.iloc[:0]))
    assert list(empty.columns) == COLUMNS and len(empty) == 0
    assert len(hits(empty, ["light"], 0.5)) == 0


def test_agreement_is_cohens_kappa():
    from excise.pipelines.rejudge.nodes import agreement

    first, second = pd.Series([1, 1, 1, 0, 0, 0, 0, 0, 1, 0]) == 1, pd.Series([1, 1, 0, 0, 0, 0, 0, 1, 1, 0]) == 1
    observed, expected = 0.8, 0.4 * 0.4 + 0.6 * 0.6
    assert agreement(first, second) == pytest.approx((observed - expected) / (1 - expected))
    assert np.isnan(agreement(pd.Series([False] * 3), pd.Series([False] * 3)))
    assert agreement(pd.Series([False] * 3), pd.Series([True] * 3)) == 0


def test_shards_fill_a_folder_from_which_the_whole_is_put_together(image_set, tmp_path, judgements):
    asked = []

    class Counting(Shades):
        def detect(self, images):
            asked.append(len(images))
            return super().detect(images)

    folder = tmp_path / "kept"
    folder.mkdir()
    parts = [judge_images(Counting(Options()), image_set, 1, folder, Shard(k, 2)) for k in (2, 1)]
    assert sorted(pd.concat(parts)["image_id"].unique()) == image_set.manifest["image_id"].tolist()
    asked.clear()
    whole = judge_images(Counting(Options()), image_set, 1, folder)
    pd.testing.assert_frame_equal(whole, judgements)
    assert asked == [1]  # of those that failed: the one that can be read is asked again, and nothing else is
