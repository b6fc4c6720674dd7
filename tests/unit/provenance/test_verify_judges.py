"""The judges that a file names against those that are here."""

from __future__ import annotations

from pathlib import Path

import yaml

from excise.commands.verify.named import check_judges
from excise.concepts import load_concept
from excise.provenance.made_of import judges_of

SHIPPED = Path(__file__).parents[3] / "conf/base/concepts/person.yml"
CONCEPT = load_concept("person", yaml.safe_load(SHIPPED.read_text())).model_dump()


def test_a_judge_is_named_with_what_happens_to_an_image_first():
    assert all(one["preprocessing"] and len(one["sha256"]) == 64 for one in judges_of(CONCEPT).values())


def test_judges_agree_where_all_that_is_told_is_so_here():
    told = judges_of(CONCEPT)
    earlier = {role: {k: v for k, v in one.items() if k != "preprocessing"} for role, one in told.items()}
    unknown = {role: one | {"preprocessing": None} for role, one in told.items()}
    for named in (told, earlier, unknown):
        assert check_judges(named, CONCEPT).outcome == "agrees"
    without = {role: one for role, one in told.items() if role != "second"}
    for key in ("sha256", "version", "preprocessing"):
        other = told | {"concept": told["concept"] | {key: "another"}}
        assert check_judges(other, CONCEPT).outcome == "unchecked"
    assert check_judges(without, CONCEPT).outcome == check_judges({}, CONCEPT).outcome == "unchecked"
