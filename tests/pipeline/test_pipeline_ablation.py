"""Ablations on a tiny model: rows of the tune split, and the choice within the utility budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from excise.attacks import AttackOptions
from excise.cache import Cache
from excise.erasers import EraserOptions
from excise.errors import UserError
from excise.images import DrawOptions
from excise.masks import PruneOptions
from excise.models import ModelSpec
from excise.models.layers import feed_forwards
from excise.pipelines.ablate_pruning.aimed import Aimed
from excise.pipelines.ablate_pruning.nodes import AblationOptions, choose, collect
from excise.pipelines.erase.nodes import NeuronOptions, measure_concept, open_model
from excise.pipelines.study_pruning.plan import Cell
from excise.pipelines.study_pruning.workshop import Settings, Workshop
from excise.prompts import PromptOptions
from tiny import BUDGET

pytestmark = pytest.mark.jobs

BOUND = {"gates": "top_k", "rate": 0.5, "weight_lr": 0.0, "group": "ffn", "neurons": "correlated"}
ABLATION = {
    "concepts": ["person"],
    "eraser": "esd",
    "attacks": ["unlearndiffatk", "textual_inversion"],
    "utility_budget": 1.0,
    "prompts": BUDGET["prompts"] | {"tune": 5, "test": 2, "retain_tune": 6},
    "draw": BUDGET["draw"],
    "variations": {
        "half": {"gates": "top_k", "rate": 0.5},
        "few": {"gates": "top_k", "rate": 0.01},
        "random": {"variant": "random"},
        "plain plus": {"variant": "plus", "adversarial": False},
        "others": BOUND | {"aim": "others"},
    },
}


def row(variation: str, hits: int, kept: int, rate: float | None = 0.1, any_hits: int = 9, judged: int = 50) -> dict:
    attacked = [{"attack": "first", "hits": 0, "n": 10, "any_hits": 0}]
    attacked.append({"attack": "second", "hits": hits, "n": 10, "any_hits": any_hits})
    told = {"concept": "person", "variation": variation, "attacked": attacked}
    told |= {"retain_near": kept, "retain_near_n": judged, "retain_far": kept, "retain_far_n": judged}
    return told | {"prune_rate": rate}


def options(**changes) -> AblationOptions:
    return AblationOptions.model_validate(ABLATION | changes)


def test_the_choice_is_the_most_robust_within_the_budget():
    rows = [row("base model", 10, 50, None), row("X", 6, 50, None), row("X+", 0, 50, None)]
    rows += [row("half", 0, 44), row("few", 3, 46), row("random", 3, 46, 0.05)]
    assert choose(rows, options(utility_budget=0.1)) == {"person": "random"}  # as robust as "few", and smaller
    assert choose(rows, options(utility_budget=0.2)) == {"person": "half"}
    assert choose(rows, options(utility_budget=0.01)) == {"person": None}
    # what could not be judged is not lost
    assert choose([*rows[:3], row("half", 0, 44, judged=44)], options(utility_budget=0.01)) == {"person": "half"}


def test_what_there_was_no_time_for_is_missing_and_the_rest_is_told():
    rows = {"0": row("base model", 10, 50, None), "1": row("X", 6, 50, None), "2": row("X+", 0, 50, None)}
    makers = {k: (lambda r=r: r) for k, r in rows.items()} | {"3": lambda: {"missing": "half"}}
    assert [r["variation"] for r in collect(makers, ["0", "1", "2", "3"])] == ["base model", "X", "X+"]
    assert choose(list(rows.values()), options()) == {"person": None}
    with pytest.raises(UserError, match="hours more"):
        collect(makers, ["0", "3"])


def shop_of(kind: type[Workshop], project: Path, folder: Path, **more) -> Workshop:
    concepts = yaml.safe_load((project / "conf/base/concepts/person.yml").read_text())
    model = ModelSpec.model_validate(
        {"name": "tiny"} | yaml.safe_load((project / "conf/local/parameters.yml").read_text())["model"]
    )
    settings = Settings(
        model,
        PromptOptions.model_validate(ABLATION["prompts"]),
        {"esd": EraserOptions.model_validate(BUDGET["erasers"]["esd"] | {"method": "esd"})},
        {
            "unlearndiffatk": AttackOptions.model_validate(
                BUDGET["attacks"]["unlearndiffatk"] | {"method": "unlearndiffatk"}
            )
        },
        PruneOptions.model_validate(BUDGET["prune"] | BOUND),
        NeuronOptions.model_validate(BUDGET["neurons"]),
        DrawOptions.model_validate(BUDGET["draw"]),
        *({}, None, 3),
    )
    return kind("person", settings, concepts, Cache(folder), {"id": "1", "versions": {}}, True, **more)


@pytest.mark.parametrize("aim", ["carriers", "others"])
def test_a_mask_is_bound_to_the_neurons_that_it_aims_at(aim, tmp_path, make_project):
    """To as many of every layer, and at their weights alone; what is measured is measured as in all other rows."""
    project, cell = make_project(), Cell("person", "esd", "learned", "plain", 3)
    plain = shop_of(Workshop, project, tmp_path)
    shop = shop_of(Aimed, project, tmp_path, aim=aim)
    pruned, denoiser = shop.eraser(cell).pruned, open_model(shop.base).denoiser
    table = plain.ranked(cell)[0]
    assert shop.ranked(cell)[0].equals(table)
    base = measure_concept(
        shop.base, shop.prompts, shop.trajectories("esd"), shop.settings.neurons, shop.settings.prune
    )
    for layer in feed_forwards(denoiser):
        told = table[table["layer"] == layer.down]
        correlated = set(told[told["correlated"]]["neuron"])
        bound = set(pruned[f"{layer.down}.weight"].any(0).nonzero().view(-1).tolist())
        rows = pruned[f"{layer.up}.weight"].any(1).nonzero().view(-1) % told.shape[0]  # the gate's lie behind
        both = bound | set(rows.tolist())
        assert 0 < len(both) <= len(correlated)
        if aim == "others":
            assert not both & correlated
        else:
            contrast = base[f"{layer.down}/a/mean"].mean(0) - base[f"{layer.down}/b/mean"].mean(0)
            norms = denoiser.get_submodule(layer.down).weight.detach().double().pow(2).sum(0).sqrt()
            assert both <= set((contrast * norms).abs().argsort(descending=True)[: len(correlated)].tolist())
    assert {k: v for k, v in shop.parts(cell).items() if k != "aim"} == plain.parts(cell)  # and keys of others stay
    other = shop_of(Aimed, project, tmp_path, aim={"carriers": "others", "others": "carriers"}[aim])
    assert other.fingerprint(cell) != shop.fingerprint(cell) != plain.fingerprint(cell)


def test_it_reads_the_tune_split_and_makes_nothing_twice(make_project, monkeypatch):
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.runner import SequentialRunner

    from excise.pipelines import selection

    project = make_project()
    (project / "docs").mkdir()
    (project / "docs/ablations.json").write_text("[]")
    (project / "conf/base/ablate_pruning/parameters.yml").write_text(json.dumps({"ablation": ABLATION}))
    seen = []
    original = Workshop.row
    monkeypatch.setattr(Workshop, "row", lambda self, cell: seen.append((self.prompts, cell)) or original(self, cell))

    def run() -> list[dict]:
        bootstrap_project(project)
        try:
            with KedroSession.create(project) as session:
                session.run(pipeline_names=["ablate_pruning"], runner=SequentialRunner())
        finally:
            selection.set_selection(None, {})
        return json.loads((project / "docs/ablations.json").read_text())

    rows = run()
    assert [r["variation"] for r in rows] == ["base model", "X", "X+", "half", "few", "random", "plain plus", "others"]
    for prompts, _ in seen:
        assert prompts.loc[prompts["split"] == "test", "prompt_id"].str.contains("-tune-").all()
        assert not prompts["prompt_id"].str.contains("-test-").any()
    by_name = {r["variation"]: r for r in rows}
    assert all(r["n"] == 5 and r["retain_near_n"] + r["retain_far_n"] == 6 for r in rows)
    assert all([(a["attack"], a["n"]) for a in r["attacked"]] == [(a, 5) for a in ABLATION["attacks"]] for r in rows)
    assert by_name["plain plus"]["variant"] == "plus" and by_name["plain plus"]["prune_rate"] is None
    assert by_name["half"]["prune_rate"] == pytest.approx(0.5, abs=1e-3)
    assert by_name["few"]["prune_rate"] == pytest.approx(0.01, abs=1e-3)
    page = (project / "docs/ablations.md").read_text()
    assert "| half |" in page and "Fewest hits under the attack that hits most" in page
    seen.clear()
    assert run() == rows and not seen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eraser": "conceptprune"}, "no P-X"),
        ({"variations": {"odd": {"rat": 0.5}}}, "ablation.variations.odd: rat"),
        ({"variations": {"odd": {"variant": "lucky"}}}, "must be plus, scored or random"),
        ({"variations": {"odd": BOUND | {"aim": "all"}}}, "aim is 'all': it must be carriers or others"),
        ({"variations": {"odd": {"aim": "others"}}}, "set its neurons to correlated"),
        ({"variations": {"odd": BOUND | {"aim": "others", "variant": "plus"}}}, "and no variant plus"),
        ({"attacks": "bribe"}, "no attack 'bribe'"),
        ({"attacks": "merging"}, "put another first"),
        ({"eraser": "ac"}, "no entry of erasers: 'ac'"),
        ({"instead": {"erasers": {"ac": {"steps": 1}}}}, "entry of ablation.instead.erasers: 'ac'"),
        ({"instead": {"attacks": {"p5d": {"steps": 1}}}}, "entry of ablation.instead.attacks: 'p5d'"),
        ({"variations": {"X+": {}}}, "always there"),
        ({"variations": {"odd": {"gates": "top_k"}}}, "need a rate"),
        ({"variations": {"odd": {"unit": "neuron", "neurons": "correlated"}}}, "odd.unit is neuron"),
        ({"variations": {"odd": {"unit": "neuron", "variant": "random"}}}, "are no controls"),
    ],
)
def test_wrong_input_is_one_sentence(changes, message):
    from excise.masks import PruneOptions
    from excise.pipelines.ablate_pruning.nodes import run_variations

    tried = {"unlearndiffatk": {}, "textual_inversion": {}, "merging": {"method": "merging"}}
    rest = [{"esd": {}, "conceptprune": {}}, tried, PruneOptions(), None, 0, None, {}, []]
    with pytest.raises(UserError, match=message):
        run_variations(options(**changes), {}, None, *rest)
