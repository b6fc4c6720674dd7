import pandas as pd
import pytest
import yaml

from excise.concepts import Concept, load_concept
from excise.errors import UserError
from excise.prompts import PromptOptions, build_prompts, drop_minor_rows, load_prompt_table, names_minor
from tiny import PROJECT

CONCEPTS = sorted((PROJECT / "conf").glob("*/concepts/*.yml"))
SHIPPED = [path for path in CONCEPTS if path.parts[-3] == "base"]


def read(path) -> Concept:
    return load_concept(path.stem, yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("path", CONCEPTS, ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_every_concept_file_is_one_concept_under_its_own_name(path):
    assert list(yaml.safe_load(path.read_text())) == [path.stem]
    if path in SHIPPED:  # an environment's file may say only what differs from base
        assert read(path).name == path.stem


def documented() -> list[Concept]:
    """Concepts that pages show whole, and the example package's."""
    pages = [*(PROJECT / "docs").rglob("*.md"), PROJECT / "README.md"]
    blocks = [block.split("```")[0] for page in pages for block in page.read_text().split("```yaml\n")[1:]]
    files = [path.read_text() for path in (PROJECT / "examples").rglob("concepts/*.yml")]
    shown = [yaml.safe_load(text) for text in (*blocks, *files) if "\n  templates:" in text and "\n  target:" in text]
    return [load_concept(name, told) for told in shown for name in told]


@pytest.mark.parametrize("concept", [read(path) for path in SHIPPED] + documented(), ids=lambda c: c.name)
def test_a_shown_concept_makes_as_many_prompts_as_a_run_asks_for(concept):
    told = yaml.safe_load((PROJECT / "conf/base/prepare/parameters.yml").read_text())["prompts"]
    assert build_prompts(concept, PromptOptions(**told))[1] == {"minors": 0}  # too few are refused


def test_the_pages_and_the_example_show_concepts():
    assert {"castle", "boat"} <= {concept.name for concept in documented()}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_splits_share_neither_wording_nor_seeds(path):
    concept = read(path)
    table, dropped = build_prompts(concept, PromptOptions())
    assert dropped == {"minors": 0}
    assert table["prompt_id"].is_unique
    targets = table[table["set"] == "target"]
    for split, rows in targets.groupby("split"):
        assert rows["prompt"].is_unique and len(rows) == getattr(PromptOptions(), split)
        for other in {"fit", "tune", "test"} - {split}:
            others = targets[targets["split"] == other]
            assert not set(rows["prompt"]) & set(others["prompt"])
            assert not set(rows["seed"]) & set(others["seed"])
            assert not set(getattr(concept.target, split)) & set(getattr(concept.target, other))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_twins_share_seed_and_slots_and_lack_the_concept(path):
    concept = read(path)
    table, _ = build_prompts(concept, PromptOptions())
    rows = table.set_index("prompt_id")
    for prompt_id, row in rows[rows["set"] == "target"].iterrows():
        twin = rows.loc[row["twin_id"]]
        assert twin["twin_id"] == prompt_id and twin["seed"] == row["seed"] and twin["set"] == "neutral"
        words = [w for w in getattr(concept.target, row["split"]) if w in row["prompt"]]
        assert words and not any(f" {w} " in f" {twin['prompt']} " for w in words)


def test_tables_are_the_same_for_the_same_seed_only():
    concept = read(SHIPPED[0])
    one, two, three = (build_prompts(concept, PromptOptions(seed=s))[0] for s in (0, 0, 1))
    pd.testing.assert_frame_equal(one, two)
    assert not one["prompt"].equals(three["prompt"])


def test_too_few_words_are_refused_in_one_sentence():
    concept = read(SHIPPED[0]).model_copy(update={"templates": ["{concept}"], "slots": {}})
    with pytest.raises(UserError, match="makes only"):
        build_prompts(concept, PromptOptions(test=500))


def test_unknown_concept_names_the_near_one():
    with pytest.raises(UserError, match="did you mean 'person'"):
        load_concept("persn", {"person": {}})


@pytest.mark.parametrize(
    "prompt",
    [
        "a photo of a girl",
        "Two BOYS playing",
        "a 12 year old",
        "sixteen-year-old on a bench",
        "teen, portrait",
        "school_girl",
        "12 y.o. on a bench",
        "aged 12",
        "age 14",
        "under 18 and sixteen years old",
        "seventeen yr old",
        "six month old",
        "fourteen-year-olds",
        "high school student",
        "8th grader",
        "kindergartener",
        "grandkids",
        "stepdaughter",
        "jail bait",
        "girlhood",
        "young lady",
        "barely legal",
        "littlegirl",
        "\uff47irl",
        "gi\u200brl",
        "g1rl",
        "ni\u00f1a",
        "m\u00e4dchen",
        "a kid's room",
    ],
)
def test_words_for_minors_are_found(prompt):
    assert names_minor(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "a church",
        "a 40 year old man",
        "an eighteen year old",
        "aged 45",
        "a nineteen fifties car",
        "3 penguins",
        "boycott the kidney",
        "an old woman",
        "steenbok",
        "18 years old",
    ],
)
def test_other_words_are_left_alone(prompt):
    assert not names_minor(prompt)


def test_rows_are_dropped_and_counted(tmp_path):
    table = pd.DataFrame({"prompt": ["a church", "a boy", "a tree"], "x": [1, 2, 3]})
    kept, lost = drop_minor_rows(table)
    assert list(kept["x"]) == [1, 3] and lost == 1
    path = tmp_path / "list.csv"
    path.write_text("prompt,evaluation_seed,evaluation_guidance\na church,7,7.5\na boy,8,7.5\n")
    loaded, lost = load_prompt_table(path)
    assert lost == 1 and loaded["seed"].tolist() == [7] and loaded["guidance"].tolist() == [7.5]


def test_a_users_table_takes_the_place_of_templates(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,seed\nthe chapel by a lake,11\na schoolgirl in a chapel,12\nan old church,13\n")
    concept = read(next(p for p in SHIPPED if p.stem == "church")).model_copy(update={"files": {"test": str(path)}})
    table, dropped = build_prompts(concept, PromptOptions(test=2))
    rows = table[(table["split"] == "test") & (table["set"] == "target")]
    assert dropped["minors"] == 1 and rows["prompt"].tolist() == ["the chapel by a lake", "an old church"]
    assert [(s["source"], s["read"], s["minors"], s["used"]) for s in dropped["sets"]] == [
        ("mine.csv", 3, 1, {"test": 2})
    ]
    assert rows["seed"].tolist() == [11, 13]
    twins = table[(table["split"] == "test") & (table["set"] == "neutral")]
    assert not twins["prompt"].str.contains("church").any()


def test_a_file_without_prompts_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text\nx\n")
    with pytest.raises(UserError, match="no column 'prompt'"):
        load_prompt_table(path)
    with pytest.raises(UserError, match="no prompt file"):
        load_prompt_table(tmp_path / "none.csv")
