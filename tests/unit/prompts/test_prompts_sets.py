"""Prompt sets: small harmless files of the same columns as the published ones."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from excise.concepts import Concept, PromptSource, load_concept
from excise.errors import UserError
from excise.pipelines.prepare.nodes import make_prompts
from excise.prompts import PromptOptions, build_prompts, load_set, prompt_sets
from excise.prompts.build import neutral_twin
from excise.prompts.sets import check_source, same_wording, share_out
from excise.prompts.sets.share import SHARES, split_of
from tiny import PROJECT

THINGS = ("harbour", "mill", "garden", "bridge", "market", "tower", "field", "river", "road", "wall", "roof", "gate")
CHURCH = yaml.safe_load((PROJECT / "conf/base/concepts/church.yml").read_text())["church"]


def church(**other) -> Concept:
    return Concept(name="church", **CHURCH, **other)


def rows_of(name: str, n: int) -> pd.DataFrame:
    """Made-up rows with all columns of a published set."""
    columns = prompt_sets()[name].columns
    table = pd.DataFrame(
        {columns.prompt[0]: [f"an old church near the {THINGS[i % 12]} {'x' * (i // 12)}" for i in range(n)]}
    )
    for given, start in ((columns.seed, 1000), (columns.guidance, 7)):
        if given:
            table[given[0]] = [start + i % 5 for i in range(n)]
    for i, column in enumerate(columns.other):
        table[column] = [f"{column}, b{j}" if column == "categories" else j * (i + 1) for j in range(n)]
    return table.rename(columns={}).assign(**{"Unnamed: 0": range(n)})


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False)
    return path


def test_every_set_says_where_it_is_and_what_it_has():
    assert set(prompt_sets()) >= {"i2p", "unlearndiffatk", "p4d", "ring_a_bell", "mma", "coco", "artists", "own"}
    for known in prompt_sets().values():
        assert known.about and known.place and known.columns.prompt
        assert all(len(digest) == 64 and int(digest, 16) for digest in known.known)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("name", [n for n in ("i2p", "unlearndiffatk", "p4d", "ring_a_bell", "mma", "coco", "artists")])
def test_a_file_of_the_same_columns_is_read(tmp_path, name, suffix):
    raw, known = rows_of(name, 6), prompt_sets()[name]
    path = write(raw, tmp_path / f"rows{suffix}")
    table, account = load_set(PromptSource(set=name, file=str(path)))
    wanted = [known.template.replace("{prompt}", p).strip() for p in raw[known.columns.prompt[0]]]
    assert table["prompt"].tolist() == [" ".join(w.split()) if suffix == ".csv" else w for w in wanted] or (
        [w.strip() for w in table["prompt"]] == [w.strip() for w in wanted]
    )
    assert (
        table["seed"].tolist() == raw[known.columns.seed[0]].tolist()
        if known.columns.seed
        else table["seed"].isna().all()
    )
    if known.columns.guidance:
        assert table["guidance"].tolist() == raw[known.columns.guidance[0]].tolist()
    else:
        assert table["guidance"].isna().all()
    assert account.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and account.published == ""
    assert (account.read, account.kept, account.minors, account.source) == (6, 6, 0, path.name)


def test_a_list_of_names_is_one_a_line(tmp_path):
    path = tmp_path / "artists.txt"
    path.write_text("Claude Monet\n\nPaul Cezanne \nclaude monet\n", encoding="utf-8")
    table, account = load_set(PromptSource(set="artists", file=str(path)))
    assert table["prompt"].tolist() == ["a painting by Claude Monet", "a painting by Paul Cezanne"]
    assert (account.read, account.empty, account.duplicates, account.kept) == (4, 1, 1, 2)
    other, _ = load_set(PromptSource(set="artists", file=str(path), template="a house in the style of {prompt}"))
    assert other["prompt"][0] == "a house in the style of Claude Monet"


def test_every_row_is_accounted_for(tmp_path):
    table = pd.DataFrame(
        {
            "prompt": [
                "a church",
                "A church!",
                None,
                "  ",
                "a g1rl in a church",
                "word " * 80,
                "a chapel",
                "a hut",
                "a mill",
            ],
            "nudity_percentage": [3, 3, 3, 3, 3, 3, 3, 0, None],
        }
    )
    path = write(table, tmp_path / "i2p.csv")
    kept, account = load_set(PromptSource(set="i2p", file=str(path), where={"nudity_percentage": "> 0"}))
    assert kept["prompt"].tolist() == ["a church", "a chapel"]
    told = account.model_dump()
    lost = {k: told[k] for k in ("not_chosen", "empty", "minors", "too_long", "duplicates")}
    assert lost == {"not_chosen": 2, "empty": 2, "minors": 1, "too_long": 1, "duplicates": 1}
    assert account.read == sum(lost.values()) + account.kept == 9
    said = account.sentence()
    assert "9 rows read" in said and "1 with words for minors" in said and account.sha256[:12] in said
    assert "g1rl" not in said


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({}, [0, 1, 2, 3]),
        ({"nudity_percentage": "> 50"}, [2, 3]),
        ({"nudity_percentage": ">= 50"}, [1, 2, 3]),
        ({"nudity_percentage": "<50", "hard": 1}, [0]),
        ({"hard": 0}, [1, 2]),
        ({"categories": "Sexual"}, [1, 3]),
        ({"CATEGORIES": "shocking", "hard": 1}, [3]),
    ],
)
def test_rows_are_chosen_by_columns(tmp_path, where, kept):
    table = pd.DataFrame(
        {
            "prompt": ["mill", "tower", "bridge", "gate"],
            "nudity_percentage": [0.0, 50.0, 80.5, 100.0],
            "hard": [1, 0, 0, 1],
            "categories": ["hate", "sexual", "self-harm", "sexual, shocking"],
        }
    )
    path = write(table, tmp_path / "i2p.csv")
    found, _ = load_set(PromptSource(set="i2p", file=str(path), where=where))
    assert found["prompt"].tolist() == table["prompt"].iloc[kept].tolist()


def test_a_published_file_is_known_by_its_hash(tmp_path, monkeypatch):
    path = write(rows_of("coco", 3), tmp_path / "coco.csv")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(prompt_sets()["coco"].known, digest, "the usual list")
    _, account = load_set(PromptSource(set="coco", file=str(path)))
    assert account.published == "the usual list" and "the published the usual list" in account.sentence()


# refusals -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"set": "i2pp", "file": "rows.csv"}, "no prompt set 'i2pp': did you mean 'i2p'"),
        ({"set": "i2p", "file": "none.csv"}, "no prompt file .*download i2p_benchmark.csv"),
        ({"set": "i2p", "file": "rows.xls"}, "rows.xls is no prompt file.*\\.csv"),
        ({"set": "mma", "file": "rows.csv"}, "rows.csv has no column 'adv_prompt' .it has text"),
        ({"set": "own", "file": "text.csv", "where": {"hard": 1}}, "no column 'hard' to choose rows by"),
        ({"set": "own", "file": "broken.parquet"}, "broken.parquet cannot be read as .parquet"),
        ({"set": "unlearndiffatk"}, "not here: download prompts/NAME.csv .*'file' in the concept's 'prompts_from'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("text\nx\n")
    Path("text.csv").write_text("prompt\nx\n")
    Path("rows.xls").write_text("x")
    Path("broken.parquet").write_text("x")
    with pytest.raises(UserError, match=said) as told:
        load_set(PromptSource(**source))
    assert "\n" not in str(told.value)


def test_without_the_library_the_hub_is_not_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"download i2p_benchmark\.csv.*or install 'excise\[sets\]'"):
        check_source(PromptSource(set="i2p"))


def test_a_hub_that_cannot_be_reached_is_named(monkeypatch):
    class Offline:
        @staticmethod
        def load_dataset(*args, **how):
            raise ConnectionError("no route\nto the hub")

    monkeypatch.setitem(sys.modules, "datasets", Offline)
    with pytest.raises(UserError, match=r"does not give the set 'i2p' \(no route\): .*download"):
        load_set(PromptSource(set="i2p"))


def test_a_table_from_the_hub_is_filtered_and_has_a_hash(monkeypatch):
    asked = {}

    class Hub:
        @staticmethod
        def load_dataset(name, **how):
            asked.update(name=name, **how)
            return type(
                "Table",
                (),
                {"to_pandas": lambda self: pd.DataFrame({"prompt": ["a mill", "a b0y"], "sd_seed": [4, 5]})},
            )()

    monkeypatch.setitem(sys.modules, "datasets", Hub)
    table, account = load_set(PromptSource(set="i2p"))
    assert asked == {"name": "AIML-TUDA/i2p", "revision": None, "split": "train"}
    assert table["prompt"].tolist() == ["a mill"] and table["seed"].tolist() == [4]
    assert account.minors == 1 and len(account.sha256) == 64 and account.source == "AIML-TUDA/i2p"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"prompts_from": {"set": "i2p", "where": {"hard": [1]}}}, "prompts_from.where"),
        ({"prompts_from": {"set": "i2p", "sett": "x"}}, "prompts_from.sett"),
        ({"prompts_from": {"set": "i2p", "splits": []}}, "prompts_from.splits"),
        ({"prompts_from": {"set": "artists", "template": "by {name}"}}, "has no {prompt} in it"),
        (
            {"prompts_from": {"set": "i2p"}, "files": {"test": "x.csv"}},
            "split test is given by files and by prompts_from",
        ),
    ],
)
def test_a_concept_that_names_its_set_wrongly_is_refused(other, said):
    with pytest.raises(UserError, match=said):
        load_concept("church", {"church": CHURCH | other})


# splits and twins -----------------------------------------------------------------------------------------------------
def test_splits_share_no_wording_and_rows_stay_where_they_are():
    table = pd.DataFrame({"prompt": [f"the {a} by the {b}" for a in THINGS for b in THINGS]})
    few, all_of_them = dict.fromkeys(SHARES, 5), dict.fromkeys(SHARES, 1000)
    parts = share_out(table, list(SHARES), all_of_them, seed=0)
    assert sum(map(len, parts.values())) == len(table)
    worded = [set(map(same_wording, part["prompt"])) for part in parts.values()]
    assert not worded[0] & worded[1] and not worded[0] & worded[2] and not worded[1] & worded[2]
    sizes = {s: len(p) / len(table) for s, p in parts.items()}
    assert all(abs(sizes[s] - share) < 0.1 for s, share in SHARES.items())
    half = share_out(table.iloc[::2], list(SHARES), all_of_them, seed=0)
    assert all(set(half[s]["prompt"]) <= set(parts[s]["prompt"]) for s in SHARES)
    shouted = share_out(table.assign(prompt=table["prompt"].str.upper() + "!"), list(SHARES), all_of_them, seed=0)
    assert all(
        set(map(same_wording, shouted[s]["prompt"])) == set(map(same_wording, parts[s]["prompt"])) for s in SHARES
    )
    samples = [share_out(table, list(SHARES), few, seed=s)["test"]["prompt"].tolist() for s in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2] and all(len(s) == 5 for s in samples)
    assert {split_of(p, ["test"]) for p in table["prompt"]} == {"test"}


def test_a_set_takes_the_place_of_templates_in_its_splits_only(tmp_path, caplog):
    path = write(rows_of("i2p", 60), tmp_path / "i2p.csv")
    concept = church(prompts_from={"set": "i2p", "file": str(path), "splits": ["tune", "test"]})
    options = PromptOptions(fit=6, tune=5, test=7)
    with caplog.at_level(logging.INFO, "excise"):
        table, counts = make_prompts(concept.model_dump(mode="json"), options, seed=0)  # the node; it says what it took
    target = table[table["set"] == "target"]
    assert target.groupby("split").size().to_dict() == {"fit": 6, "tune": 5, "test": 7}
    of_set = target[target["split"] != "fit"]
    assert of_set["prompt"].str.startswith("an old church near the").all() and of_set["seed"].between(1000, 1004).all()
    assert of_set["guidance"].between(7, 11).all() and target[target["split"] == "fit"]["guidance"].isna().all()
    assert not target["prompt"].map(same_wording).duplicated().any()
    [told] = counts["sets"]
    assert told["used"] == {"tune": 5, "test": 7} and told["read"] == 60 and told["kept"] == 60
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "60 rows read" in caplog.text and "7 in test" in caplog.text
    json.dumps(counts)
    twins = table.set_index("prompt_id")
    for _, row in of_set.iterrows():
        twin = twins.loc[row["twin_id"]]
        assert "house" in twin["prompt"] and "church" not in twin["prompt"] and twin["seed"] == row["seed"]
    pd.testing.assert_frame_equal(table, build_prompts(concept, options)[0])


def test_a_set_does_not_say_again_what_a_template_says(tmp_path):
    fit = build_prompts(church(), PromptOptions(fit=6))[0]
    said = fit[(fit["set"] == "target") & (fit["split"] == "fit")]["prompt"].tolist()
    rows = pd.DataFrame({"prompt": [*[p.upper() for p in said], "an old church", "a white chapel", "a chapel at noon"]})
    path = write(rows, tmp_path / "own.csv")
    table, counts = build_prompts(church(files={"test": str(path)}), PromptOptions(fit=6, test=9))
    test = table[(table["set"] == "target") & (table["split"] == "test")]
    assert test["prompt"].tolist() == ["an old church", "a white chapel", "a chapel at noon"]
    assert counts["sets"][0]["duplicates"] == 6 and counts["sets"][0]["kept"] == 3


def test_minors_are_dropped_from_sets_with_their_twins_and_counted(tmp_path):
    path = tmp_path / "own.jsonl"
    rows = ["a church", "a church with a gi rl", "an enfant in a church", "a chapel", "сhildren in a church"]
    path.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in rows))
    table, counts = build_prompts(church(files={"test": str(path)}), PromptOptions())
    test = table[(table["split"] == "test") & table["set"].isin(["target", "neutral"])]
    assert counts["minors"] == counts["sets"][0]["minors"] == 3 and len(test) == 4


def test_a_set_with_too_few_rows_for_a_split_is_refused(tmp_path):
    path = write(pd.DataFrame({"prompt": ["a church", "a girl"]}), tmp_path / "own.csv")
    with pytest.raises(UserError, match=r"own\.csv leaves 1 prompts for the split test of concept 'church'"):
        build_prompts(church(files={"test": str(path)}), PromptOptions())


@pytest.mark.parametrize(
    ("prompt", "twin"),
    [
        ("an old church by a lake", "an old house by a lake"),
        ("Church, CHAPEL and cathedral", "house, house and house"),
        ("a building with a steeple", "a house"),  # none of its words: the anchor as a whole
        ("church", "house"),
        ("the chapel in a cathedral", "the house in a house"),
        ("a house of worship at night", "a house at night"),
        ("churchyard", "a house"),
    ],
)
def test_the_twin_of_a_free_prompt(prompt, twin):
    assert neutral_twin(church(), prompt) == twin


@pytest.mark.parametrize("word", ["Mickey Mouse™", "Mickey Mouse (R)", "Ümit", "a.b"])
def test_a_word_that_ends_with_a_sign_is_replaced_whole(word):
    words = {"fit": ["kirk"], "tune": ["dome"], "test": [word]}
    concept = Concept(name="church", **CHURCH | {"target": words, "erase": "Mickey", "anchor": "a dog"})
    assert neutral_twin(concept, f"a photo of {word} in a park") == "a photo of dog in a park"
    assert neutral_twin(concept, f"the {word}!") == "the dog!"


def test_the_twin_of_a_style_may_be_the_empty_prompt():
    fluent = yaml.safe_load((PROJECT / "conf/base/concepts/fluent.yml").read_text())["fluent"]
    concept = Concept(name="fluent", **fluent)
    assert neutral_twin(concept, "a mill in glossy style, at noon") == "a mill, at noon"
    assert neutral_twin(concept, "a shiny mill") == "" and neutral_twin(concept, "in glossy style") == ""


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("seed", "99999999999999999999"), ("seed", "-3"), ("seed", "lots"), ("seed", "7.5")),
        *(("guidance", "inf"), ("guidance", "-7"), ("guidance", "1e9"), ("guidance", "strong")),
    ],
)
def test_seeds_and_guidance_that_nothing_can_draw_with_are_refused(tmp_path, column, value):
    path = tmp_path / "mine.csv"
    path.write_text(f"prompt,{column}\nan old church,3\na chapel,{value}\n")
    with pytest.raises(UserError, match=rf"mine.csv, row 2: '{column}' is .*, and it must be a .*number from 0 to"):
        load_set(PromptSource(set="own", file=str(path)))


def test_a_row_without_seed_or_guidance_has_none(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,seed,guidance\nan old church,3,\na chapel, ,255\na mill,4.0,7.5\n")
    table, _ = load_set(PromptSource(set="own", file=str(path)))
    assert table["seed"].fillna(-1).tolist() == [3, -1, 4] and table["guidance"].fillna(-1).tolist() == [-1, 255, 7.5]


def test_a_parquet_file_with_an_index_of_words_is_read(tmp_path):
    path = tmp_path / "mine.parquet"
    rows = pd.DataFrame({"prompt": ["an old church", "a chapel"], "seed": [3, 4]}, index=["first", "second"])
    rows.to_parquet(path)
    assert load_set(PromptSource(set="own", file=str(path)))[0]["seed"].tolist() == [3, 4]
    rows.assign(seed=[3, -4]).to_parquet(path)
    with pytest.raises(UserError, match="row 2: 'seed' is -4"):
        load_set(PromptSource(set="own", file=str(path)))


@pytest.mark.parametrize(
    "text",
    ["prompt\na portrait, of a girl, oil\na red house, in snow, at dusk\n", "prompt,seed\na red house,5,\na tree,6,\n"],
)
def test_no_prompt_is_cut_at_its_commas_without_a_word(tmp_path, text):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="more fields than its first line names: put prompts with commas in quotes"):
        load_set(PromptSource(set="own", file=str(path)))


def test_what_is_no_seed_is_taken_for_none(tmp_path):
    rows = pd.DataFrame({"prompt": ["an old church", "a chapel"]})
    for seeds in ([True, False], pd.to_datetime(["2020-01-02", "2020-01-03"]), [3, 2**53]):
        path = tmp_path / "mine.parquet"
        rows.assign(seed=seeds).to_parquet(path)
        with pytest.raises(UserError, match="it must be a whole number"):
            load_set(PromptSource(set="own", file=str(path)))


def test_words_that_pandas_takes_for_nothing_are_prompts(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,Prompt\nNone,a\nNA,b\nnull,c\n,d\n")
    table, account = load_set(PromptSource(set="own", file=str(path)))
    assert table["prompt"].tolist() == ["None", "NA", "null"] and account.empty == 1  # of two columns the first


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path):
    for name, text in (("a.jsonl", '{"prompt": "a mill"}\n'), ("a.csv", "prompt\na mill\n"), ("a.txt", "a mill\n")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert load_set(PromptSource(set="own", file=str(tmp_path / name)))[0]["prompt"].tolist() == ["a mill"]


@pytest.mark.parametrize("wanted", ["1", 1, "== 1", "==1.0", ">.5", ">= 1"])
def test_rows_are_chosen_by_a_number_in_any_way_to_write_it(tmp_path, wanted):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,hard\nan old church,1\na chapel,0\na mill,\n")
    table, account = load_set(PromptSource(set="own", file=str(path), where={"hard": wanted}))
    assert table["prompt"].tolist() == ["an old church"] and account.not_chosen == 2
