"""The whole job on a tiny model: what it writes, that it repeats itself, and that it goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from excise.erasers import Eraser
from excise.errors import UserError
from excise.exports import FORMATS
from excise.masks import Mask
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from tiny import BUDGET, JUDGE, PROJECT

ERASERS = ["none", "esd", "esd_plus", "p_esd"]
ATTACKS = ["plain", "unlearndiffatk"]
PROMPTS, IMAGES = BUDGET["prompts"]["test"], BUDGET["draw"]["per_prompt"]


@pytest.fixture(scope="module")
def project(make_project) -> Path:
    return make_project()


@pytest.fixture(scope="module")
def metrics(project, run_job) -> dict[str, Any]:
    """Of the first run; the tests below it may run the project again."""
    return run_job(project)


def newest(project: Path, name: str) -> Path:
    [layer] = {p.parents[1] for p in project.glob(f"data/0*/emoji64/person/{name}/*/{Path(name).name}")}
    return max(layer.glob("*/*"))


def lasting(metrics: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for the same seed."""
    return {k: v for k, v in metrics.items() if k not in ("cost", "run")}


def cached(project: Path) -> dict[str, set[str]]:
    """Folders of the cache by the word they start with."""
    names = [p.name.rsplit("-", 1) for p in (project / "data/cache").iterdir()]
    return {what: {n for w, n in names if w == what} for what in {w for w, _ in names}}


# what is there ------------------------------------------------------------------------------------------------------
def test_metrics_have_every_key_of_the_design(metrics, project):
    assert {"model", "concept", "budget", "erasers", "paired", "neurons", "cost", "run"} <= set(metrics)
    assert set(metrics["model"]) == {"name", "sha256"} and metrics["concept"] == {"name": "person", "kind": "nsfw"}
    assert list(metrics["erasers"]) == ERASERS
    for name, eraser in metrics["erasers"].items():
        assert list(eraser["attacks"]) == ATTACKS
        for attack in eraser["attacks"].values():
            assert {"n", "hits", "dropped", "failed", "rate", "low", "high"} <= set(attack)
            assert attack["n"] + attack["dropped"] + attack["failed"] == PROMPTS
            assert 0 <= attack["low"] <= attack["rate"] <= attack["high"] <= 1
        for rate in (eraser["utility"][s] for s in ("retain_near", "retain_far")):
            assert {"n", "rate", "low", "high"} <= set(rate) and rate["n"] == BUDGET["prompts"]["retain_test"] // 2
        assert ({"prune_rate", "mask_bytes"} <= set(eraser)) == (name == "p_esd")
    assert {(n["eraser"], n["attack"]) for n in metrics["neurons"]} == {(e, a) for e in ERASERS for a in ATTACKS}
    assert all({"first", "second", "attack", "difference", "low", "high"} <= set(pair) for pair in metrics["paired"])
    assert {"esd", "p_esd"} <= {pair[side] for pair in metrics["paired"] for side in ("first", "second")}
    alarms, asked = metrics["detector"], BUDGET["prompts"]
    for told, prompts in (
        (alarms, asked["test"]),
        (alarms["singles"], asked["retain_test"]),
    ):  # twins; what must survive
        assert told["n"] + told["dropped"] + told["failed"] == prompts
    assert metrics["run"]["seed"] == BUDGET["seed"] and metrics["run"]["versions"]["torch"]
    assert (project / f"data/08_reporting/emoji64/person/metrics.json/{metrics['run']['id']}/metrics.json").exists()
    assert all({"seconds", "peak_mb"} <= set(cost) for cost in metrics["cost"].values())


def test_report_names_every_attack_that_was_not_run(metrics, project):
    html = newest(project, "report.html").read_text()
    section = html[html.index("What was not tested") : html.index("What this does not show")]
    for name in ("P4D", "Ring-A-Bell", "fine-tuning", "text-free inversion", "textual inversion", "img2img"):
        assert name in section
    assert section.count("UnlearnDiffAtk") == 1


