"""What a run writes down of itself, what `kedro verify` finds, and what is stale and made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from excise.cache import fingerprint
from excise.cli import stale as stale_command
from excise.cli import verify
from excise.commands.jobs import open_job, runs_folder
from excise.commands.stale import find_stale, run_stale, spell_stale
from excise.commands.verify import Finding, check_files, verify_rows, verify_run
from excise.commands.verify.again import check_node
from excise.commands.verify.named import check_names
from excise.commands.verify.pictures import check_pictures
from excise.erasers import Eraser
from excise.pipelines import selection
from excise.provenance import content_of, file_sha256, read_run
from excise.provenance.contents import lasting
from excise.provenance.records import newest_run
from tiny import BUDGET, PROJECT

pytestmark = pytest.mark.jobs

# no P-X: the quickest; what ``auto`` becomes is settled when the model is first looked at
JOB = {"eraser": "conceptprune", "model": {"dtype": "auto", "offload": "auto"}}


@pytest.fixture(scope="module")
def project(make_project, run_job) -> Path:
    folder = make_project()
    run_job(folder, **JOB)
    return folder


@pytest.fixture(autouse=True)
def _restored():
    yield
    selection.set_selection(None, {})


def changed(project: Path, **parameters: Any):
    """The project's own parameters, with others over them while the block lasts."""
    file = project / "conf/local/parameters.yml"
    before = file.read_text()

    class Changed:
        def __enter__(self):
            file.write_text(yaml.safe_dump({**yaml.safe_load(before), **parameters}))

        def __exit__(self, *_):
            file.write_text(before)

    return Changed()


def stale(project: Path) -> dict[str, list[str]]:
    [state] = find_stale(project)[0]
    assert not state.error and not state.gone
    return {n: [str(c) for c in state.nodes[n]] for n in state.stale}


def test_every_stored_file_is_told_of_with_hashes_that_fit(project):
    run, nodes = read_run(project / "data/runs", newest_run(project / "data/runs"))
    told = {f.file: f for node in nodes for f in node.outputs.values()}
    stored = {p.relative_to(project).as_posix() for p in project.glob(f"data/0*/**/{run.id}/*")}
    assert set(told) == stored and len(stored) > 20
    assert all(
        f.sha256 == file_sha256(project / f.file) and f.content == content_of(project / f.file) for f in told.values()
    )
    made = {name for node in nodes for name in node.outputs}
    for node in nodes:  # whatever is read was made by this run: a fresh project has no other
        assert set(node.inputs) <= made and all(told[f.file] == f for f in node.inputs.values())
    assert run.params == JOB and run.seed == BUDGET["seed"] and run.environment["device"]["threads"] >= 1


def test_metrics_and_eraser_name_what_they_were_made_of(project):
    run = newest_run(project / "data/runs")
    base = project / "data/08_reporting/emoji64/person"
    metrics = json.loads((base / f"metrics.json/{run}/metrics.json").read_text())
    [table] = project.glob(f"data/03_primary/emoji64/person/prompts.parquet/{run}/*")
    [file] = project.glob(f"data/06_models/emoji64/person/conceptprune/eraser.safetensors/{run}/*")
    eraser = Eraser.load(file)
    prompts = fingerprint(pd.read_parquet(table))
    for made in (metrics["run"]["made_of"], eraser.header["made_of"]):
        assert made["prompts"] == prompts and set(made["judges"]) == {"concept", "second", "retain"}
        assert len(made["code"]) == len(made["lock"]) == 64 and made["device"]["type"] == "cpu"
    assert metrics["run"]["made_of"]["erasers"]["conceptprune"] == eraser.sha256
    html = (base / f"report.html/{run}/report.html").read_text()
    for hashed in (prompts, eraser.sha256, made["code"], made["lock"], metrics["detector"]["sha256"]):
        assert hashed in html


# verify --------------------------------------------------------------------------------------------------------------
def findings(project: Path, **how: Any) -> list[Finding]:
    return list(verify_run(project, newest_run(project / "data/runs"), **how))


def stored(project: Path, pattern: str) -> Path:
    [path] = project.glob(f"data/0*/emoji64/person/{pattern}")
    return path


@contextmanager
def tampered(project: Path, pattern: str, change: Callable[[Path], None], hide: bool = False) -> Iterator[None]:
    """A stored file that somebody changed; with ``hide`` whoever did put the new hash into the records, too."""
    path = stored(project, pattern)
    records = {p: p.read_text() for p in project.glob("data/runs/*/*.json")}
    before, old = path.read_bytes(), file_sha256(path)
    change(path)
    assert path.read_bytes() != before
    if hide:
        for record, text in records.items():
            record.write_text(text.replace(old, file_sha256(path)))
    try:
        yield
    finally:
        path.write_bytes(before)
        for record, text in records.items():
            record.write_text(text)


