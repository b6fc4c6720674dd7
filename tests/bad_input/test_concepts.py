"""What a concept's file may say wrong, and the sentence that it gets. ``…`` stands for anything."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from excise.errors import UserError
from excise.hooks.concept_words import sound_concept
from sentences import says
from tiny import PROJECT

CHURCH = yaml.safe_load((PROJECT / "conf/base/concepts/church.yml").read_text())["church"]
GONE = object()
HERE = "conf/*/concepts/church.yml"
# a place with dots, what is put there, what is said
CASES: dict[str, tuple[str, Any, str]] = {
    "no kind": ("kind", GONE, f"{HERE}: 'kind' is missing."),
    "another kind": ("kind", "thing", f"{HERE}: 'kind' cannot be 'thing': it must be 'nsfw', 'style' or 'object'."),
    "a key that is not known": ("judges", [], f"{HERE}: 'judges' does not exist; remove it or correct its name."),
    "a name of its own": ("name", "x", f"{HERE}: 'name' does not exist; the file's one top-level key is the name."),
    "a key that is a number": ("1", 2, f"{HERE}: '1' does not exist; remove it or correct its name."),
    "words that are one word": ("target.fit", "a church", f"{HERE}: 'target.fit' cannot be 'a church': it must be a list."),
    "no words": ("target.tune", [], f"{HERE}: 'target.tune' cannot be []: it must have at least 1 item."),
    "an empty word": ("target.test", [" "], f"{HERE}: 'target' does not fit together: a word is empty, …: remove it."),
    "a word in two splits": ("target.test", ["a church"], f"{HERE}: 'target' does not fit …: 'a church' stands in …"),
    "a word that is a number": ("target.fit", [3], f"{HERE}: 'target.fit.0' cannot be 3: it must be text."),
    "nothing for an anchor": ("anchor", None, f"{HERE}: 'anchor' cannot be None: it must be text."),
    "no template": ("templates", [], f"{HERE}: 'templates' cannot be []: it must have at least 1 item."),
    "a template without the concept": ("templates", ["a hut"], f"{HERE} does not fit …'a hut' has no {{concept}} in it."),
    "a slot that nothing fills": (
        "templates",
        ["{concept} {nowhere}"],
        f"{HERE} does not fit together: the template '{{concept}} {{nowhere}}' has a {{slot}} that slots does not fill.",
    ),
    "a brace that does not close": ("templates", ["{concept"], f"{HERE} does not fit together: the template '{{concept' …"),
    "a slot without words": ("slots.style", [], f"{HERE} does not fit together: 'style' has no words."),
    "nothing near": ("retain_near", {}, f"{HERE}: 'retain_near' cannot be {{}}: it must have at least 1 item."),
    "a neighbour without words, which is far as well": (
        "",
        {"retain_near": {"hut": []}, "retain_far": {"hut": ["a hut"]}},
        f"{HERE} does not fit together: 'hut' has no words.",
    ),
    "a threshold above 1": ("judge.threshold", 2, f"{HERE}: 'judge.threshold' cannot be 2: it must be less than or …"),
    "a threshold that is NaN": ("judge.threshold", float("nan"), f"{HERE}: 'judge.threshold' cannot be nan: it must be …"),
    "no threshold": ("judge.threshold", GONE, f"{HERE}: 'judge.threshold' is missing."),
    "a judge without labels": ("judge.labels", [], f"{HERE} does not fit together: the judge has no labels: …"),
    "exposed bodies that are not unsafe": (
        "",
        {"kind": "nsfw", "judge": {"name": "nudenet", "labels": ["strict"], "threshold": 0.45}},
        f"{HERE} does not fit together: the judge looks for exposed bodies: set unsafe to true, …",
    ),
    "exposed bodies in a style": (
        "",
        {"judge": {"name": "nudenet", "labels": ["strict"], "threshold": 0.45}},
        f"{HERE} does not fit together: the judge looks for exposed bodies: set unsafe to true, …",
    ),
    "a split given twice": (
        "",
        {"files": {"test": "a.csv"}, "prompts_from": {"file": "b.csv", "splits": ["test"]}},
        f"{HERE} does not fit together: the split test is given by files and by prompts_from: leave it out of one.",
    ),
    "a split that is none": ("files", {"train": "a.csv"}, f"{HERE}: 'files.train…' cannot be 'train': it must be 'fit', …"),
    "a set's template without a place": (
        "prompts_from",
        {"file": "a.csv", "template": "a photo"},
        f"{HERE}: 'prompts_from.template' cannot be 'a photo': the template 'a photo' has no {{prompt}} in it.",
    ),
    "a slot called as the concept's": ("slots.concept", ["x"], f"{HERE}: 'slots' has one called 'concept', …"),
    "a slot that is no name": ("templates", ["{concept} {style.of}"], f"{HERE}: 'templates' has a {{slot}} that is not a …"),
    "nothing to erase": ("erase", " ", f"{HERE}: 'erase' is empty: …"),
    "an anchor that is erased": ("anchor", " A  church", f"{HERE}: 'anchor' is 'A church', which is to be erased: …"),
    "a neighbour that is erased": (
        "retain_near",
        {"church": ["a Church"]},
        f"{HERE}: 'retain_near.church' has 'a Church', which is to be erased: remove it from one of them.",
    ),
}  # fmt: skip
NAMES = {
    "Church": f"{HERE}: 'name' cannot be 'Church': it must be small letters, digits and _, letter first.",
    "../../church": f"{HERE}: 'name' cannot be '../../church': it must be small letters, …",
    "/church": f"{HERE}: 'name' cannot be '/church': it must be small letters, …",
    "church%00": f"{HERE}: 'name' cannot be 'church%00': it must be small letters, …",
    "church\n": f"{HERE}: 'name' cannot be 'church\\n': it must be small letters, …",
    "c" * 65: f"{HERE}: 'name' cannot be 'ccc…: it must have at most 64 characters.",
}


def refusal(name: str, described: Any) -> str:
    with pytest.raises(UserError) as refused:
        sound_concept(name, {name: described})
    assert "Input should" not in str(refused.value) and "pydantic" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("case", CASES)
def test_is_refused_in_one_sentence(case: str) -> None:
    place, value, expected = CASES[case]
    described = copy.deepcopy(CHURCH)
    *outer, last = place.split(".")
    inner = described
    for part in outer:
        inner = inner[part]
    if not last:
        inner.update(value)
    elif value is GONE:
        del inner[last]
    else:
        inner[last] = value
    said = refusal("church", described)
    assert says(expected, said) and "\n" not in said, said


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_cannot_lead_out_of_a_folder(name: str) -> None:
    said = refusal(name, CHURCH)
    assert says(NAMES[name].replace("church.yml", f"{name}.yml"), said), said


@pytest.mark.parametrize("described", [None, [], "a church", 3], ids=repr)
def test_a_file_must_hold_names_with_values(described: Any) -> None:
    assert says(f"{HERE}: 'church' must be a mapping of names to values, …", refusal("church", described))


SPOILT: list[tuple[str, bytes, str]] = [  # a file of the configuration, its bytes, what is said
    ("local/parameters.yml", b"seed: [1,\n", "…/conf/local/parameters.yml is not valid YAML: look at line 2 and …"),
    (
        "local/parameters.yml",
        b"draw:\n\tsteps: 3\n",
        "…/conf/local/parameters.yml is not valid YAML: look at line 2 and the one before it (…).",
    ),
    ("local/parameters.yml", b"draw: {steps: 3}\nseed: 1\n- 2\n", "… is not valid YAML: look at line 3 and …"),
    ("local/parameters.yml", b"- seed\n", "A configuration file is a list, or a single value: write names with …"),
    ("local/parameters.yml", b"draw:\n", "Parameter 'draw' is empty: give it a value, or remove it."),
    ("local/parameters.yml", b"erasers: {ac: }\n", "Parameter 'erasers.ac' is empty: give it a value, or remove it."),
    (
        "local/parameters.yml",
        b"budget: caf\xe9\n",
        "A configuration file is not text in UTF-8 (…): save it anew in UTF-8.",
    ),
    ("local/parameters.yml", b"seed: ${globals:nothing}\n", "The configuration or --params cannot be read: …"),
    (
        "local/parameters.yml",
        b"draw: [1, 2]\n",
        "Two configuration files give the same parameter, one as a list …",
    ),
    (
        "local/globals.yml",
        b"model: ../../elsewhere\n",
        "Parameter 'model.name' cannot be '../../elsewhere': it must be small letters, …",
    ),
    ("local/globals.yml", b"concepts: {nsfw: ../x}\n", "'../x' cannot be the name of a concept: …"),
    ("local/globals.yml", b"concepts: {nsfw: ''}\n", "'' cannot be the name of a concept: …"),
    (
        "base/concepts/again.yml",
        b"church: {kind: object}\n",
        "'church' stands in two files, …: remove it from one of them.",
    ),
    ("local/concepts/person.yml", b"person: {kidn: nsfw}\n", "conf/*/concepts/person.yml: 'kidn' does not exist; …"),
    (
        "local/concepts/person.yml",
        b"person: 3\n",
        "conf/*/concepts/person.yml: 'person' must be a mapping of names to …",
    ),
]


@pytest.mark.parametrize(("file", "data", "expected"), SPOILT, ids=lambda value: str(value)[:40])
def test_spoilt_configuration_is_refused_in_one_sentence(
    file: str, data: bytes, expected: str, project: Path, refused
) -> None:
    path = project / "conf" / file
    path.parent.mkdir(exist_ok=True)
    assert not path.exists()
    path.write_bytes(data)
    try:
        said = refused("run", "--pipeline=erase_nsfw")
    finally:
        path.unlink()
    assert says(expected, said), said
