"""A label that is both near the concept and far from it: a style that is asked for, and shown where none is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from excise.concepts import load_concept
from excise.pipelines.erase.nodes import open_material
from excise.pipelines.study_pruning.workshop import Workshop

FOLDER = Path(__file__).parents[2] / "conf/base/concepts"


def described(name: str, **changes) -> dict:
    own = yaml.safe_load((FOLDER / f"{name}.yml").read_text())[name] | changes
    return load_concept(name, {name: own}).model_dump()


def test_methods_that_are_told_what_to_keep_are_told_of_both() -> None:
    twice = {"retain_near": {"flat": ["flat"], "noto": ["noto"]}, "retain_far": {"noto": ["", "plain"], "hut": ["hut"]}}
    words = open_material(None, {}, described("fluent", **twice)).words
    assert words.retain[:2] == ["flat", "noto"] and {"plain", "hut"} >= set(words.retain[2:]) and "" not in words.retain
    assert {"in noto style", "in flat style"} <= set(open_material(None, {}, described("fluent")).words.retain)


@pytest.mark.parametrize(
    ("concept", "expected"),
    [
        ("fluent", {("retain_near", "noto"): "noto (near)", ("retain_far", "noto"): "noto (far)"}),
        ("church", {}),
        ("person", {}),
    ],
)
def test_each_of_them_is_a_thing_of_its_own_in_a_row(concept: str, expected: dict) -> None:
    told = described(concept)
    things = Workshop._things(SimpleNamespace(concept=told))  # type: ignore[arg-type]
    assert {key: name for key, name in things.items() if name != key[1]} == expected
    assert set(things) == {(kind, label) for kind in ("retain_near", "retain_far") for label in told[kind]}
    assert len(set(things.values())) == len(things)
