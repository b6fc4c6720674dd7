"""Judges on pictures of which it is known what they show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from excise.cache import Cache
from excise.concepts.concept import JudgeSpec
from excise.errors import UserError
from excise.judges import Detection, Judge, register
from excise.judges.judge import JUDGES
from excise.metrics.judge_errors import errors_of, judge_errors, load_known, see_known
from excise.models import find_folder
from excise.pipelines.report.nodes import seen_once

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "broken": (0, 0, 0)}


class Reddish(Judge):
    """Sees red, by the first pixel; fails on black."""

    name, version, sha256, labels, preprocessing = "reddish", "1", "0" * 64, ("red",), "none"

    def detect(self, images: np.ndarray) -> list[list[Detection]]:
        if (images[:, 0, 0] == 0).all(-1).any():
            raise ValueError("black")
        return [[Detection("red", float(image[0, 0, 0]) / 255)] for image in images]


@pytest.fixture
def spec():
    register("reddish", Reddish)
    yield JudgeSpec(name="reddish", labels=["red"], threshold=0.5)
    JUDGES.pop("reddish")


@pytest.fixture
def folder(tmp_path):
    """Red, green and black pictures of two sizes, one file holding two of them."""
    rows = []
    for number, (colour, labels, group, size) in enumerate(
        [
            ("red", "red;warm", "old", 8),
            ("green", "green", "old", 8),
            ("red", "green", "old", 8),  # taken for it
            ("broken", "red", "old", 8),
            ("green", "red", "new", 6),  # overlooked
        ]
    ):
        Image.new("RGB", (size, size), COLOURS[colour]).save(tmp_path / f"{number}.png")
        rows.append({"file": f"{number}.png", "labels": labels, "group": group})
    both = Image.new("RGB", (8, 4), COLOURS["red"])
    both.paste(COLOURS["green"], (4, 0, 8, 4))
    both.save(tmp_path / "both.png")
    rows += [
        {"file": "both.png", "labels": label, "group": "new", "x0": x, "y0": 0, "x1": x + 4, "y1": 4}
        for x, label in ((0, "red"), (4, "green"))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path


def test_misses_alarms_and_failures_are_counted_by_group(folder, spec):
    table = judge_errors(spec, "red", load_known(folder)).set_index("group")
    counts = table[["shown", "missed", "others", "alarms", "failed"]]
    assert counts.loc["old"].tolist() == [1, 0, 2, 1, 1]
    assert counts.loc["new"].tolist() == [2, 1, 1, 0, 0]
    assert list(table.index) == ["old", "new"]
    # Wilson's interval of one in two, by its own formula
    z, n, p = 1.959964, 2, 0.5
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    assert table.loc["new", ["miss_low", "miss_high"]].tolist() == pytest.approx([centre - half, centre + half], 1e-4)


@pytest.mark.parametrize("fails", [True, False])
def test_a_failure_may_be_of_the_moment_and_is_asked_again(folder, spec, fails, monkeypatch, tmp_path):
    table = pd.read_csv(folder / "labels.csv")
    if not fails:
        table[table["file"] != "3.png"].to_csv(folder / "labels.csv", index=False)
    known, cache, asked = load_known(folder), Cache(tmp_path / "cache"), []
    detect = Reddish.detect
    monkeypatch.setattr(Reddish, "detect", lambda self, images: asked.append(len(images)) or detect(self, images))
    first = seen_once(spec, known, cache)
    calls = len(asked)
    again = seen_once(spec, known, cache)
    assert first.tolist() == again.tolist() and first.isna().any() == fails
    assert (len(asked) > calls) == fails


def test_pictures_of_one_subject_are_no_independent_trials(folder, spec):
    known = load_known(folder)
    apart = errors_of(seen := see_known(spec, known), {"red"}, known).set_index("group")
    table = pd.read_csv(folder / "labels.csv")
    table.assign(subject=["a", "b", "b", "c", "d", "d", "e"]).to_csv(folder / "labels.csv", index=False)
    known = load_known(folder)
    together = errors_of(seen, {"red"}, known).set_index("group")
    assert apart.loc["new", "shown_subjects"] == 2 and together.loc["new", "shown_subjects"] == 1
    counts = ["shown", "missed", "others", "alarms", "failed"]
    assert together[counts].equals(apart[counts])  # the rate stays, of as many pictures
    # half of one trial, by Wilson's own formula
    z, n, p = 1.959964, 1, 0.5
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert together.loc["new", ["miss_low", "miss_high"]].tolist() == pytest.approx([0.5 - half, 0.5 + half], 1e-4)
    assert together.loc["new", "miss_low"] < apart.loc["new", "miss_low"]


def test_a_picture_shows_a_concept_by_its_name_or_by_a_label_that_its_judge_counts(folder, spec):
    """A concept may be called otherwise than what it is told by."""
    known = load_known(folder)
    named = judge_errors(spec.model_copy(update={"labels": ["red"]}), "scarlet", known)
    pd.testing.assert_frame_equal(named, judge_errors(spec, "red", known))
    assert (named["shown"] > 0).all()


def test_nothing_shown_has_no_interval(folder, spec):
    known = load_known(folder)
    table = errors_of(see_known(spec, known), {"blue"}, known)
    assert (table["shown"] == 0).all() and table["miss_low"].isna().all()


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda f: (f / "labels.csv").unlink(), "no labels.csv"),
        (lambda f: (f / "labels.csv").write_text("file\n0.png\n"), "no column 'labels'"),
        (lambda f: (f / "labels.csv").write_text("file,labels\n"), "names no picture"),
        (lambda f: (f / "labels.csv").write_text("file,labels\ngone.png,red\n"), "no picture that can be read"),
        (lambda f: (f / "labels.csv").write_text("file,labels\nlabels.csv,red\n"), "no picture that can be read"),
        (lambda f: (f / "labels.csv").write_text("file,labels\n../x.png,red\n"), "lies outside"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(folder, spoil, sentence):
    spoil(folder)
    with pytest.raises(UserError, match=sentence) as caught:
        load_known(folder)
    assert "\n" not in str(caught.value)


def test_pictures_that_ship_are_whole_and_labelled():
    known = load_known(find_folder("embedded:known"))
    assert len(known.pictures) == len(known.labels) > 400
    assert {p.shape for p in known.pictures} == {(64, 64, 3)}
    assert all(p.std() > 5 for p in known.pictures)  # none is blank
    names = known.labels["labels"]
    for concept, least in {"person": 60, "church": 30, "fluent": 120}.items():
        assert sum(concept in labels for labels in names) >= least
    assert all(len(labels & {"noto", "fluent", "flat"}) == 1 for labels in names)


def test_a_probe_sees_what_it_was_fitted_on():
    known = load_known(find_folder("embedded:known"))
    churches = [i for i, labels in enumerate(known.labels["labels"]) if labels & {"church", "banana"}]
    some = type(known)(known.labels.iloc[churches].reset_index(drop=True), [known.pictures[i] for i in churches])
    [row] = judge_errors(JudgeSpec(name="object_probe", labels=["church"], threshold=0.5), "church", some).to_dict(
        "records"
    )
    assert (row["shown"], row["others"], row["failed"]) == (36, 3, 0)
    assert row["missed"] <= 2 and row["alarms"] == 0


def test_errors_need_nothing_but_the_verdicts(folder):
    known = load_known(folder)
    table = errors_of(pd.Series([None] * len(known.pictures), dtype=object), {"red"}, known)
    assert table["failed"].sum() == len(known.pictures) and table["shown"].sum() == 0