def test_what_was_not_touched_agrees_also_when_it_is_drawn_again(project):
    found = findings(project, redraw=10_000)  # more than there are
    assert not [str(f) for f in found if f.outcome == "differs"]
    assert {str(f) for f in found if f.outcome == "unchecked"} == set()
    said = " ".join(f.what for f in found if f.outcome == "agrees")
    for what in (
        "metrics.json",
        "person.metrics",
        "judgements, made again",
        "drawn again",
        "detections",
        "person.model",
        "typed_judgements, made again",
        "person.fidelity, made again",
        "typed_images: ",
    ):
        assert what in said


def worse(path: Path) -> None:
    """One score of a judgement file."""
    table = pd.read_parquet(path)
    table.loc[0, "score"] = 1 - table.loc[0, "score"] / 2
    table.to_parquet(path)


def better(path: Path) -> None:
    """One count of ``metrics.json``."""
    metrics = json.loads(path.read_text())
    metrics["erasers"]["conceptprune"]["attacks"]["plain"]["any_hits"] += 1
    path.write_text(json.dumps(metrics))


def other(path: Path) -> None:
    """Another mask, in a file that is sound."""
    eraser = Eraser.load(path)
    name = next(iter(eraser.pruned))
    pruned = {**eraser.pruned, name: ~eraser.pruned[name]}
    replace(eraser, pruned=pruned).save(path)