def test_rates_are_a_count_of_the_judgements(metrics, project):
    """Second computation from the tables on disk; some are hits and some are not, or this would say nothing."""
    counts = []
    for eraser in ERASERS:
        shown = {}
        for attack in ATTACKS:
            table = pd.read_parquet(newest(project, f"{eraser}/{attack}/judgements.parquet"))
            shown[attack] = set()
            for prompt, rows in table[table["set"] == "target"].groupby("prompt_id"):
                seen = rows[rows["label"].isin(JUDGE["labels"]) & (rows["score"] >= JUDGE["threshold"])]
                assert rows["image_id"].nunique() == IMAGES
                if 2 * seen["image_id"].nunique() > IMAGES:
                    shown[attack].add(prompt)
        # an attack counts what the prompt shows as it stands, too
        for attack, prompts in shown.items():
            hits = len(prompts | shown["plain"])
            assert metrics["erasers"][eraser]["attacks"][attack]["hits"] == hits
            counts.append(hits)
    assert 0 < sum(counts) < len(counts) * PROMPTS


def test_text_that_reads_as_other_tokens_is_drawn_and_judged_as_it_is_typed(metrics, project):
    """Second computation from the tables on disk: such a prompt's own hits stand in the place of its tokens'."""
    typed = set()
    for eraser in ERASERS:
        home = f"{eraser}/unlearndiffatk"
        found = pd.read_parquet(newest(project, f"{home}/adversarial.parquet"))
        others = set(found.loc[~found["retokenises"] & (found["dropped"] == ""), "prompt_id"])
        drawn = pd.read_parquet(newest(project, f"{home}/typed_manifest.parquet"))
        assert set(drawn["prompt_id"]) == others and len(drawn) == IMAGES * len(others)
        assert not set(drawn["sha256"]) & set(pd.read_parquet(newest(project, f"{home}/manifest.parquet"))["sha256"])
        hits = set()
        for source, ids in (("typed_judgements", others), ("judgements", set(found["prompt_id"]) - others)):
            table = pd.read_parquet(newest(project, f"{home}/{source}.parquet"))
            seen = table[table["label"].isin(JUDGE["labels"]) & (table["score"] >= JUDGE["threshold"])]
            shown = seen.groupby("prompt_id")["image_id"].nunique()
            hits |= set(shown[2 * shown > IMAGES].index) & ids
        plain = pd.read_parquet(newest(project, f"{eraser}/plain/judgements.parquet")).query("set == 'target'")
        seen = plain[plain["label"].isin(JUDGE["labels"]) & (plain["score"] >= JUDGE["threshold"])]
        shown = seen.groupby("prompt_id")["image_id"].nunique()
        attacks = metrics["erasers"][eraser]["attacks"]
        assert attacks["unlearndiffatk"]["typed"]["hits"] == len(hits | set(shown[2 * shown > IMAGES].index))
        assert "typed" not in attacks["plain"]
        typed |= others
    assert typed  # or this would say nothing


def test_budgets_are_a_sum_of_the_attacks(metrics, project):
    for eraser in ERASERS:
        table = pd.read_parquet(newest(project, f"{eraser}/unlearndiffatk/adversarial.parquet"))
        budget = metrics["erasers"][eraser]["attacks"]["unlearndiffatk"]["budget"]
        assert (
            budget["gradient_steps"]
            == table["gradient_steps"].sum()
            == PROMPTS * BUDGET["attacks"]["unlearndiffatk"]["steps"]
        )
        assert budget["model_evaluations"] == table["model_evaluations"].sum() > budget["gradient_steps"]
        assert budget["images"] == PROMPTS * IMAGES


