"""A plugin that registers something broken: one sentence that names it, before anything is computed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from excise.attacks import ATTACKS
from excise.erasers import ERASERS
from excise.erasers.registry import Registered
from excise.judges.judge import JUDGES, Judge
from sentences import says


class Unfinished:
    """An attack that does not define what it has to."""

    def __new__(cls, **options):
        raise TypeError("Can't instantiate abstract class Unfinished without an implementation for 'start'")


class Raising(Judge):
    """A judge whose weights are not where it looks for them."""

    name = "raising"

    def __init__(self, options):
        raise FileNotFoundError("weights.safetensors")

    @abstractmethod
    def nothing(self): ...


@pytest.fixture
def local(project: Path):
    """Parameters on top of the project's."""
    path = project / "conf/local/parameters.yml"
    before = path.read_text() if path.exists() else None

    def write(**parameters) -> None:
        path.write_text(yaml.safe_dump(parameters))

    yield write
    path.unlink() if before is None else path.write_text(before)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("no_such_package:Mine", "ModuleNotFoundError: No module named 'no_such_package'."),
        ("excise.errors:Mine", "AttributeError: module 'excise.errors' has no attribute 'Mine'."),
    ],
)
def test_an_eraser_that_is_not_where_it_says(refused: Callable[..., str], local, monkeypatch, location, said):
    monkeypatch.setitem(ERASERS, "mine", Registered(location, True))
    local(erasers={"mine": {"method": "mine"}})
    told = refused("run", "--pipeline=erase_nsfw", "--params=eraser=mine")
    assert says(f"The eraser 'mine' cannot be made, mend it where it is defined: {said}", told), told


def test_an_attack_that_lacks_a_method(refused, local, monkeypatch):
    monkeypatch.setitem(ATTACKS, "mine", Unfinished)
    local(attacks={"mine": {"method": "mine"}})
    told = refused("run", "--pipeline=erase_nsfw", "--params=attack=mine")
    assert says("The attack 'mine' cannot be made, mend it where it is defined: TypeError: Can't instantiate …", told)


def test_a_judge_that_cannot_find_its_weights(refused, project: Path, monkeypatch):
    monkeypatch.setitem(JUDGES, "raising", Raising)
    path = project / "conf/base/concepts/church.yml"
    before = path.read_text()
    described = yaml.safe_load(before)
    described["church"]["judge"]["name"] = "raising"
    path.write_text(yaml.safe_dump(described))
    try:
        told = refused("run", "--pipeline=erase_object")
    finally:
        path.write_text(before)
    assert says("The judge 'raising' cannot be made, mend it where it is defined: …", told), told