def broken(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def nearer(path: Path) -> None:
    """One distance to the base model's pictures."""
    fidelity = json.loads(path.read_text())
    fidelity["conceptprune"]["frechet"]["distance"] *= 0.9
    path.write_text(json.dumps(fidelity))


FIDELITY = "fidelity.json/*/fidelity.json"
JUDGEMENTS, METRICS = "conceptprune/plain/judgements.parquet/*/judgements.parquet", "metrics.json/*/metrics.json"
MODEL = "model.json/*/model.json"
ERASER = "conceptprune/eraser.safetensors/*/eraser.safetensors"


@pytest.mark.parametrize(("pattern", "change"), [(JUDGEMENTS, worse), (METRICS, better), (ERASER, other)])
def test_a_changed_file_has_another_hash_than_was_noted(project, pattern, change):
    _, records = read_run(project / "data/runs", newest_run(project / "data/runs"))
    with tampered(project, pattern, change):
        found = [f for f in check_files(project, records) if f.outcome == "differs"]
    assert [f.what for f in found] == [stored(project, pattern).relative_to(project).as_posix()]


@pytest.mark.parametrize(
    ("pattern", "change", "said"),
    [
        (JUDGEMENTS, worse, "plain.judgements, made again"),
        (METRICS, better, "attacks.plain.any_hits is"),
        (FIDELITY, nearer, "conceptprune.frechet.distance is"),
        (ERASER, other, "the eraser conceptprune, as metrics.json names it"),
        (ERASER, broken, "is damaged"),
    ],
)
def test_whoever_mends_the_records_too_is_found_by_what_is_made_again(project, pattern, change, said):
    with tampered(project, pattern, change, hide=True):
        run, records = read_run(project / "data/runs", newest_run(project / "data/runs"))
        found = [*check_files(project, records), *check_names(project, run, records)]
        if pattern != ERASER:
            wanted = {JUDGEMENTS: "judge_concept", FIDELITY: "measure_fidelity"}.get(pattern, "summarise_run")
            with open_job(project, run) as job:
                for record in (r for r in records if r.node.endswith(wanted)):
                    found += check_node(run, record, job)
    assert any(said in str(f) for f in found if f.outcome == "differs")


def test_a_picture_that_was_swapped_is_found(project):
    manifest = pd.read_parquet(stored(project, "none/plain/manifest.parquet/*/manifest.parquet"))
    drawn = project.glob(f"data/cache/images-*/{manifest['file'][0]}")
    [folder] = {p.parent for p in drawn if file_sha256(p) == manifest["sha256"][0]}
    picture = folder / manifest["file"][0]
    before = picture.read_bytes()
    run, records = read_run(project / "data/runs", newest_run(project / "data/runs"))
    by_name = {r.node: r for r in records}
    with open_job(project, run) as job:
        picture.write_bytes((folder / manifest["file"][1]).read_bytes())
        found = [*check_pictures(by_name["person.none.plain.draw_plain"], job)]
        found += check_node(run, by_name["person.none.plain.judge_concept"], job)
        picture.write_bytes(before)
    said = [str(f) for f in found if f.outcome == "differs"]
    assert any("it is not the picture that was drawn" in sentence for sentence in said)
    assert any("person.none.plain.judgements, made again" in sentence for sentence in said)


def test_the_command_ends_with_1_where_something_differs(project):
    def run(*arguments: str):
        return CliRunner().invoke(verify, [*arguments, "--no-rejudge"], obj=SimpleNamespace(project_path=project))

    with tampered(project, METRICS, better):
        found = run(stored(project, METRICS).relative_to(project).as_posix())
    assert found.exit_code == 1 and found.output.splitlines()[0] == f"Run {newest_run(project / 'data/runs')}"
    assert ", 2 differ, " in found.output.splitlines()[-1] and "unchecked judgements" in found.output
    fine = CliRunner().invoke(verify, ["docs/results.json"], obj=SimpleNamespace(project_path=PROJECT))
    assert fine.exit_code == 0 and ", 0 differ, " in fine.output
    wrong = run("data/nothing.json")
    assert wrong.exit_code == 1 and "neither a run nor a file 'data/nothing.json'" in wrong.output


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def holds(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


def without(*keys: str) -> Callable[[Path], None]:
    """A JSON file of which one entry is gone."""

    def change(path: Path) -> None:
        data = part = json.loads(path.read_text())
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        path.write_text(json.dumps(data))

    return change


PROMPTS, CONCEPT = "prompts.parquet/*/prompts.parquet", "concept.json/*/concept.json"
DAMAGES = [
    (METRICS, half),
    (METRICS, holds("[]")),
    (METRICS, without("run")),
    (METRICS, without("run", "made_of", "erasers")),
    (PROMPTS, half),
    (CONCEPT, half),
    (CONCEPT, holds("{}")),
    (MODEL, holds("[1]")),
    (ERASER, broken),
]


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_a_damaged_file_is_told_and_what_rests_on_it_is_left_unchecked(project, number):
    pattern, change = DAMAGES[number]
    run = newest_run(project / "data/runs")
    with tampered(project, pattern, change):
        found = CliRunner().invoke(verify, [run, "--no-rejudge"], obj=SimpleNamespace(project_path=project))
        place = stored(project, pattern).relative_to(project).as_posix()
    lines = found.output.splitlines()
    assert isinstance(found.exception, SystemExit) and found.exit_code == 1
    assert "checks agree" in lines[-1] and any(line.startswith(f"differs   {place}: ") for line in lines)
    reasons = [line for line in lines if line.startswith("unchecked") and place in line]
    assert reasons and all("is not the file that was written" in line for line in reasons)
    others = [line for line in lines if line.startswith("differs") and "made again" not in line]
    assert len(others) == 1  # the file itself, and nothing that only reads it


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_a_damaged_file_whose_record_was_mended_stops_no_check(project, number):
    pattern, change = DAMAGES[number]
    with tampered(project, pattern, change, hide=True):
        found = findings(project, rejudge=False)
    assert any(f.outcome != "agrees" and f.what != "judgements" for f in found)
    assert any(f.outcome == "differs" for f in found)


@pytest.mark.parametrize("text", [None, "{", "{}", "[1]", '[{"concept": "person"}]'])
def test_a_file_that_holds_no_rows_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "docs").mkdir()
    if text is not None:
        (tmp_path / "docs/rows.json").write_text(text)
    found = CliRunner().invoke(verify, ["docs/rows.json"], obj=SimpleNamespace(project_path=tmp_path))
    sentence = "There is no file" if text is None else "is damaged or no table of committed rows"
    assert found.exit_code == 1 and len(found.output.splitlines()) == 1 and sentence in found.output


def test_committed_rows_are_counted_again(tmp_path):
    for name in ("results", "benchmark"):
        assert [f.outcome for f in verify_rows(PROJECT / f"docs/{name}.json")] == ["agrees", "unchecked"]
    rows = json.loads((PROJECT / "docs/results.json").read_text())
    [told] = verify_rows(PROJECT / "docs/ablations.json")  # counts without verdicts
    assert told.outcome == "unchecked" and "no verdicts" in str(told)
    rows[7]["hits"] += 1
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    found = [str(f) for f in verify_rows(tmp_path / "rows.json") if f.outcome == "differs"]
    assert len(found) == 1 and f"hits is {rows[7]['hits']}, and verdicts say {rows[7]['hits'] - 1}" in found[0]


# stale ---------------------------------------------------------------------------------------------------------------
def test_nothing_is_stale_after_a_run(project):
    assert stale(project) == {}
    assert "0 changed, 0 follow" in next(spell_stale(*find_stale(project)))


def test_a_parameter_makes_stale_what_reads_it_and_what_follows(project):
    with changed(project, draw={**BUDGET["draw"], "steps": 3}):
        found = stale(project)
    direct = {n: reasons for n, reasons in found.items() if reasons}
    assert {n.rpartition(".")[2] for n in direct} >= {"draw_plain", "draw_attacked", "draw_typed"}
    assert all(reasons == ["parameter draw.steps changed (2 -> 3)"] for reasons in direct.values())
    assert "person.summarise_run" in found and "person.none.plain.judge_concept" in found
    assert not {"person.prepare", "person.make_prompts", "person.conceptprune.train_unpruned"} & set(found)


@pytest.mark.slow
def test_a_concepts_words_make_stale_what_reads_them_and_another_concepts_do_not(project):
    for name in ("church", "person"):
        file = project / f"conf/base/concepts/{name}.yml"
        before = file.read_text()
        file.write_text(
            "# a remark\n"
            + yaml.safe_dump(yaml.safe_load(before) | {name: yaml.safe_load(before)[name] | {"anchor": "a stone"}})
        )
        found = stale(project)
        file.write_text(before)
        assert bool(found) == (name == "person")
    assert found["person.find_concept"] == ["input the concept's description changed"]


def test_a_rooms_code_makes_stale_what_leads_to_it(project, monkeypatch):
    from excise.provenance import code

    real = code._digests

    def other(parts):
        found = real(parts)
        return {room: "other" if room == "excise.metrics" else mark for room, mark in found.items()}

    monkeypatch.setattr(code, "_digests", other)
    found = stale(project)
    assert found["person.summarise_run"] == ["code of excise.metrics changed"]
    readers = {"summarise_run", "measure_fidelity", "check_judge"}
    assert set(found) == {f"person.{name}" for name in (*readers, "draw_rates", "write_report")}


@pytest.mark.slow
def test_a_lost_file_and_a_newer_version_without_record_are_told(project):
    [sheet] = project.glob("data/08_reporting/emoji64/person/contact_sheet.png/*/contact_sheet.png")
    away = sheet.parent.rename(project / "away")
    assert "person.draw_contact_sheet" not in stale(project)  # nothing is there, so nothing is stale
    away.rename(sheet.parent)
    newer = sheet.parents[1] / "2999-01-01T00.00.00.000Z"
    newer.mkdir()
    (newer / sheet.name).write_bytes(sheet.read_bytes())
    untold = find_stale(project)[1]
    (newer / sheet.name).unlink(), newer.rmdir()
    assert untold == [(newer / sheet.name).relative_to(project).as_posix()]


@pytest.mark.parametrize(
    ("pattern", "change", "maker", "result", "reader"),
    [
        (METRICS, half, "summarise_run", "metrics", "write_report"),
        (ERASER, half, "conceptprune.train_unpruned", "conceptprune.eraser", "summarise_run"),
        (ERASER, other, "conceptprune.train_unpruned", "conceptprune.eraser", "conceptprune.plain.draw_plain"),
        (PROMPTS, half, "make_prompts", "prompts", "none.plain.draw_plain"),
    ],
)
def test_a_changed_or_damaged_result_makes_its_maker_stale_and_what_reads_it(
    project, pattern, change, maker, result, reader
):
    with tampered(project, pattern, change):
        found = stale(project)
        said = "\n".join(spell_stale(*find_stale(project)))
    assert f"result person.{result} was changed or is damaged" in found[f"person.{maker}"]
    assert f"person.{reader}" in found and f"result person.{result} was changed or is damaged: person.{maker}" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--env=nope"], "There is no environment 'nope'"),
        (["--run", "--params=zz=1"], "With --run neither --env nor --params is taken"),
        (["--run", "--env=local"], "With --run neither --env nor --params is taken"),
    ],
)
def test_what_stale_cannot_take_is_refused_before_anything_is_listed(project, arguments, sentence):
    found = CliRunner().invoke(stale_command, arguments, obj=SimpleNamespace(project_path=project))
    assert found.exit_code == 1 and found.output.startswith(f"Error: {sentence}")


