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
from excise.pipelines.ablate_pruning.nodes import choose, collect, write_ablations
from excise.pipelines.ablate_pruning.variations import AblationOptions, concepts_of, rows_of
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
        "others": BOUND | {"aim": "others", "seeds": [5, 6]},
        "X of five steps": {"variant": "unpruned", "eraser": {"steps": 5}},
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


def test_a_variation_may_have_concepts_trainings_and_an_eraser_of_its_own():
    """And what it does not name is as in all other rows."""
    erasers, prune = {"esd": {"steps": 9, "lr": 0.25}}, {"retain_weight": 3.0}
    alone = options(variations={"half": {"seeds": 5, "concepts": "church"}})  # one may stand alone
    assert [(r.concept, r.seed) for r in rows_of(alone, erasers, prune, 4) if r.name == "half"] == [("church", 5)]
    more = {"half": {"seeds": [5, 6], "concepts": ["church"], "eraser": {"steps": 7}, "retain_weight": 8.0}}
    ablation = options(variations={"few": {"rate": 0.01, "gates": "top_k"}} | more)
    rows = rows_of(ablation, erasers, prune, 4)
    assert concepts_of(ablation) == ["person", "church"]
    assert [(r.concept, r.name, r.seed) for r in rows] == [
        *(("person", n, s) for n, s in (("base model", 0), ("X", 4), ("X+", 4), ("few", 4))),
        *(("church", n, s) for n, s in (("base model", 0), ("X", 4), ("X+", 4), ("half", 5), ("half", 6))),
    ]
    assert [(r.eraser.steps, r.eraser.lr, r.prune.retain_weight) for r in rows] == [(9, 0.25, 3.0)] * 7 + [
        (7, 0.25, 8.0)
    ] * 2


def test_the_page_tells_trainings_apart_and_chooses_by_the_first():
    """A mask made of another X is compared with no other, and a concept that is not finished has no choice."""
    rows = [row("base model", 10, 50, None), row("X", 6, 50, None), row("X+", 0, 50, None)]
    rows += [row("half", 3, 46) | {"seed": 5}, row("half", 0, 46) | {"seed": 6}, row("few", 2, 46), row("odd", 0, 50)]
    told = {"seed": 4, "n": 10, "plain_hits": 1, "device": "cpu"}
    rows = [told | r | {"attacked": [a | {"reactivation": None} for a in r["attacked"]]} for r in rows]
    for one, attack in zip((a for r in rows for a in r["attacked"]), ABLATION["attacks"] * 7, strict=True):
        one["attack"] = attack
    rows[0]["seed"], rows[-1]["processor"] = 0, "Abacus"
    variations = {
        "half": {"seeds": [5, 6]},
        "few": {},
        "odd": {"eraser": {"steps": 1}},
        "far": {"concepts": ["church"]},
    }
    ablation = options(variations=variations)
    chosen = choose(rows, ablation)
    assert chosen == {"person": "few", "church": None}
    page = write_ablations(rows, chosen, [str(n) for n in range(11)], ablation, {"command": "kedro run"})
    assert "7 of 11 rows are done" in page and "made on: Abacus, cpu (which is not told)" in page
    assert "| half | 5 | 1 / 10 |" in page and "| half | 6 | 1 / 10 |" in page and "| base model |  | 1 / 10 |" in page
    assert "**few**, 2 of 10 (textual inversion)" in page
    made = {line.split(" | ")[0].strip("| "): line.split(" | ")[-1] for line in page.splitlines() if line[:2] == "| "}
    assert made["odd"] == "Abacus |" and made["few"] == "cpu (which is not told) |" and made["variation"] == "made on |"
    there = [r | {"processor": "Abacus"} if r["variation"] == "few" else r for r in rows]
    assert choose(there, ablation)["person"] == "half"  # another processor's X is another one
    alike = [r | {"processor": "Abacus"} for r in rows]
    assert "made on |" not in write_ablations(alike, chosen, ["0"] * 7, ablation, {"command": "kedro run"})
    assert page.rstrip().endswith("no mask is chosen.")


def test_a_random_mask_of_another_size_is_told_not_to_be_the_control_of_the_learned_one():
    half = {"gates": "top_k", "rate": 0.5}
    few = {"gates": "top_k", "rate": 0.01}
    ablation = options(
        variations={
            "half": half,
            "by lot": half | {"variant": "random"},
            "few": few,
            "its": few | {"variant": "random"},
        }
    )
    sizes = {"base model": None, "X": None, "X+": None, "half": 70, "by lot": 70, "few": 9, "its": 8}
    told = {"seed": 4, "n": 10, "plain_hits": 1, "device": "cpu"}
    rows = [row(name, 3, 46) | told | {"mask_bytes": size} for name, size in sizes.items()]
    for one in (a for r in rows for a in r["attacked"]):
        one["reactivation"] = None
    page = write_ablations(rows, {"person": None}, ["0"] * 7, ablation, {"command": "kedro run"})
    told_so = [line for line in page.splitlines() if "is not as large as" in line]
    assert told_so == [
        "*its* is not as large as *few* (8 and 9 bytes), so that it was made from another training of it."
    ]


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
    names = ["base model", "X", "X+", "half", "few", "random", "plain plus", "others", "others", "X of five steps"]
    assert [r["variation"] for r in rows] == names
    assert [r["seed"] for r in rows] == [0, 3, 3, 3, 3, 3, 3, 5, 6, 3]
    others = [r for r in rows if r["variation"] == "others"]
    assert others[0]["fingerprint"] != others[1]["fingerprint"]
    assert rows[-1]["eraser"] == rows[1]["eraser"] and rows[-1]["fingerprint"] != rows[1]["fingerprint"]
    for prompts, _ in seen:
        assert prompts.loc[prompts["split"] == "test", "prompt_id"].str.contains("-tune-").all()
        assert not prompts["prompt_id"].str.contains("-test-").any()
    by_name = {r["variation"]: r for r in rows}
    assert all(r["n"] == 5 and r["retain_near_n"] + r["retain_far_n"] == 6 for r in rows)
    assert all([(a["attack"], a["n"]) for a in r["attacked"]] == [(a, 5) for a in ABLATION["attacks"]] for r in rows)
    for r in rows:
        assert [r["plain_hits"], *(a["hits"] for a in r["attacked"])] == [
            v.count("h") for v in (r["plain_verdicts"], *(a["verdicts"] for a in r["attacked"]))
        ]
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
        ({"variations": {"odd": {"variant": "lucky"}}}, "odd: variant cannot be 'lucky': it must be 'learned', 'plus'"),
        (
            {"variations": {"odd": BOUND | {"aim": "all"}}},
            "aim cannot be 'all': it must be 'carriers' or 'others'",
        ),
        ({"variations": {"odd": {"aim": "others"}}}, "set its neurons to correlated"),
        ({"variations": {"odd": BOUND | {"aim": "others", "variant": "plus"}}}, "and its variant to that of a mask"),
        ({"variations": {"odd": {"variant": "unpruned", "rate": 0.5}}}, "odd is X.*so that rate does nothing"),
        ({"variations": {"odd": {"eraser": {"step": 3}}}}, "odd: step does not exist"),
        ({"variations": {"odd": {"eraser": {"method": "ac"}}}}, "odd.eraser names another method"),
        ({"variations": {"odd": {"seeds": []}}}, "odd: seeds .*at least 1 item"),
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
