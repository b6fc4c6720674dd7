"""Names that users and files give never lead out of the folder that is called by them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from excise.concepts import load_concept
from excise.errors import UserError, refuse_no_name
from excise.hooks.given_id import given_id
from excise.models import ModelSpec
from excise.pipelines import selection
from excise.pipelines.ablate_pruning.variations import AblationOptions, rows_of
from excise.pipelines.names import variants
from excise.pipelines.study_pruning.nodes import settings_of
from excise.pipelines.study_pruning.plan import StudyOptions
from tiny import PROJECT

WAYS_OUT = [
    "..",
    "../x",
    "a/b",
    "/etc/x",
    "a\\b",
    "",
    " ",
    ".hidden",
    "a%00b",
    "a\0b",
    "a\nb",
    "x" * 300,
    "~",
    "-rf",
    "ä/ö",
]
CHURCH = yaml.safe_load((PROJECT / "conf/base/concepts/church.yml").read_text())["church"]


@pytest.fixture(autouse=True)
def _as_before() -> Any:
    yield
    selection.set_selection(None, {})


@pytest.mark.parametrize("name", WAYS_OUT, ids=repr)
def test_a_name_of_no_kind(name: str) -> None:
    with pytest.raises(UserError) as refused:
        refuse_no_name("a concept", name)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 250
    for given in ({"concept": name}, {"eraser": name}, {"attack": name}):
        with pytest.raises(UserError, match="cannot be the name of"):
            selection.set_selection(**{"concept": None, "defaults": {}, **given})
    with pytest.raises(UserError, match="cannot be the name of a concept"):
        selection.set_selection(None, {"nsfw": name})
    with pytest.raises(UserError):
        load_concept(name, {name: CHURCH})
    with pytest.raises(ValueError):
        ModelSpec(name=name, path="x")


@pytest.mark.parametrize("name", ["person", "esd", "a1", "textual_inversion_long", "x" * 64])
def test_a_name_that_is_one(name: str) -> None:
    refuse_no_name("a concept", name)
    selection.set_selection(name, {}, eraser=name, attack=name)
    assert (selection.selected_concept("nsfw"), selection.selected_eraser(), selection.selected_attack()) == (name,) * 3


@pytest.mark.parametrize("name", [n for n in WAYS_OUT if "\0" not in n], ids=repr)
def test_the_id_of_a_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCISE_RUN_ID", name)
    with pytest.raises(UserError, match="write a time in the form"):
        given_id()


@pytest.mark.parametrize("name", WAYS_OUT, ids=repr)
@pytest.mark.parametrize("what", ["concepts", "erasers", "attacks", "instead"])
def test_a_grid(what: str, name: str) -> None:
    """A row's file is called by its concept, eraser and attack."""
    told = yaml.safe_load((PROJECT / "conf/base/study_pruning/parameters.yml").read_text())["study"]
    erase, evaluate, prepare = (
        yaml.safe_load((PROJECT / f"conf/base/{stage}/parameters.yml").read_text())
        for stage in ("erase", "evaluate", "prepare")
    )
    if what == "concepts":
        with pytest.raises(UserError):
            load_concept(name, {name: CHURCH})  # which every row begins with
        return
    if what == "erasers":
        told["erasers"] = {name: {"seeds": [1]}}
    elif what == "attacks":
        told["attacks"] = [name]
    else:
        told["instead"]["attacks"][name] = {"method": "p4d"}
    study = StudyOptions.model_validate(told)
    model = ModelSpec.model_validate({**prepare["model"], "name": "emoji64"})
    with pytest.raises(UserError, match="cannot be the name of"):
        settings_of(study, model, erase["erasers"], evaluate["attacks"], erase["prune"], erase["neurons"], 1)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "x" * 300])
def test_a_variation_of_an_ablation(name: str) -> None:

    told = yaml.safe_load((PROJECT / "conf/base/ablate_pruning/parameters.yml").read_text())["ablation"]
    options = AblationOptions.model_validate({**told, "variations": {name: {}}})
    with pytest.raises(UserError, match="has a slash in it, or is too long"):
        rows_of(options, {"ac": {"method": "ac"}}, {}, 1)


def test_every_folder_of_results_is_below_data() -> None:
    """Whatever the names are, so long as they are names: the catalog's places lie in data/, or are committed pages."""
    from kedro.config import OmegaConfigLoader

    from excise.settings import CONFIG_LOADER_ARGS

    loader = OmegaConfigLoader(str(PROJECT / "conf"), env="base", **CONFIG_LOADER_ARGS)
    places = [str(one.get("filepath", one.get("path"))) for name, one in loader["catalog"].items() if name[0] != "_"]
    for place in places:
        place = re.sub(r"\{\w+\}", "name", place)
        assert ".." not in Path(place).parts and not Path(place).is_absolute()
        assert place.startswith(("data/", "docs/")), place


def test_variants_are_made_of_names_that_were_checked() -> None:
    assert all(part.isidentifier() for part in variants("esd").values())