@pytest.mark.parametrize("params", [{"prune": {"nonsense": 1}}, {"prompts": {"fit": 1}}])
def test_a_command_whose_parameters_are_no_longer_known_is_told_and_hides_nothing(project, params):
    [path] = project.glob("data/runs/*/run.json")
    before = path.read_text()
    run = json.loads(before)
    path.write_text(json.dumps(run | {"params": run["params"] | params}))
    try:
        [state] = find_stale(project)[0]
        assert next(iter(params)) in state.error and "\n" not in state.error
        [told] = [f for f in findings(project) if f.what == "what is counted and judged"]
        assert told.outcome == "unchecked" and told.detail == state.error
    finally:
        path.write_text(before)


def test_records_are_found_where_the_configuration_puts_them(project):
    settings = project / "conf/local/globals.yml"
    before = settings.read_text() if settings.exists() else None
    assert runs_folder(project) == project / "data/runs"
    settings.write_text((before or "") + "\nruns: data/elsewhere\n")
    try:
        assert runs_folder(project) == project / "data/elsewhere"
    finally:
        settings.write_text(before) if before is not None else settings.unlink()


def test_a_damaged_result_is_made_again_before_it_is_read(project):
    eraser = stored(project, ERASER)
    half(eraser)
    list(run_stale(project, find_stale(project)[0]))
    run, records = read_run(project / "data/runs", newest_run(project / "data/runs"))
    assert "person.conceptprune.train_unpruned" in {record.node for record in records}
    read = {n: f.file for record in records for n, f in record.inputs.items()}
    assert f"/{run.id}/" in read["person.conceptprune.eraser"]
    assert stale(project) == {}