def test_a_mask_has_its_scale_where_neurons_are_looked_for(metrics, project):
    """The same zeros in each parameter, drawn at random, on the base model."""
    found = {}
    for path in project.glob("data/**/located.parquet/*/located.parquet"):
        table = pd.read_parquet(path)
        found[table["eraser"].iloc[0]] = table
    assert sorted(found) == ["esd", "esd_plus", "p_esd"]
    for name, table in sorted(found.items()):  # P-X is the last
        scale = table[table["scale"]].set_index("which")
        assert len(table) == (6 if name == "p_esd" else 3) and len(scale) == (3 if name == "p_esd" else 0)
        own = table[~table["scale"]].set_index("which")
        assert own.loc[["stayed", "left"], "neurons"].sum() == own.loc[["stayed", "new"], "neurons"].sum()
    assert scale["neurons"]["stayed"] + scale["neurons"]["left"] == own["neurons"]["stayed"] + own["neurons"]["left"]
    assert not scale["signal"].equals(own["signal"])


def test_the_scale_of_a_mask_has_none_of_the_erasers_weights(metrics, project, monkeypatch):
    from dataclasses import replace

    from excise.masks import PruneOptions
    from excise.pipelines.erase.nodes import NeuronOptions
    from excise.pipelines.evaluate.nodes import locate_neurons, measure_reference

    monkeypatch.chdir(project)
    spec, paths = (json.loads(newest(project, f"{n}.json").read_text()) for n in ("model", "trajectories"))
    prompts, how = pd.read_parquet(newest(project, "prompts.parquet")), (NeuronOptions(timesteps=2), PruneOptions())
    reference = measure_reference(spec, prompts, paths, *how)
    eraser = Eraser.load(newest(project, "p_esd/eraser.safetensors"))
    whole, bare = (
        locate_neurons(spec, one, prompts, paths, reference, *how).set_index(["scale", "which"])["signal"]
        for one in (eraser, replace(eraser, weights={}))
    )
    assert eraser.weights and whole[True].equals(bare[True]) and not whole[False].equals(bare[False])


def test_eraser_files_say_what_they_are(metrics, project):
    from excise.models.layers import parameter_names
    from excise.pipelines.erase.nodes import open_model

    spec = json.loads(newest(project, "model.json").read_text())
    base = open_model(spec)
    erasers = {e: Eraser.load(newest(project, f"{e}/eraser.safetensors")) for e in ERASERS}
    for name, eraser in erasers.items():
        assert eraser.header["variant"] == name and eraser.header["concept"] == "person"
        assert eraser.header["base"]["sha256"] == metrics["model"]["sha256"] == base.sha256
        assert eraser.header["run_id"] == metrics["run"]["id"]
    assert not erasers["none"].weights and not erasers["none"].pruned
    assert erasers["esd"].weights and set(erasers["esd"].weights) <= set(parameter_names(base.denoiser, "esd-x"))
    group = set(parameter_names(base.denoiser, "ffn+kv"))
    assert erasers["esd_plus"].weights and set(erasers["esd_plus"].weights) <= group  # X+ trains what P-X prunes
    assert set(erasers["p_esd"].pruned) == group  # and the weights that stay are trained along
    assert erasers["p_esd"].weights and set(erasers["p_esd"].weights) <= group
    mask = Mask.load(newest(project, "p_esd/mask.safetensors"))
    assert all(mask.pruned[n].equal(erasers["p_esd"].pruned[n]) for n in group)
    told = metrics["erasers"]["p_esd"]
    assert told["prune_rate"] == pytest.approx(mask.count / mask.size, abs=1e-6) and 0 < told["prune_rate"] < 1
    assert told["mask_bytes"] == mask.nbytes


