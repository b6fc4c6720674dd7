"""The study on a tiny model: its grid, its rows, and that nothing finished is made twice."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError
from statsmodels.stats.proportion import proportion_confint

from excise.cache import Cache
from excise.concepts.concept import JudgeSpec
from excise.erasers import EraserOptions
from excise.errors import UserError
from excise.judges import make_judge
from excise.metrics.paired import score_interval
from excise.models import ModelSpec
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.study_pruning.crew import Crew
from excise.pipelines.study_pruning.nodes import laid_over, plan_shops, settings_of
from excise.pipelines.study_pruning.pairs import paired_interval
from excise.pipelines.study_pruning.plan import Cell, StudyOptions, plan_cells
from excise.pipelines.study_pruning.shops import Shops
from excise.pipelines.study_pruning.tables import _interval
from excise.pipelines.study_pruning.workshop import Workshop
from tiny import BUDGET, JUDGE

pytestmark = pytest.mark.jobs

ROOT = Path(__file__).parents[2]
STUDY = {
    "concepts": ["person"],
    "attacks": ["unlearndiffatk"],
    "erasers": {
        "esd": {
            **{"seeds": [1, 2], "variants": ["unpruned", "plus", "learned"]},
            "once": ["plus_plain", "learned_plain", "scored", "random", "learned_alone", "random_alone"],
        },
        "conceptprune": {"variants": ["unpruned"]},
    },
    "silence": {"share": 0.2, "draws": 2},
    "prompts": BUDGET["prompts"],
    "draw": BUDGET["draw"],
}
KEYS = {
    *("concept", "kind", "eraser", "variant", "attack", "seed", "n", "hits", "dropped", "failed"),
    *("retain_near", "retain_far", "retain_n", "prune_rate", "mask_bytes", "seconds"),
}


def lasting(rows: list[dict]) -> list[dict]:
    """Without what differs from run to run."""
    return [{k: v for k, v in r.items() if k not in ("seconds", "peak_mb", "provenance")} for r in rows]


def options(**changes) -> StudyOptions:
    return StudyOptions.model_validate(STUDY | changes)


def test_the_grid_is_every_model_under_every_attack():
    cells = plan_cells(options(never_saw={"person": "somewhere"}))
    models = list(dict.fromkeys((c.eraser, c.variant, c.seed) for c in cells))
    assert models == [
        ("silenced", "unpruned", 0),
        ("silenced", "random", 1),
        ("silenced", "random", 2),
        ("none", "unpruned", 0),
        ("never_saw", "unpruned", 0),
        *(("esd", v, 1) for v in (*STUDY["erasers"]["esd"]["variants"], *STUDY["erasers"]["esd"]["once"])),
        *(("esd", v, 2) for v in ("unpruned", "plus", "learned")),
        ("conceptprune", "unpruned", 1),
    ]
    assert len(cells) == 2 * len(models) - 3 == len({c.id for c in cells})
    with pytest.raises(UserError, match="conceptprune: this method has no P-X"):
        plan_cells(options(erasers={"conceptprune": {"variants": ["unpruned", "learned"]}}))


@pytest.fixture(scope="module")
def project(make_project, tiny_folder) -> Path:
    folder = make_project()
    (folder / "docs").mkdir()
    (folder / "docs/results.json").write_text("[]")
    (folder / "conf/base/study_pruning/parameters.yml").write_text(
        json.dumps({"study": STUDY | {"never_saw": {"person": str(tiny_folder)}}})
    )
    return folder


@pytest.fixture(scope="module")
def run_study(project):
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.runner import SequentialRunner

    from excise.pipelines import selection

    def run(**params) -> list[dict]:
        bootstrap_project(project)
        try:
            with KedroSession.create(project, runtime_params=params) as session:
                session.run(pipeline_names=["study_pruning"], runner=SequentialRunner())
        finally:
            selection.set_selection(None, {})
        return json.loads((project / "docs/results.json").read_text())

    return run


def test_a_study_writes_a_row_a_cell_and_makes_none_twice(project, run_study, monkeypatch):
    rows = run_study()
    cells = plan_cells(options(never_saw={"person": "x"}))
    assert [(r["eraser"], r["variant"], r["attack"], r["seed"]) for r in rows] == [tuple(c)[1:5] for c in cells]
    test, retain = BUDGET["prompts"]["test"], BUDGET["prompts"]["retain_test"]
    for row in rows:
        assert set(row) >= KEYS
        assert row["n"] + row["dropped"] + row["failed"] == test == len(row["verdicts"])
        assert row["hits"] == row["verdicts"].count("h") and row["retain_n"] == retain
        # the second judge is the first one with a higher threshold: it sees no more, on the same pictures
        assert row["second_hits"] == row["second_verdicts"].count("h") and row["second_n"] == row["n"]
        assert all(a == "h" or b != "h" for a, b in zip(row["verdicts"], row["second_verdicts"], strict=True))
        masked = row["variant"] not in ("unpruned", "plus", "plus_plain")
        masked = masked or row["eraser"] in ("conceptprune", "silenced")
        assert (row["prune_rate"] is not None) == masked
        measured = row["eraser"] in STUDY["erasers"] and row["attack"] != "plain"
        assert (row["sensitivity"] is not None) == measured
    by_cell = {(r["eraser"], r["variant"], r["attack"], r["seed"]): r for r in rows}
    learned, random = (by_cell["esd", v, "plain", 1] for v in ("learned", "random"))
    assert learned["prune_rate"] == random["prune_rate"] > 0
    # adversarial prompts to learn from make another eraser, with a mask and without
    for variant in ("plus", "learned"):
        with_, without = (by_cell["esd", v, "plain", 1]["provenance"] for v in (variant, f"{variant}_plain"))
        assert with_["eraser"] != without["eraser"]
    # a mask alone is the mask of a study whose weights are frozen, and as many weights go at random
    alone, lot = (by_cell["esd", f"{v}_alone", "plain", 1] for v in ("learned", "random"))
    assert alone["prune_rate"] == lot["prune_rate"] > 0
    assert alone["provenance"]["eraser"] != learned["provenance"]["eraser"]
    # the stand-in for a model that never saw it is the base model here: drawn and judged alike
    assert (
        by_cell["never_saw", "unpruned", "plain", 0]["verdicts"] == by_cell["none", "unpruned", "plain", 0]["verdicts"]
    )
    page = (project / "docs/results.md").read_text()
    assert "| P-ESD (random mask) | plain prompt |" in page and "| never saw it |" in page and "ConceptPrune" in page
    assert "The same pictures, judged by" in page
    assert (project / "docs/images/results.png").exists()

    assert f"**{len(rows)} of {len(rows)} cells are done.**" in page

    made = []
    original = Workshop.row
    monkeypatch.setattr(Workshop, "row", lambda self, cell: made.append(cell) or original(self, cell))
    assert run_study() == rows and made == []
    # a fresh clone has no cache; what is committed is enough, and what is not is made again
    for folder in (project / "data/cache").glob("cell-*"):
        (folder / "row.json").unlink()
    (project / "docs/results.json").write_text(json.dumps(rows[:-1]))
    again = run_study()
    assert [c.eraser for c in made] == ["conceptprune"]
    assert lasting(again) == lasting(rows)


def test_what_is_stale_is_told_with_what_has_changed(project, run_study, monkeypatch):
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    from excise.cli import stale_grids

    rows = run_study()

    def told(committed: list[dict], **params) -> str:
        (project / "docs/results.json").write_text(json.dumps(committed))
        bootstrap_project(project)
        with KedroSession.create(project, runtime_params=params) as session:
            context = session.load_context()
            return next(iter(stale_grids(context.params, context.catalog)))

    n = len(rows)
    assert told(rows) == f"study: {n} cells, {n} current, 0 stale, 0 missing."
    assert f"{n - 2} current, 0 stale, 2 missing." in told(rows[2:])
    changed = told(rows, prune={"steps": 5})
    assert f"0 current, {n} stale" in changed and f"{n} stale: prune changed" in changed
    assert "attacks changed" not in changed and "kedro run --pipeline=study_pruning makes these" in changed
    old = [{k: v for k, v in row.items() if k != "made_of"} | {"fingerprint": "old"} for row in rows]
    assert f"{n} stale: they do not say what they were made of" in told(old)
    assert f"{n} stale: model changed" in told(rows, model={"dtype": "float64"})
    # what has content of its own counts by it, and not by the code that makes it
    assert not [part for part in rows[0]["made_of"] if part.startswith("code of excise.prompts")]
    with monkeypatch.context() as other:
        other.setattr("excise.attacks.search.slots.words_for_minors", lambda tokenizer, size: [5])
        assert f"{n} stale: vocabulary changed" in told(rows)
    with monkeypatch.context() as other:
        judge = make_judge(JudgeSpec(**JUDGE))
        other.setattr(judge, "sha256", "of other weights")
        assert f"{n} stale: judges changed" in told(rows)
    (project / "docs/results.json").write_text(json.dumps(rows))


def test_a_study_that_runs_out_of_time_writes_what_there_is_and_goes_on(project, run_study, monkeypatch):
    """After the test above: its cells are in the cache."""
    from excise.pipelines.study_pruning import rows as clocked

    rows = run_study()
    (project / "docs/results.json").write_text(json.dumps(rows[:5]))
    for folder in (project / "data/cache").glob("cell-*"):
        (folder / "row.json").unlink(missing_ok=True)
    clock = iter([0.0, *[10.0] * 2, *[4000.0] * 100])  # two cells are begun in time
    monkeypatch.setattr(clocked, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    part = run_study(**{"study": {"hours": 1.0}})
    assert [r["fingerprint"] for r in part] == [r["fingerprint"] for r in rows[:7]]
    assert f"**7 of {len(rows)} cells are done.**" in (project / "docs/results.md").read_text()
    monkeypatch.undo()
    again = run_study()
    assert lasting(again) == lasting(rows)


def test_an_old_row_stays_marked_until_there_is_time_to_make_it_again(project, run_study, monkeypatch):
    """After the test above: its cells are in the cache."""
    from excise.pipelines.study_pruning import rows as clocked

    rows = run_study()
    old = [row | {"fingerprint": "old", "seconds": 0.5} for row in rows[:2]]
    (project / "docs/results.json").write_text(json.dumps([*old, *rows[2:]]))
    for folder in (project / "data/cache").glob("cell-*"):
        (folder / "row.json").unlink(missing_ok=True)
    clock = iter([0.0, *[4000.0] * 100])  # no cell is begun in time
    monkeypatch.setattr(clocked, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert run_study(**{"study": {"hours": 1.0}}) == [*(row | {"stale": True} for row in old), *rows[2:]]
    page = (project / "docs/results.md").read_text()
    assert f"**{len(rows) - 2} of {len(rows)} cells are done.** 2 more, marked †" in page
    monkeypatch.undo()
    again = run_study()
    assert lasting(again) == lasting(rows) and not any(row.get("stale") for row in again)


@pytest.mark.slow
def test_several_processes_make_the_rows_that_one_makes(project, run_study):
    """After the test above: erasers and attacks are in the cache, and what is left is to draw, judge and count."""
    rows = run_study()
    (project / "docs/results.json").write_text("[]")
    for folder in (project / "data/cache").glob("cell-*"):
        (folder / "row.json").unlink(missing_ok=True)
    few = {"silenced", "none", "never_saw", "conceptprune"}
    rows = [r for r in rows if r["eraser"] in few]
    again = run_study(study={"workers": 2, "only": "conceptprune"})
    # another number of threads adds in another order, which may move a verdict on an untrained model's smears
    given = ("fingerprint", "model", "prune_rate", "n", "retain_n", "seed", "variant", "attack")
    assert [[r[k] for k in given] for r in again] == [[r[k] for k in given] for r in rows]
    assert all(r["device"] for r in rows)


def test_an_error_in_one_process_is_the_studys_and_ends_it(tmp_path):
    neurons = NeuronOptions()
    given = (
        ModelSpec(name="tiny", path="nowhere"),
        {"esd": BUDGET["erasers"]["esd"]},
        BUDGET["attacks"],
        {},
        neurons,
        1,
    )
    settings = settings_of(options(only="esd"), *given)
    cells = [Cell("nobody", "esd", "unpruned", "plain", seed) for seed in (1, 2, 3)]
    marks = {cell: cell.id for cell in cells}
    crew = Crew(2, Shops(settings, {"person": {}}, Cache(tmp_path), {}), marks, math.inf)
    with pytest.raises(UserError, match="nobody"):
        crew.wait_for(cells[0])
    assert crew._stop.is_set() and not list(tmp_path.glob("cell-*/row.json"))


def test_a_mask_alone_is_the_mask_of_a_study_of_frozen_weights(project, tiny_folder, tmp_path):
    concepts = yaml.safe_load((project / "conf/base/concepts/person.yml").read_text())

    def marks(variant: str, **prune) -> list[str]:
        asked = options(erasers={"esd": {"variants": [variant]}}, silence=None, instead={"prune": prune})
        model, neurons = ModelSpec(name="tiny", path=str(tiny_folder)), NeuronOptions()
        given = ({"esd": BUDGET["erasers"]["esd"]}, BUDGET["attacks"], {"weight_lr": None}, neurons, 1)
        cells, _, shops = plan_shops(asked, concepts, model, *given, Cache(tmp_path), {})
        return [shops.fingerprint(cell) for cell in cells if cell.eraser == "esd"]

    for mask in ("learned", "scored", "random"):
        alone = marks(f"{mask}_alone")
        assert alone == marks(mask, weight_lr=0.0) != marks(mask)
    rate = marks("learned_alone", rate=0.3)
    assert rate != marks("learned_alone") and rate == marks("learned_alone", rate=0.3, weight_lr=0.5)


def test_a_row_depends_on_what_decodes_it_and_on_whose_pictures_an_attacker_has(project, tiny_folder, tmp_path):
    concepts = yaml.safe_load((project / "conf/base/concepts/person.yml").read_text())
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    never = Path(shutil.copytree(tiny_folder / "unet", tmp_path / "never"))

    def marks(**esd) -> dict[Cell, str]:
        asked = options(erasers={"esd": {}}, never_saw={"person": str(never)})
        neurons, erasers = NeuronOptions(), {"esd": BUDGET["erasers"]["esd"] | esd}
        given = (erasers, BUDGET["attacks"], {}, neurons, 1, Cache(tmp_path), {})
        cells, _, shops = plan_shops(asked, concepts, ModelSpec(name="tiny", path=str(folder)), *given)
        return {cell: shops.fingerprint(cell) for cell in cells}

    def changed(now: dict[Cell, str]) -> set[tuple[str, bool]]:
        return {(cell.eraser, cell.attack == "plain") for cell, mark in now.items() if mark != before[cell]}

    before = marks()
    assert marks() == before
    esd, silenced = {("esd", True), ("esd", False)}, {("silenced", True)}
    # what the base model and the one that never saw it are attacked with comes from the first eraser's pictures
    assert changed(marks(guidance=3.0)) == esd | silenced | {("none", False), ("never_saw", False)}
    assert changed(marks(lr=0.5)) == esd
    everything = {(cell.eraser, cell.attack == "plain") for cell in before}
    for place in ("scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json", "vae/config.json"):
        path = folder / place
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n")
        assert changed(marks()) == everything, place
        path.write_bytes(whole)
    [weights] = (folder / "vae").glob("*.safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-2] ^= 1  # one bit of one weight
    weights.write_bytes(bytes(raw))
    assert changed(marks()) == everything


def test_rows_of_the_base_model_are_the_same_whichever_erasers_are_studied(project, tiny_folder, tmp_path):
    concepts = yaml.safe_load((project / "conf/base/concepts/person.yml").read_text())
    erasers = {"esd": BUDGET["erasers"]["esd"] | {"guidance": 3.0}, "conceptprune": {"method": "conceptprune"}}
    given = (erasers, BUDGET["attacks"], {}, NeuronOptions(), 1, Cache(tmp_path), {})

    def marks(**changes) -> dict[Cell, str]:
        cells, _, shops = plan_shops(
            options(**changes), concepts, ModelSpec(name="tiny", path=str(tiny_folder)), *given
        )
        return {cell: shops.fingerprint(cell) for cell in cells if cell.eraser != "esd"}

    assert any(cell.eraser == "none" and cell.attack != "plain" for cell in marks())
    assert marks(only="conceptprune") == marks()


def test_what_a_study_does_otherwise_is_laid_over_the_parameters():
    base = {"esd": {"steps": 3, "options": {"a": 1, "b": 2}}, "ac": {"steps": 5}}
    assert laid_over(base, {"esd": {"steps": 9, "options": {"b": 7}}}) == {
        "esd": {"steps": 9, "options": {"a": 1, "b": 7}},
        "ac": {"steps": 5},
    }
    assert base["esd"]["steps"] == 3
    checked = EraserOptions(method="esd", steps=3)  # so Kedro hands them out where a job is in the same command
    assert laid_over({"esd": checked}["esd"], {"steps": 9})["steps"] == 9 and checked.steps == 3
    told = options(instead={"prune": {"steps": 7}, "erasers": {"esd": {"steps": 2}}})
    neurons, erasers = NeuronOptions(), {"esd": BUDGET["erasers"]["esd"], "conceptprune": {"method": "conceptprune"}}
    given = (told, ModelSpec(name="tiny", path="x"), erasers, BUDGET["attacks"], {"steps": 1}, neurons, 1)
    settings = settings_of(*given)
    assert (settings.prune.steps, settings.erasers["esd"].steps) == (7, 2)
    for wrong, message in (
        ({"prune": {"stepps": 7}}, r"prune with study\.instead\.prune over it: stepps does not exist"),
        ({"erasers": {"esdd": {}}}, "esdd"),
        (
            {"erasers": {"esd": {"steps": "few"}}},
            r"erasers\.esd with study\.instead\.erasers\.esd over it: steps cannot be",
        ),
        (
            {"attacks": {"unlearndiffatk": {"images": 900}}},
            r"attacks\.unlearndiffatk with study\.instead\.attacks\.unlearndiffatk over it: does not fit together",
        ),
        ({"prune": {"unit": "neuron"}}, "are no controls"),  # its grid has a scored and a random mask
    ):
        with pytest.raises(UserError, match=message):
            settings_of(options(instead=wrong), *given[1:])
    hidden = options(
        instead={"attacks": {"strong": {"method": "p4d", "steps": 3}}}, attacks=["unlearndiffatk", "strong"]
    )
    with pytest.raises(UserError, match="a name must begin with 'p4d'"):
        settings_of(hidden, *given[1:])


# tables --------------------------------------------------------------------------------------------------------------
def test_pairs_of_one_seed_are_tangos_and_more_seeds_are_no_more_prompts():
    generator = np.random.default_rng(0)
    a, b = (generator.random((1, 40)) < p for p in (0.6, 0.3))
    a, b = a.astype(float), b.astype(float)
    only_first, only_second = int((a > b).sum()), int((b > a).sum())
    expected = ((only_first - only_second) / 40, *score_interval(only_first, only_second, 40))
    assert paired_interval(a, b) == pytest.approx(expected)
    assert paired_interval(a.repeat(3, 0), b.repeat(3, 0)) == pytest.approx(expected)
    assert paired_interval(a.repeat(3, 0), b) == pytest.approx(expected)
    equal = paired_interval(np.zeros((2, 20)), np.zeros((2, 20)))
    assert equal[0] == 0 and equal[1] < -0.1 and equal[2] > 0.1  # no difference seen is not none proven
    holes = a.copy()
    holes[0, :5] = np.nan
    assert paired_interval(holes, b) == pytest.approx(paired_interval(a[:, 5:], b[:, 5:]))
    assert np.isnan(paired_interval(np.full((1, 3), np.nan), np.zeros((1, 3)))).all()


def test_a_rate_of_zero_over_seeds_keeps_an_interval():
    cells = pd.DataFrame({"verdicts": ["." * 20, "." * 20], "hits": [0, 0], "n": [20, 20]})
    low, high = _interval(cells)
    assert low == pytest.approx(0, abs=1e-9) and 0.1 < high < 0.25
    mixed = pd.DataFrame({"verdicts": ["h" * 10 + "." * 10, "." * 20], "hits": [10, 0], "n": [20, 20]})
    assert _interval(mixed) == pytest.approx(proportion_confint(5, 20, method="wilson"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concepts": ["person", "person"]}, "names something twice"),
        ({"only": "esdd"}, "only names 'esdd'"),
        (
            {"transfer": ["unlearndiffatk"], "erasers": {"esd": {"variants": ["learned", "learned_alone"]}}},
            "masks alone",
        ),
        ({"erasers": {"esd": {"seeds": [1, 1]}}}, "names a seed or a variant twice"),
        ({"erasers": {"esd": {"variants": ["learned"], "once": ["learned"]}}}, "names a seed or a variant twice"),
    ],
)
def test_a_grid_that_counts_twice_or_names_nothing_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        options(**changes)


def test_a_smaller_study_of_the_projects_own():
    own = yaml.safe_load((ROOT / "conf/base/study_pruning/parameters.yml").read_text())["study"]
    small = StudyOptions.model_validate(own | {"concepts": "person", "only": "esd"})
    assert {(c.concept, c.eraser) for c in plan_cells(small)} == {
        ("person", name) for name in ("silenced", "none", "never_saw", "esd")
    }


def test_only_some_erasers():
    assert {c.eraser for c in plan_cells(options(only="conceptprune"))} == {"silenced", "none", "conceptprune"}