def test_stale_results_alone_are_made_again_from_what_is_current(project):
    """Last, since it leaves a newer run."""
    file = project / "conf/local/parameters.yml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "draw": {**BUDGET["draw"], "steps": 3}}))
    first = newest_run(project / "data/runs")
    states, _ = find_stale(project)
    expected = {name for state in states for name in state.stale}
    told = list(run_stale(project, states))
    second = newest_run(project / "data/runs")
    assert second > first and f"{len(expected)} steps" in told[0]
    _, nodes = read_run(project / "data/runs", second)
    assert {node.node for node in nodes} == expected
    read = {f.file for node in nodes for f in node.inputs.values()}
    assert any(f"/{first}/" in file for file in read) and any(f"/{second}/" in file for file in read)
    assert stale(project) == {}


def test_results_are_not_made_again_on_what_another_command_has_made_since(project):
    """They would be taken for results of a command whose parameters were others."""
    from kedro.framework.session import KedroSession
    from kedro.runner import SequentialRunner

    fewer = {**JOB, "prompts": {"test": 3}}
    with KedroSession.create(project, runtime_params=fewer) as session:
        session.run(pipeline_names=["erase_nsfw"], node_names=["person.make_prompts"], runner=SequentialRunner())
    states, untold = find_stale(project)
    told = list(spell_stale(states, untold))
    (older,) = [state for state in states if "prompts" not in state.run.params]
    assert older.superseded and older.stale == []
    assert any("rest on results that another command has made since (person.make_prompts, parameter" in t for t in told)
    assert list(run_stale(project, states)) == []


def test_a_run_that_only_read_metrics_is_not_asked_for_what_they_name(project, run_job):
    before = newest_run(project / "data/runs")
    run_job(project, nodes=["person.draw_rates"], **JOB)
    _, records = read_run(project / "data/runs", newest_run(project / "data/runs"))
    assert newest_run(project / "data/runs") > before and [r.node for r in records] == ["person.draw_rates"]
    assert "person.metrics" in records[0].inputs
    found = findings(project, rejudge=False)
    assert not [str(f) for f in found if f.outcome == "differs"]


@pytest.mark.slow
def test_steps_that_the_command_did_not_have_then_are_made_too(project):
    """As a run of an earlier version, which knew nothing of typed text."""
    for kind in ("typed_manifest", "typed_judgements"):
        for folder in project.glob(f"data/07_model_output/**/{kind}.parquet"):
            shutil.rmtree(folder)
    for record in project.glob("data/runs/*/*.json"):
        told = json.loads(record.read_text())
        if "typed" in str(told.get("node", "")):
            record.unlink()
        elif inputs := {k: v for k, v in told.get("inputs", {}).items() if "typed" not in k}:
            record.write_text(json.dumps(told | {"inputs": inputs}))
    found = stale(project)
    for model in ("none", "conceptprune"):
        for step in ("draw_typed", "judge_typed"):
            assert found[f"person.{model}.unlearndiffatk.{step}"] == ["the command has it since"]
    assert "person.summarise_run" in found and "person.none.plain.draw_plain" not in found
    list(run_stale(project, find_stale(project)[0]))
    assert stale(project) == {}


def test_what_was_made_again_equals_a_whole_run(project, run_job):
    """Second computation of what the tests above have left."""
    mended = json.loads(max(project.glob(f"data/08_reporting/emoji64/person/{METRICS}")).read_text())
    assert lasting(mended) == lasting(run_job(project, **JOB))