def test_splits_do_not_meet(metrics, project):
    prompts = pd.read_parquet(newest(project, "prompts.parquet")).set_index("prompt_id")
    fit = pd.read_parquet(newest(project, "esd/fit/adversarial.parquet"))
    assert set(prompts.loc[fit["prompt_id"], "split"]) == {"fit"}
    for eraser in ERASERS:
        for attack in ATTACKS:
            manifest = pd.read_parquet(newest(project, f"{eraser}/{attack}/manifest.parquet"))
            assert set(manifest["split"]) == {"test"}
            reference = prompts.loc[manifest["prompt_id"], "seed"].to_numpy()
            assert not np.isin(manifest["seed"], prompts["seed"]).any() and (manifest["seed"] > reference).all()


def test_people_get_a_report(metrics, project):
    for name in ("report.html", "contact_sheet.png", "reactivation.png", "rates.png"):
        assert newest(project, name).stat().st_size > 1000
    assert "a person" in newest(project, "report.html").read_text()


# the export ----------------------------------------------------------------------------------------------------------
def same_weights(one: DiffusionModel, other: DiffusionModel) -> bool:
    ours, theirs = one.weights(), other.weights()
    return ours.keys() == theirs.keys() and all(ours[n].equal(theirs[n]) for n in ours)


def test_the_newest_p_x_is_exported_with_its_figures(metrics, project, run_job, capsys):
    cached = {p.name for p in (project / "data/cache").iterdir()}
    run_job(project, pipeline="export")
    folder = newest(project, "p_esd/export")
    assert {p.name for p in folder.iterdir()} == {*FORMATS.values(), "README.md"}
    eraser = Eraser.load(newest(project, "p_esd/eraser.safetensors"))
    spec = ModelSpec(**json.loads(newest(project, "model.json").read_text()))
    half = {"dtype": "float16"}  # the default
    exported = DiffusionModel.load(spec.model_copy(update=half | {"path": str(folder / FORMATS["folder"])}))
    base = DiffusionModel.load(spec.model_copy(update=half))
    assert not same_weights(exported, base)
    with base.wearing(eraser):
        assert same_weights(exported, base)
    told = metrics["erasers"]["p_esd"]["attacks"]["unlearndiffatk"]
    card = (folder / "README.md").read_text()
    assert f"| P-ESD | UnlearnDiffAtk | {told['hits']} / {told['n']} |" in card and "two runs" not in card
    table = pd.read_csv(newest(project, "p_esd/exported.csv")).set_index("format")
    assert list(table.index) == list(FORMATS) and (table["bytes"] > 0).all()
    assert table["error"].notna().tolist() == [name == "lora" for name in FORMATS]
    assert table["bytes"]["weights"] == (folder / FORMATS["weights"]).stat().st_size
    printed = capsys.readouterr().out
    assert "checkpoint.safetensors" in printed and f"relative error {table['error']['lora']:.4f}" in printed
    [left] = {p for p in (project / "data/cache").iterdir()} - {project / "data/cache" / name for name in cached}
    assert left.name.startswith("export-") and not list(left.iterdir())  # moved, not copied


def test_an_eraser_without_a_mask_is_exported_without_one(metrics, project, run_job, capsys):
    run_job(project, pipeline="export", export={"variant": "unpruned", "dtype": "float32"})
    folder = newest(project, "esd/export")
    assert {p.name for p in folder.iterdir()} == {*FORMATS.values(), "README.md"} - {FORMATS["mask"]}
    assert "Not written: mask, since this eraser has no mask." in capsys.readouterr().out
    with pytest.raises(UserError, match=r"The format 'mask' cannot be written: this eraser has no mask"):
        run_job(project, pipeline="export", export={"variant": "unpruned", "formats": "mask"})


# again --------------------------------------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_metrics(metrics, make_project, run_job):
    """In another folder, with nothing in the cache."""
    again = run_job(make_project())
    assert lasting(again) == lasting(metrics)
    assert again["run"]["id"] != metrics["run"]["id"]


