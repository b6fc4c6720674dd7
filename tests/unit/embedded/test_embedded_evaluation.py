"""The acceptance check of emoji64: captions that cover the world, and rates that count what they say."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import norm

from excise.embedded.evaluation import evaluate_world, evaluation_prompts
from excise.embedded.world import World
from excise.judges import Detection, Judge
from excise.judges.judge import Options

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def world() -> World:
    return World(**yaml.safe_load((ROOT / "conf/base/pretrain_emoji64/parameters_world.yml").read_text())["world"])


def test_captions_cover_the_world_evenly(world):
    table = evaluation_prompts(world)
    assert list(table.columns) == ["prompt", "thing", "style", "person", "seed"]
    assert len(table) >= 600
    assert set(table["thing"]) == {*world.objects, *world.persons}
    assert table["thing"].value_counts().nunique() == 1
    assert (table["person"] == table["thing"].isin(world.persons)).all()
    assert table["seed"].is_unique
    pd.testing.assert_frame_equal(table, evaluation_prompts(world))
    assert not table["prompt"].equals(evaluation_prompts(world, seed=1)["prompt"])


def test_a_third_of_the_captions_names_no_style(world):
    table = evaluation_prompts(world)
    words = [word for style in world.styles.values() for word in style.words]
    phrases = [template.format(style=word) for word in words for template in world.templates.styles]
    named = table["prompt"].map(lambda prompt: any(phrase in prompt for phrase in phrases))
    assert (~named).mean() == pytest.approx(1 / 3, abs=0.01)
    assert set(table.loc[~named, "style"]) == {world.house_style}
    assert table.loc[named, "style"].value_counts().nunique() == 1
    for row in table[named].itertuples():
        assert any(word in row.prompt for word in world.styles[row.style].words)
    for row in table.itertuples():
        assert any(word in row.prompt for word in world.words(row.thing))


def test_excluded_things_are_not_asked_for(world):
    part = world.model_copy(update={"exclude": ["church", "fluent", "person"]})
    table = evaluation_prompts(part)
    assert "church" not in set(table["thing"]) and "fluent" not in set(table["style"]) and not table["person"].any()


class Reader(Judge):
    """Reads its answer from the first pixel: a number into ``labels``; 255 is nothing."""

    name, version, sha256, preprocessing = "reader", "1", "0" * 64, "none"
    label_sets: ClassVar = {"faces": ("face",)}

    def __init__(self, channel: int, labels: tuple[str, ...], score: float = 1.0):
        super().__init__(Options())
        self.channel, self.labels, self.score = channel, labels, score

    def detect(self, images):
        codes = images[:, 0, 0, self.channel]
        return [[Detection(self.labels[c], self.score)] if c < 255 else [] for c in codes]


@pytest.fixture
def judged():
    """40 cars and 20 men in each of two styles; what is seen goes wrong in a known number of them."""
    things, styles = ("car", "person", "tree"), ("flat", "noto")
    rows = [(t, s, t == "man") for s in styles for t in ["car"] * 40 + ["man"] * 20]
    shown = pd.DataFrame(rows, columns=["thing", "style", "person"], index=range(7, 7 + len(rows)))
    images = np.zeros((len(shown), 64, 64, 3), np.uint8)
    images[:, 0, 0, 0] = [1 if p else 0 for p in shown["person"]]
    images[:, 0, 0, 1] = [styles.index(s) for s in shown["style"]]
    images[:, 0, 0, 2] = [0 if p else 255 for p in shown["person"]]
    images[:5, 0, 0, 0] = 2  # five flat cars look like trees
    images[:3, 0, 0, 2] = 0  # three of them have a face
    images[45, 0, 0, 2] = 255  # one flat man has none
    images[100:112, 0, 0, 1] = 0  # twelve noto men look flat
    return images, shown, {"object": Reader(0, things), "style": Reader(1, styles), "faces": Reader(2, ("face",))}


def wilson(hits: int, n: int) -> tuple[float, float]:
    z = norm.ppf(0.975)
    centre, spread = hits + z**2 / 2, z * np.sqrt(hits * (n - hits) / n + z**2 / 4)
    return (centre - spread) / (n + z**2), (centre + spread) / (n + z**2)


def test_rates_and_bounds(judged):
    table = evaluate_world(*judged).set_index(["style", "measure"])
    expected = {
        ("all", "object_right"): (80, 75, True),
        ("all", "style_right"): (120, 108, True),
        ("all", "faces_on_persons"): (40, 39, True),
        ("all", "faces_on_others"): (80, 3, True),
        ("flat", "object_right"): (40, 35, False),
        ("flat", "style_right"): (60, 60, True),
        ("flat", "faces_on_persons"): (20, 19, True),
        ("flat", "faces_on_others"): (40, 3, False),
        ("noto", "object_right"): (40, 40, True),
        ("noto", "style_right"): (60, 48, False),
        ("noto", "faces_on_persons"): (20, 20, True),
        ("noto", "faces_on_others"): (40, 0, True),
    }
    assert table.index.tolist() == list(expected)
    for key, (n, hits, holds) in expected.items():
        row = table.loc[key]
        assert (row["n"], row["hits"], row["holds"]) == (n, hits, holds), key
        assert row["rate"] == hits / n
        assert (row["low"], row["high"]) == pytest.approx(wilson(hits, n))


def test_faint_faces_do_not_count(judged):
    images, shown, judges = judged
    table = evaluate_world(images, shown, judges | {"faces": Reader(2, ("face",), score=0.2)})
    assert table.loc[table["measure"].str.startswith("faces"), "hits"].sum() == 0


def test_a_world_without_persons_has_no_rate_for_them(judged):
    images, shown, judges = judged
    things = (~shown["person"]).to_numpy()
    table = evaluate_world(images[things], shown[things], judges)
    assert "faces_on_persons" not in set(table["measure"])


def test_images_and_descriptions_must_match(judged):
    images, shown, judges = judged
    with pytest.raises(ValueError, match="119 images"):
        evaluate_world(images[1:], shown, judges)
