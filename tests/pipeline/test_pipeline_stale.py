"""What a run writes down of itself, which results are stale and why, and that only those are made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from excise.commands.stale import find_stale, run_stale, spell_stale
from excise.pipelines import selection
from excise.provenance import content_of, file_sha256, read_run
from excise.provenance.contents import lasting
from excise.provenance.records import newest_run
from tiny import BUDGET

JOB = {"eraser": "conceptprune"}  # no P-X: the quickest


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
    import pandas as pd

    from excise.cache import fingerprint
    from excise.erasers import Eraser

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


def test_nothing_is_stale_after_a_run(project):
    assert stale(project) == {}
    assert "0 changed, 0 follow" in next(spell_stale(*find_stale(project)))


def test_a_parameter_makes_stale_what_reads_it_and_what_follows(project):
    with changed(project, draw={**BUDGET["draw"], "steps": 3}):
        found = stale(project)
    direct = {n: reasons for n, reasons in found.items() if reasons}
    assert {n.rpartition(".")[2] for n in direct} >= {"draw_plain", "draw_attacked"}
    assert all(reasons == ["parameter draw.steps changed (2 -> 3)"] for reasons in direct.values())
    assert "person.summarise_run" in found and "person.none.plain.judge_concept" in found
    assert not {"person.prepare", "person.make_prompts", "person.conceptprune.train_unpruned"} & set(found)


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


@pytest.mark.slow
def test_what_was_made_again_equals_a_whole_run(project, run_job):
    """Second computation of what the test above has left."""
    second = newest_run(project / "data/runs")
    mended = json.loads((project / f"data/08_reporting/emoji64/person/metrics.json/{second}/metrics.json").read_text())
    assert lasting(mended) == lasting(run_job(project, **JOB))