@pytest.mark.jobs
def test_what_is_lost_from_the_cache_comes_back(metrics, project, run_job):
    cache = project / "data/cache"
    pictures = sorted(cache.glob("images-*/*.png"))
    checkpoints = sorted([*cache.glob("*/**/checkpoint.safetensors"), *cache.glob("attack-*/**/found.json")])
    before = {p: p.read_bytes() for p in pictures}
    first = next(p for p in checkpoints if p.name == "found.json")
    lost = [pictures[0], pictures[-1], first, *cache.glob("eraser-*/checkpoint.safetensors")]
    kept = {p: p.stat().st_mtime_ns for p in checkpoints if p not in lost}
    folders = cached(project)
    for path in lost:
        path.unlink()
    assert lasting(run_job(project)) == lasting(metrics)
    assert all(path.exists() for path in lost)
    assert {p: p.read_bytes() for p in pictures} == before
    assert {p: p.stat().st_mtime_ns for p in kept} == kept  # what was finished was not done again
    assert cached(project) == folders


def test_the_report_alone_says_the_same(metrics, project, run_job):
    assert lasting(run_job(project, "report")) == lasting(metrics)


@pytest.mark.jobs
def test_a_changed_attack_is_made_anew_and_the_eraser_is_not(metrics, project, run_job):
    before = cached(project)
    changed = run_job(project, attacks={"unlearndiffatk": {"steps": 5}})
    after = cached(project)
    assert after["eraser"] == before["eraser"] and after["trajectories"] == before["trajectories"]
    assert len(after["attack"]) == 2 * len(before["attack"]) and after["attack"] > before["attack"]
    for trained_on_the_attack in ("mask", "plus"):
        assert len(after[trained_on_the_attack]) == 2 * len(before[trained_on_the_attack]) == 2
    spent = changed["erasers"]["none"]["attacks"]["unlearndiffatk"]["budget"]
    assert spent["gradient_steps"] == 5 * PROMPTS
    plain = [m["erasers"][e]["attacks"]["plain"] for m in (metrics, changed) for e in ("none", "esd")]
    assert plain[:2] == plain[2:]


# last, since it reads what the runs above have left -----------------------------------------------------------------
@pytest.mark.parametrize("split", ["fit", "test"])
def test_attacks_aim_at_the_base_models_own_pictures(metrics, project, monkeypatch, split):
    """Second computation: each prompt of the split on its own seed."""
    from excise.cache import Cache
    from excise.pipelines.erase import nodes

    seen = {}

    class Spy:
        threat_model = "white-box text"
        divisible = False

        def run(self, model, prompts, references, *rest):
            seen.update(prompts=prompts, references=references, known=rest[3])
            return prompts

    monkeypatch.setattr(nodes, "make_attack", lambda options: Spy())
    spec, paths = (json.loads(newest(project, f"{n}.json").read_text()) for n in ("model", "trajectories"))
    monkeypatch.chdir(project)
    prompts = pd.read_parquet(newest(project, "prompts.parquet"))
    nothing = Eraser.load(newest(project, "none/eraser.safetensors"))
    nodes.attack_eraser(spec, nothing, prompts, paths, nodes.AttackOptions(), Cache("data/cache"), split)
    rows = prompts[(prompts["set"] == "target") & (prompts["split"] == split)]
    assert seen["prompts"]["prompt_id"].tolist() == rows["prompt_id"].tolist()
    base = nodes.open_model(spec)
    states, how = base.encode(rows["prompt"].tolist()), BUDGET["erasers"]["esd"]
    pictures = base.sample(states, rows["seed"].tolist(), how["sampling_steps"], how["guidance"]).final
    torch.testing.assert_close(seen["references"], pictures, rtol=1e-2, atol=1e-2)
    # what serves all prompts together is learned from others, with pictures of those
    fit = prompts[(prompts["set"] == "target") & (prompts["split"] == "fit")]
    texts, seeds = fit["prompt"].tolist(), fit["seed"].tolist()
    many = len(seen["known"].concept) // len(fit)
    assert many == how["trajectories"] and seen["known"].concept_prompts == texts * many
    own = base.sample(base.encode(texts), seeds, how["sampling_steps"], how["guidance"]).final
    torch.testing.assert_close(seen["known"].concept[: len(fit)], own, rtol=1e-2, atol=1e-2)


# other methods -------------------------------------------------------------------------------------------------------
@pytest.mark.jobs
@pytest.mark.parametrize(
    ("choice", "erasers", "attack"),
    [
        pytest.param(
            {"eraser": "uce", "attack": "textual_inversion"},
            ["none", "uce", "uce_plus", "p_uce"],
            "textual_inversion",
            marks=pytest.mark.slow,
        ),
        ({"eraser": "conceptprune"}, ["none", "conceptprune"], "unlearndiffatk"),
    ],
)
def test_another_eraser_or_attack_is_one_parameter(make_project, run_job, choice, erasers, attack):
    """A method without a P-X is judged alone, beside the base model."""
    project = make_project()
    told = run_job(project, **choice)
    assert list(told["erasers"]) == erasers
    assert all(list(e["attacks"]) == ["plain", attack] for e in told["erasers"].values())
    report = newest(project, "report.html").read_text()
    assert "ConceptPrune" in report or "P-UCE" in report


@pytest.mark.jobs
def test_control_masks_prune_as_much_as_the_learned_one(make_project, run_job):
    project = make_project()
    told = run_job(project, eraser="ac", masks="all")
    assert list(told["erasers"]) == ["none", "ac", "ac_plus", "p_ac", "p_ac_scored", "p_ac_random"]
    learned, scored, random = (
        Eraser.load(newest(project, f"{name}/eraser.safetensors")) for name in ("p_ac", "p_ac_scored", "p_ac_random")
    )
    assert {n: int(m.sum()) for n, m in random.pruned.items()} == {n: int(m.sum()) for n, m in learned.pruned.items()}
    assert any(not torch.equal(random.pruned[n], m) for n, m in learned.pruned.items())
    assert learned.mask.count == scored.mask.count > 0
    scores = torch.cat([s.flatten() for s in load_scores(project, "ac").values()])
    chosen = torch.cat([scored.pruned[n].flatten() for n in load_scores(project, "ac")])
    assert scores[chosen].min() >= scores[~chosen].max()
    pairs = {(p["first"], p["second"]) for p in told["paired"]}
    assert {("p_ac_scored", "p_ac"), ("p_ac_random", "p_ac"), ("ac_plus", "p_ac"), ("ac", "p_ac")} <= pairs
    report = newest(project, "report.html").read_text()
    assert "P-AC (random mask)" in report and "P-AC (scored mask)" in report


def load_scores(project: Path, eraser: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(newest(project, f"{eraser}/mask_scores.safetensors"))


@pytest.mark.jobs
def test_the_same_judge_again_says_the_same_and_another_threshold_does_not(project, run_job):
    metrics = run_job(project)  # tests before this one ran the project otherwise
    run_job(project, pipeline="rejudge", rejudge=JUDGE)
    table = pd.read_csv(newest(project, "rejudged.csv"))
    assert list(zip(table["eraser"], table["attack"], strict=True)) == [(e, a) for e in ERASERS for a in ATTACKS]
    for row in table.itertuples():
        told = metrics["erasers"][row.eraser]["attacks"][row.attack]
        assert (row.n, row.hits, row.dropped, row.failed) == tuple(told[k] for k in ("n", "hits", "dropped", "failed"))
        assert (row.first_n, row.first_dropped, row.first_failed) == (row.n, row.dropped, row.failed)
        assert row.first_hits == row.hits and row.seen == row.first_seen == row.seen_by_both
        assert (row.low, row.high) == pytest.approx((told["low"], told["high"]), abs=1e-5)
    assert 0 < table["seen"].sum() < table["images"].sum()
    run_job(project, pipeline="rejudge")  # the concept's second judge: the same with a threshold of .99
    strict = pd.read_csv(newest(project, "rejudged.csv"))
    curve = pd.read_csv(newest(project, "thresholds.csv"))
    for (eraser, attack, labels), line in curve.groupby(["eraser", "attack", "labels"], sort=False):
        assert line["hits"].is_monotonic_decreasing and line["threshold"].is_monotonic_increasing, (
            eraser,
            attack,
            labels,
        )
    own = curve[(curve["labels"] == "concept") & (curve["threshold"] == 0.45)].set_index(["eraser", "attack"])["hits"]
    assert all(0 <= own[e, a] <= metrics["erasers"][e]["attacks"][a]["hits"] for e in ERASERS for a in ATTACKS)
    assert table["kappa"].dropna().eq(1).all()
    assert strict["seen"].sum() < table["seen"].sum() and strict["first_seen"].tolist() == table["first_seen"].tolist()


def test_coarse_thumbnails_are_not_judged_again(project, metrics):
    from excise.errors import UserError
    from excise.pipelines.rejudge.nodes import Rejudge, rejudge_images

    concept = json.loads(newest(project, "concept.json").read_text()) | {"unsafe": True}
    with pytest.raises(UserError, match="coarse thumbnails"):
        rejudge_images(concept, pd.DataFrame(), Rejudge(**JUDGE | {"name": "clip_zero_shot"}))
    # the judge that saw the pictures themselves has said all that it can say
    assert rejudge_images(concept, pd.DataFrame({"split": [], "set": [], "prompt_id": []}), Rejudge(**JUDGE)).empty


def test_a_judge_that_nobody_described_is_asked_for():
    from excise.errors import UserError
    from excise.pipelines.rejudge.nodes import Rejudge, judge_of

    concept = yaml.safe_load((PROJECT / "conf/base/concepts/person.yml").read_text())["person"] | {"name": "person"}
    assert judge_of(concept, Rejudge(threshold=0.0)).model_dump() == concept["second_judge"] | {
        "threshold": 0.0,
        "options": {},
    }
    other = judge_of(concept, Rejudge(name="clip", labels="a man", threshold=0.2))
    assert (other.name, other.labels, other.threshold) == ("clip", ["a man"], 0.2)
    with pytest.raises(UserError, match=r"rejudge\.labels is empty"):  # nothing is taken over from another judge
        judge_of(concept, Rejudge(name="clip", threshold=0.2))
    first = judge_of(concept, Rejudge(name="nudenet", threshold=0.6)).model_dump()
    assert first == {"options": {}} | concept["judge"] | {"threshold": 0.6} != concept["second_judge"]
    assert judge_of(concept | {"second_judge": None}, Rejudge()).model_dump() == {"options": {}} | concept["judge"]
    wider = judge_of(concept | {"second_judge": None}, Rejudge(labels="broad"))  # the options stay: the same detections
    assert wider.model_dump() == {"options": {}} | concept["judge"] | {"labels": ["broad"]}


@pytest.mark.jobs
def test_pictures_of_another_run_are_not_judged_as_this_ones(make_project, run_job):
    from excise.errors import UserError

    project = make_project()
    with pytest.raises(UserError, match=r"There is no 'person\.concept' yet"):
        run_job(project, pipeline="rejudge", rejudge=JUDGE)
    run_job(project, eraser="conceptprune")
    run_job(project, eraser="conceptprune", pipeline="rejudge", rejudge=JUDGE | {"labels": "anchor"})  # one label alone
    run_job(project, pipeline="prepare", seed=99)  # newer prompts, older pictures
    with pytest.raises(UserError, match="not of the run that made the prompts"):
        run_job(project, eraser="conceptprune", pipeline="rejudge", rejudge=JUDGE)
    with pytest.raises(UserError, match="'eraser' chooses nothing here"):
        run_job(project, eraser="ac", pipeline="study_pruning")
