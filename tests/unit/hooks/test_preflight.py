"""What is refused before anything runs, with the real job and the real configuration."""

from __future__ import annotations

import copy
import re
import shutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kedro.config import OmegaConfigLoader
from kedro.framework.project import configure_project
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from safetensors.torch import load_file, save_file

from architectures import PIXELS, make_architecture
from excise.checkpoints.layout import FORMER
from excise.errors import UserError
from excise.hooks.base_model import attacks_have_room, erasers_suit_the_model, model_is_whole
from excise.hooks.masks import neurons_can_aim_masks
from excise.hooks.parameters import options_are_used
from excise.hooks.preflight import inputs_are_there, preflight
from excise.hooks.room import memory_suffices, precision_can_train
from excise.hooks.used import attacks_of, use_of
from excise.masks import PruneOptions, mask_support
from excise.models.layers import cross_attentions
from excise.models.memory import Use, least_memory
from excise.models.spec import ModelSpec
from excise.neurons import find_units
from excise.neurons.units import VALUE
from excise.pipelines import audit, export, prepare, selection
from excise.pipelines.job import create_job
from excise.pipelines.names import audited_attacks
from excise.prompts import PromptOptions
from excise.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[3] / "conf"


@pytest.fixture(autouse=True, scope="module")
def project() -> None:
    """As in a command; whatever ran before may have left Kedro with half a project."""
    configure_project("excise")


@cache
def _configuration(environment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    loader = OmegaConfigLoader(str(CONF), env=environment, **CONFIG_LOADER_ARGS)
    return loader["parameters"], loader["concepts"]


class Run:
    """A run that is about to start; its configuration may be spoilt."""

    def __init__(self, environment: str, concept: str) -> None:
        self.parameters, self.concepts = copy.deepcopy(_configuration(environment))
        self.concept = self.concepts[concept]
        self.pipeline = create_job(concept)

    def check(self) -> None:
        preflight({}, self.catalog(), self.pipeline)

    def catalog(self) -> DataCatalog:
        given = {f"params:{name}": value for name, value in self.parameters.items()} | {"concepts": self.concepts}
        for what in ("erasers", "attacks"):
            given |= {f"params:{what}.{name}": value for name, value in self.parameters[what].items()}
        return DataCatalog({name: MemoryDataset(value) for name, value in given.items()})

    def sentence(self) -> str:
        with pytest.raises(UserError) as refused:
            self.check()
        assert "\n" not in str(refused.value)
        return str(refused.value)


@pytest.fixture
def run() -> Run:
    return Run("base", "person")


@pytest.mark.parametrize("concept", ["person", "fluent", "church"])
def test_what_ships_is_accepted(concept: str) -> None:
    Run("base", concept).check()


@pytest.mark.parametrize("grid", ["study", "ablation", "benchmark", "silencing"])
def test_a_grid_that_is_meant_for_another_model(run: Run, grid: str) -> None:
    from excise.hooks.preflight import grid_is_for_this_model
    from excise.pipelines import ablate_pruning, benchmark, silence_neurons, study_pruning

    made = {"study": study_pruning, "ablation": ablate_pruning, "benchmark": benchmark, "silencing": silence_neurons}[
        grid
    ]
    run.pipeline = made.create_pipeline()
    grid_is_for_this_model({}, run.catalog(), run.pipeline)
    run.parameters["model"]["name"] = "mine"
    said = run.sentence()
    assert f"'{grid}' are meant for emoji64, and the model is 'mine'" in said and f"give {grid}.draw " in said
    assert (f"{grid}.instead" in said) == (grid != "silencing")
    run.parameters[grid]["tuned_for"] = "mine"
    grid_is_for_this_model({}, run.catalog(), run.pipeline)
    del run.parameters[grid]["tuned_for"]  # a grid of one's own need not say
    grid_is_for_this_model({}, run.catalog(), run.pipeline)


def test_who_looks_for_another_domain_is_told_where_no_prompt_says_it(run: Run, caplog: pytest.LogCaptureFixture):
    run.check()
    assert "fidelity.cross" not in caplog.text
    styles = next(judge for judge in run.parameters["fidelity"]["cross"] if judge["domain"] == "style")
    styles["words"] = {"flat": ["unheard-of"]}
    run.check()
    warned = [record for record in caplog.records if "fidelity.cross" in record.getMessage()]
    assert [record.args for record in warned] == [("person", styles["name"])]  # things are not looked for here


@pytest.mark.parametrize("grid", ["", "study", "benchmark"])
def test_an_attack_that_keeps_pictures_is_refused_where_a_concept_is_unsafe(run: Run, grid: str) -> None:
    from excise.hooks.image_attacks import image_attacks_are_allowed
    from excise.pipelines import benchmark, study_pruning

    if grid:
        run.pipeline = {"study": study_pruning, "benchmark": benchmark}[grid].create_pipeline()
        run.parameters[grid]["attacks"] = ["unlearndiffatk", "tina"]
        run.parameters[grid]["transfer"] = []
    else:
        selection.set_selection("person", {}, attack="tina")
        run.pipeline = create_job("person")
    try:
        image_attacks_are_allowed({}, run.catalog(), run.pipeline)
        run.concepts["person"]["unsafe"] = True
        said = run.sentence()
        assert "The attack 'tina' keeps latents of the concept's pictures, which 'person' forbids" in said
        assert said.endswith(f"take it out of {grid}.attacks." if grid else "choose one by words or on weights.")
    finally:
        selection.set_selection(None, {})
    run.pipeline = create_job("person")
    image_attacks_are_allowed({}, run.catalog(), run.pipeline)  # by words


def test_silencing_draws_and_trains_nothing(run: Run) -> None:
    from excise.pipelines.silence_neurons import create_pipeline

    run.pipeline = create_pipeline()
    used = use_of(run.catalog(), run.pipeline)
    assert not used.trained and not used.attacked and used.drawn == run.parameters["silencing"]["prompts"]["test"]
    run.parameters["model"]["dtype"] = "float16"
    precision_can_train({}, run.catalog(), run.pipeline)
    run.parameters["silencing"]["concepts"] = ["nobody"]
    assert "nobody" in run.sentence()


@pytest.mark.parametrize("grid", ["study", "ablation", "benchmark"])
def test_a_grid_needs_memory_and_precision_as_a_run_does(run: Run, grid: str) -> None:
    from excise.pipelines import ablate_pruning, benchmark, study_pruning

    made = {"study": study_pruning, "ablation": ablate_pruning, "benchmark": benchmark}[grid]
    run.pipeline = made.create_pipeline()
    used = use_of(run.catalog(), run.pipeline)
    single = use_of(run.catalog(), create_job("person"))
    asked = run.parameters[grid]
    solved, encoder = {"uce", "rece", "conceptprune"}, {"advunlearn"}  # of the latter the gradient alone needs room
    names = set(asked.get("erasers", {"ac"})) - solved - encoder
    own = [name for name, said in asked.get("variations", {}).items() if "eraser" in said]
    names |= {f"ac ({name})" for name in own}  # a variation's own X needs memory, too
    assert bool(own) == (grid == "ablation")
    names = {f"erasers.{name}" for name in names}
    names |= {"attacks.finetuning"} if grid == "benchmark" else set()  # an attack that trains all weights
    assert {name for name, _, _ in used.trained} == names and single.trained[0] in used.trained
    assert used.drawn == min(asked["draw"]["batch"], asked["prompts"]["test"])
    assert 0 < used.attacked <= asked["prompts"]["test"]
    if grid != "ablation":  # what P-X learns against is run, too, though no row is about it
        asked["attacks"], asked["learns_against"] = ["textual_inversion"], "pez"
        asked["transfer"] = []
        assert {o.method for o in attacks_of(run.catalog(), run.pipeline)} == {"textual_inversion", "pez"}
    precision_can_train({}, run.catalog(), run.pipeline)
    run.parameters["model"]["dtype"] = "float16"
    with pytest.raises(UserError, match="in which gradients overflow"):
        precision_can_train({}, run.catalog(), run.pipeline)


@pytest.mark.parametrize(("architecture", "eraser"), [("sd3", "rece"), ("sdxl", "advunlearn")])
def test_an_eraser_that_cannot_work_on_a_model_says_so_first(
    run: Run, tmp_path: Path, architecture: str, eraser: str
) -> None:
    own = {
        "path": str(make_architecture(architecture, tmp_path / "m")),
        "pixels": PIXELS[architecture],
        "name": "other",
    }
    run.parameters["model"] |= own
    run.pipeline = create_job("person", eraser)
    with pytest.raises(UserError, match=r"choose (uce|another method)"):
        erasers_suit_the_model({}, run.catalog(), run.pipeline)
    run.pipeline = create_job("person", "esd")
    erasers_suit_the_model({}, run.catalog(), run.pipeline)


def test_an_audit_whose_attacks_train_weights_is_no_matter_of_halves(auditing: Run, monkeypatch: Any) -> None:
    auditing.parameters["model"]["dtype"] = "float16"
    monkeypatch.setattr(selection, "_audit", selection.AuditChoice(attacks=("finetuning",)))
    auditing.pipeline = audit.create_pipeline(concept="person")
    assert "in which gradients overflow" in auditing.sentence()
    monkeypatch.setattr(selection, "_audit", selection.AuditChoice(attacks=("unlearndiffatk",)))
    auditing.pipeline = audit.create_pipeline(concept="person")
    precision_can_train({}, auditing.catalog(), auditing.pipeline)


def test_the_device_is_settled_so_that_another_ones_work_is_not_taken_over(run: Run) -> None:
    catalog = run.catalog()
    assert run.parameters["model"]["device"] == "auto"
    memory_suffices({}, catalog, run.pipeline)
    settled = catalog["params:model"].load()
    assert settled.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert settled.model_copy(update={"device": "auto"}) == ModelSpec.model_validate(run.parameters["model"])


def test_trajectories_that_were_deleted_are_told_before_anything_runs(run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "bank.safetensors"
    kept.write_bytes(b"")
    catalog = DataCatalog({"person.trajectories": MemoryDataset({"prompts": "abc", "concept": str(kept)})})
    stage = Pipeline([node(lambda one: one, "person.trajectories", "person.other", name="stage")])
    inputs_are_there({}, catalog, stage)
    kept.unlink()
    with pytest.raises(UserError, match="are gone from the cache"):
        inputs_are_there({}, catalog, stage)


def test_a_concept_that_a_variation_names_is_known(run: Run) -> None:
    from excise.pipelines import ablate_pruning

    run.pipeline = ablate_pruning.create_pipeline()
    run.parameters["ablation"]["variations"] = {"odd": {"concepts": ["nobody"]}}
    assert "nobody" in run.sentence()


def test_unknown_eraser(run: Run) -> None:
    run.pipeline = create_job("person", "esdd")
    assert "did you mean 'esd'?" in run.sentence()


def test_eraser_without_options(run: Run) -> None:
    del run.parameters["erasers"]["ac"]
    assert "add erasers.ac" in run.sentence()


def test_eraser_under_the_name_of_another(run: Run) -> None:
    run.parameters["erasers"]["ac"]["method"] = "uce"
    assert "erasers.ac.method is 'uce'" in run.sentence()


def test_option_that_the_eraser_does_not_have(run: Run) -> None:
    run.parameters["erasers"]["ac"]["options"] = {"negative": 1.0}
    assert run.sentence().startswith("erasers.ac.options: negative")


def test_unknown_attack(run: Run) -> None:
    run.pipeline = create_job("person", attack="unlearndifatk")
    assert "did you mean 'unlearndiffatk'?" in run.sentence()


def test_option_that_the_attack_cannot_have(run: Run) -> None:
    run.parameters["attacks"]["unlearndiffatk"]["options"]["tokens"] = 0
    assert run.sentence().startswith("attacks.unlearndiffatk.options: tokens")


@pytest.mark.parametrize("which", ["judge", "retain_judge"])
def test_unknown_judge(run: Run, which: str) -> None:
    run.concept[which]["name"] = "nobody"
    assert "no judge 'nobody'" in run.sentence()


def test_threshold_that_the_judge_never_reports(run: Run) -> None:
    run.concept["judge"]["threshold"] = 0.1
    assert "reports no score below 0.25" in run.sentence()


@pytest.mark.parametrize("retain", ["retain_near", "retain_far"])
def test_retain_label_that_the_judge_does_not_know(run: Run, retain: str) -> None:
    run.concept[retain]["unicorn"] = ["a unicorn"]
    assert "'object_probe' has no label 'unicorn'" in run.sentence()


def test_a_prompt_set_must_be_there_before_anything_runs(run: Run, tmp_path: Path) -> None:
    run.concept["prompts_from"] = {"set": "i2pp"}
    assert "did you mean 'i2p'?" in run.sentence()
    run.concept["prompts_from"] = {"set": "i2p", "file": str(tmp_path / "i2p.csv")}
    assert "There is no prompt file" in run.sentence()
    (tmp_path / "i2p.csv").write_text("prompt\na church\na barn\n")
    run.check()
    del run.concept["prompts_from"]
    run.concept["files"] = {"test": str(tmp_path / "none.csv")}
    assert "There is no prompt file" in run.sentence()


def test_only_what_is_used_is_checked(run: Run) -> None:
    run.concept["judge"]["name"] = "nobody"
    run.parameters["attacks"]["unlearndiffatk"]["method"] = "nothing"
    run.pipeline = prepare.create_pipeline(concept="person")
    run.check()


def test_stable_diffusion_needs_its_weights_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sentence = Run("sd14", "nudity").sentence()
    assert "CompVis/stable-diffusion-v1-4" in sentence and "model.path" in sentence


@pytest.mark.parametrize("concept", ["nudity", "van_gogh", "church"])
def test_stable_diffusion_needs_a_judge_too(concept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "weights" / "sd14"
    model.mkdir(parents=True)
    (model / "model_index.json").write_text("{}")  # that it is there is all that is looked at so early
    sentence = Run("sd14", concept).sentence()
    assert "clip-vit-base-patch32" in sentence and "'folder'" in sentence


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"variant": "random"}, "No 'random' is made of the eraser 'ac': set export.variant to unpruned or plus or "),
        ({"variant": "random"}, "or learned, or masks to all."),
        (
            {"variant": "plus", "eraser": "conceptprune"},
            "of the eraser 'conceptprune': set export.variant to unpruned.",
        ),
        ({"eraser": "esdd"}, "did you mean 'esd'?"),
    ],
)
def test_export_of_what_no_job_makes(
    run: Run, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], said: str
) -> None:
    for name, value in chosen.items():
        monkeypatch.setattr(selection, f"_{name}", value)
    run.parameters["export"]["variant"] = chosen.get("variant")
    run.pipeline = export.create_pipeline(concept="person")
    assert said in run.sentence()


@pytest.mark.parametrize(
    ("prune", "masks", "said"),
    [
        (
            {"unit": "neuron", "neurons": "correlated", "group": "ffn"},
            "learned",
            "set prune.neurons to all, or prune.unit to weight.",
        ),
        ({"unit": "neuron"}, "all", "(masks is learned), or set prune.unit to weight."),
    ],
)
def test_whole_neurons_have_no_mask_that_would_be_no_control(
    run: Run, monkeypatch: pytest.MonkeyPatch, prune: dict[str, str], masks: str, said: str
) -> None:
    run.parameters["prune"] |= prune
    monkeypatch.setattr(selection, "_masks", masks)
    run.pipeline = create_job("person")
    assert said in run.sentence()
    run.parameters["prune"] |= {"unit": "weight"}
    run.check()


def test_a_learned_mask_of_whole_neurons_is_accepted(run: Run) -> None:
    run.parameters["prune"] |= {"unit": "neuron", "neurons": "all"}
    run.check()


TRAINING = {"study": "study_pruning", "benchmark": "benchmark", "ablation": "ablate_pruning"}
KEYS = "{0}.neurons is correlated, and keys, which {0}.group ffn+kv holds, are no neurons"


@pytest.mark.parametrize("group", ["ffn", "kv", "v", "ffn+kv", "ffn+v"])
@pytest.mark.parametrize("neurons", ["all", "correlated"])
@pytest.mark.parametrize("values", [False, True])
def test_correlated_neurons_bind_all_that_the_mask_may_hold(run: Run, group: str, neurons: str, values: bool) -> None:
    """Refused is just what chooses rows of keys by channels of values, or binds nothing: asked of the support."""
    run.parameters["prune"] |= {"group": group, "neurons": neurons}
    run.parameters["neurons"]["values"] = values
    options = PruneOptions(group=group, neurons=neurons)
    if neurons == "correlated" and (_keys_follow_values(options, values) or _leaves_a_weight_free(options, values)):
        assert run.sentence().startswith(f"prune.neurons is correlated, and {'keys' if 'kv' in group else 'no value'}")
    else:
        run.check()


@cache
def _small_denoiser() -> Any:
    """Layers of the real kinds."""
    from excise.embedded.denoiser import DenoiserOptions, build_denoiser
    from tiny import LOOP

    return build_denoiser(DenoiserOptions(channels=(16, 32), heads=2, loop=LOOP), text_width=32)


def _support(prune: PruneOptions, values: bool, chosen: Any) -> dict[str, Any]:
    """Of a real denoiser, some of whose neurons are correlated."""
    tables = [
        pd.DataFrame({"layer": u.name, "neuron": range(u.width)}).assign(
            correlated=lambda t, u=u: pd.Series(chosen(u, t["neuron"]), index=t.index)
        )
        for u in find_units(_small_denoiser(), values)
    ]
    return mask_support(_small_denoiser(), prune, pd.concat(tables, ignore_index=True))


def _leaves_a_weight_free(prune: PruneOptions, values: bool) -> bool:
    """Whether weights may go although no neuron is correlated."""
    return any(bool(part.any()) for part in _support(prune, values, lambda unit, neuron: False).values())


def _keys_follow_values(prune: PruneOptions, values: bool) -> bool:
    """Whether other value channels make other rows of keys."""
    denoiser = _small_denoiser()
    supports = [
        _support(prune, values, lambda unit, neuron, first=first: (unit.kind != VALUE) | (neuron % 2 == first))
        for first in (0, 1)
    ]
    keys = [f"{c.key}.weight" for c in cross_attentions(denoiser)]
    return any(not torch.equal(supports[0][k], supports[1][k]) for k in keys if k in supports[0])


@pytest.mark.parametrize(
    ("grid", "spoilt", "place"),
    [
        ("study", {"instead": {"prune": {"neurons": "correlated"}}}, "prune"),
        ("benchmark", {"instead": {"prune": {"neurons": "correlated"}}}, "prune"),
        ("ablation", {"variations": {"odd": {"neurons": "correlated"}}}, "ablation.variations.odd"),
    ],
)
def test_keys_are_no_neurons_in_a_grid(run: Run, grid: str, spoilt: dict[str, Any], place: str) -> None:
    from excise.pipelines.study_pruning.nodes import laid_over

    run.pipeline = import_module(f"excise.pipelines.{TRAINING[grid]}").create_pipeline()
    neurons_can_aim_masks({}, run.catalog(), run.pipeline)
    run.parameters[grid] = laid_over(run.parameters[grid], spoilt)
    with pytest.raises(UserError) as refused:
        neurons_can_aim_masks({}, run.catalog(), run.pipeline)
    assert str(refused.value).startswith(KEYS.format(place))


def test_value_channels_are_nothing_to_what_makes_no_mask(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.parameters["prune"]["neurons"], run.parameters["neurons"]["values"] = "correlated", True
    monkeypatch.setattr(selection, "_eraser", "conceptprune")  # a mask already
    neurons_can_aim_masks({}, run.catalog(), create_job("person"))
    run.parameters["ablation"]["variations"] = {"odd": {"variant": "plus", "neurons": "correlated"}}
    run.pipeline = import_module("excise.pipelines.ablate_pruning").create_pipeline()
    neurons_can_aim_masks({}, run.catalog(), run.pipeline)


def test_what_is_exported_is_known_when_pipelines_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(**chosen: str) -> set[str]:
        with monkeypatch.context() as patch:
            for name, value in chosen.items():
                patch.setattr(selection, f"_{name}", value)
            return {name for name in export.create_pipeline(concept="person").inputs() if name.endswith(".eraser")}

    assert read() == {"person.p_ac.eraser"}
    assert read(variant="unpruned", eraser="ac") == {"person.ac.eraser"}
    assert read(variant="random", masks="all") == {"person.p_ac_random.eraser"}
    assert read(eraser="conceptprune") == {"person.conceptprune.eraser"}


# an audit -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def auditing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    from safetensors.torch import save_file

    monkeypatch.setattr(selection, "_audit", selection.AuditChoice())  # whatever an earlier run has chosen
    run.pipeline = audit.create_pipeline(concept="person")
    name, shape = "down_blocks.0.resnets.0.norm1.bias", (64,)
    save_file({name: torch.ones(shape)}, tmp_path / "changed.safetensors")
    run.parameters["checkpoint"] = str(tmp_path / "changed.safetensors")
    return run


def test_nothing_to_audit(auditing: Run) -> None:
    auditing.check()
    auditing.parameters["checkpoint"] = None
    assert auditing.sentence() == "There is nothing to audit: name an erased model with --params=checkpoint=PATH."


def test_what_cannot_be_audited(auditing: Run, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for name, said in (("none", "There is no checkpoint"), ("model.ckpt", "is a pickle"), ("x", "is damaged or no")):
        if name != "none":
            (tmp_path / name).write_bytes(b"anything")
        auditing.parameters["checkpoint"] = str(tmp_path / name)
        assert said in auditing.sentence()
    for key, said in (("what.ever", "no kind of checkpoint"), ("up_blocks.9.weight", "that emoji64 does not have")):
        save_file({key: torch.ones(1)}, tmp_path / "y.safetensors")
        auditing.parameters["checkpoint"] = str(tmp_path / "y.safetensors")
        assert said in auditing.sentence()


def test_attacks_that_an_audit_can_run(auditing: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(*attacks: str, **more: object) -> list[str]:
        monkeypatch.setattr(selection, "_audit", selection.AuditChoice(attacks, **more))
        auditing.pipeline = audit.create_pipeline(concept="person")
        return audited_attacks("person")

    some = ("gcg", "img2img", "revival")
    assert choose(*some, all=True) == ["gcg", "img2img"]
    assert choose(*some, all=True, masked=True) == list(some)
    assert choose(*some, all=True, unsafe=frozenset({"person"})) == ["gcg"]
    assert choose(*some) == list(some)  # what is named is run
    assert choose("gcg", unsafe=frozenset({"person"})) == ["gcg"]
    auditing.check()
    monkeypatch.setattr(selection, "_concept", "person")
    choose("img2img", unsafe=frozenset({"person"}))
    assert "'img2img' keeps latents of the concept's pictures" in auditing.sentence()
    choose("gcgg")
    assert "did you mean 'gcg'?" in auditing.sentence()
    choose("revival", masked=False)
    assert "this checkpoint does not say which weights that are" in auditing.sentence()


def test_options_of_an_audit_that_do_not_exist(auditing: Run) -> None:
    auditing.parameters["audit"] = {"attacks": []}
    with pytest.raises(ValueError, match="name at least one attack"):
        auditing.check()


def test_an_audit_is_announced(
    auditing: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Second computation of its work: every set of pictures, and two models under the attack."""
    import excise.planning
    from excise.hooks import AnnounceHook

    seen = []
    monkeypatch.setattr(excise.planning, "measure_seconds", lambda work, *rest: seen.append(work) or 600.0)
    with caplog.at_level("INFO", "excise.hooks.announce"):
        AnnounceHook().before_pipeline_run({}, auditing.pipeline, auditing.catalog())
    assert "Auditing" in caplog.text and "under 1 attacks for 'person'" in caplog.text and "10 minutes" in caplog.text
    p = auditing.parameters["prompts"]
    prompts, draw = PromptOptions.model_validate(p), auditing.parameters["draw"]
    options = auditing.parameters["attacks"]["unlearndiffatk"]
    sets = 1 + 1 + 1 + 2 + 2  # base, its twins, audited; both attacked, and with the text of the tokens
    pictures = draw["per_prompt"] * prompts.test * sets
    retain = 2 * draw["per_retain_prompt"] * prompts.retain_test
    assert seen[0].images == pictures + 2 * retain + 2 * options.get("images", 0) * prompts.test
    assert seen[0].training > 0 and seen[0].forward > 2 * draw["steps"] * pictures


@pytest.mark.parametrize(
    "params",
    [
        {"eraser": "esd", "erasers": {"esd": {"steps": 3}}},
        {"attack": "finetuning", "attacks": {"finetuning": {"steps": 3}}},
        {"attack": "finetuning", "attacks": {"unlearndiffatk": {"steps": 3}}},  # what P-X learns against
    ],
)
@pytest.mark.parametrize("stage", ["erase", "evaluate", "report"])
def test_options_that_the_job_uses_may_be_given_to_each_of_its_stages(
    monkeypatch: pytest.MonkeyPatch, params: dict[str, Any], stage: str
) -> None:
    for what in ("eraser", "attack"):
        if what in params:
            monkeypatch.setattr(selection, f"_{what}", params[what])
    pipeline = import_module(f"excise.pipelines.{stage}").create_pipeline(concept="person")
    options_are_used({"runtime_params": params}, pipeline)
    for other in ({"erasers": {"uce": {}}}, {"attacks": {"p4d": {}}}):
        with pytest.raises(UserError, match="does not read"):
            options_are_used({"runtime_params": other}, pipeline)


def test_what_is_selected_by_default_is_what_the_configuration_says(run: Run) -> None:
    assert (run.parameters["eraser"], run.parameters["attack"]) == (selection.ERASER, selection.ATTACK)


# a base model that is not all there --------------------------------------------------------------------------------
@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(ModelSpec(name="emoji64", path="embedded:emoji64").folder, folder)
    run.parameters["model"]["path"] = str(folder)
    return folder


def test_a_copy_of_a_model_is_whole(run: Run, copied: Path) -> None:
    """So that what follows is refused for what is taken away from it."""
    run.check()


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model", "vae/diffusion_pytorch_model"])
def test_a_model_without_one_of_its_weights_is_refused(run: Run, copied: Path, part: str) -> None:
    """transformers would draw it by lot, diffusers leave it without values."""
    path = copied / f"{part}.safetensors"
    weights = load_file(path)
    lost = sorted(weights)[len(weights) // 2]
    save_file({n: w for n, w in weights.items() if n != lost}, path, {"format": "pt"})
    assert lost in run.sentence()
    run.pipeline = prepare.create_pipeline(concept="person")  # a stage, or a task of a scheduler's
    assert lost in run.sentence()


def test_a_stage_settles_the_model_for_those_that_follow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What suffices for prompts alone does not for training: a task or a stage chooses as the whole job would."""
    import kedro.framework.project

    import excise.models.memory

    stage, job = prepare.create_pipeline(concept="person"), create_job("person")
    monkeypatch.setattr(kedro.framework.project, "pipelines", {"prepare": stage, "erase_nsfw": job})
    run.parameters["model"]["dtype"] = "auto"
    spec = ModelSpec.model_validate(run.parameters["model"] | {"dtype": "float32"})
    needs = [least_memory(spec, use_of(run.catalog(), pipeline)).total for pipeline in (stage, job)]
    assert needs[0] < needs[1]
    monkeypatch.setattr(excise.models.memory, "memory_here", lambda spec: int(1.3 * needs[0]))
    found = []
    task = job.only_nodes("person.identify_model")
    for name, pipeline in (("prepare", stage), ("erase_nsfw", task), (None, stage)):
        catalog = run.catalog()
        memory_suffices({"pipeline_names": name and [name]}, catalog, pipeline)
        found.append(catalog["params:model"].load().dtype)
    assert found == ["bfloat16", "bfloat16", "float32"]  # the last is asked for nothing but itself
    run.parameters["model"]["dtype"] = "float16"
    precision_can_train({"pipeline_names": None}, run.catalog(), stage)
    with pytest.raises(UserError, match="in which gradients overflow"):
        precision_can_train({"pipeline_names": ["prepare"]}, run.catalog(), stage)


def test_a_weight_of_another_shape_than_the_configuration_says_is_refused(run: Run, copied: Path) -> None:
    path = copied / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = next(n for n, w in weights.items() if w.dim() == 2)
    save_file(weights | {name: weights[name][:, 1:].contiguous()}, path, {"format": "pt"})
    rows, columns = weights[name].shape
    said = run.sentence()
    assert f"'{name}' of shape {rows} x {columns - 1}, and its config.json asks for {rows} x {columns}" in said


def test_an_attack_that_leaves_no_token_for_the_prompt_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.parameters["attacks"]["unlearndiffatk"]["options"]["tokens"] = 60
    more = re.search(r"is to look for 60 tokens, and the model reads (\d+)", run.sentence())
    assert more
    run.parameters["attacks"]["unlearndiffatk"]["options"]["tokens"] = int(more[1])
    found = re.search(r"leaves 0 of the (\d+) tokens .* and the shortest one has (\d+)", run.sentence())
    assert found
    room, shortest = map(int, found.groups())
    run.parameters["attacks"]["unlearndiffatk"]["options"]["tokens"] = room - shortest
    run.check()
    run.parameters["attacks"]["unlearndiffatk"]["options"]["tokens"] = room - shortest + 1
    assert f"leaves {shortest - 1} of the {room} tokens" in run.sentence()
    import kedro.framework.project

    stage = prepare.create_pipeline(concept="person")  # told by the first stage, and not when the attack's turn comes
    monkeypatch.setattr(kedro.framework.project, "pipelines", {"prepare": stage})
    with pytest.raises(UserError, match=f"leaves {shortest - 1} of the {room} tokens"):
        attacks_have_room({"pipeline_names": ["prepare"]}, run.catalog(), stage)


def test_copies_in_another_precision_need_no_memory(run: Run, copied: Path) -> None:
    spec = ModelSpec.model_validate(run.parameters["model"])
    alone = least_memory(spec, Use())
    for part, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        shutil.copy(copied / part / f"{name}.safetensors", copied / part / f"{name}.fp16.safetensors")
    assert least_memory(spec, Use()) == alone
    (copied / "unet/diffusion_pytorch_model.safetensors").unlink()
    assert least_memory(spec, Use()) == alone


def test_a_tokenizer_without_a_vocabulary_is_refused(run: Run, copied: Path) -> None:
    for path in (copied / "tokenizer").iterdir():
        if path.name != "tokenizer_config.json":
            path.unlink()
    assert re.search(r"has a vocabulary of \d: fetch the model anew", run.sentence())


def test_a_model_as_it_was_published_is_whole(run: Run, copied: Path) -> None:
    """Attention layers by their former names, copies in another precision, and a part that no pipeline has."""
    path = copied / "vae/diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    former = {new: old for old, new in FORMER.items()}
    old = {re.sub("|".join(map(re.escape, former)), lambda m: former[m[0]], n): w for n, w in weights.items()}
    assert old.keys() != weights.keys()
    old |= {"encoder.position_ids": torch.zeros(1, dtype=torch.int64)}
    save_file(old, path, {"format": "pt"})
    shutil.copy(path, copied / "vae/diffusion_pytorch_model.fp16.safetensors")
    (copied / "text_encoder_3").mkdir()
    save_file({"x": torch.zeros(1)}, copied / "text_encoder_3/model.safetensors")
    run.parameters["model"]["dtype"] = "auto"
    model_is_whole({}, run.catalog(), run.pipeline)


# tables that would be read otherwise than they are meant ------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prompt\na church, by a lake\na hut, old\n", 2),
        ("prompt,seed\na church,1\na church, by a lake,3\n", 3),
        ('prompt,seed\n"a church, by a lake",3\n"a hut, old",4\n', None),
        ("\ufeffprompt,seed\na church,3\na hut,4\n", None),
    ],
)
def test_commas_in_prompts_must_be_quoted(run: Run, tmp_path: Path, text: str, line: int | None) -> None:
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    run.concept["prompts_from"] = {"file": str(tmp_path / "own.csv"), "splits": ["test"]}
    run.parameters["prompts"]["test"] = 2
    if line is None:
        run.check()
    else:
        assert run.sentence().startswith(f"own.csv has more fields in line {line} than names in its first line")


def test_a_split_that_the_filter_has_emptied_is_refused(run: Run) -> None:
    run.concept["target"]["test"] = ["a girl in a school", "a school boy"]
    assert "the split 'test' has 0 prompts left, since" in run.sentence()


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        ({"name": "nudenet", "labels": ["faces"], "threshold": 0.3}, "takes 32 for 'pixels'"),
        ({"name": "nudenet", "labels": ["faces"], "threshold": 0.3, "options": {"pixels": 0}}, ""),
        ({"name": "object_probe", "labels": ["church"], "threshold": 0.5}, "takes what ships for 'file'"),
    ],
)
def test_a_judge_of_another_model_is_told_where_its_options_are_for_the_one_that_ships(
    run: Run, caplog: pytest.LogCaptureFixture, judge: dict[str, Any], told: str
) -> None:
    from excise.hooks.preflight import judges_suit_the_model

    run.pipeline = create_job("person")
    concepts = copy.deepcopy(run.catalog()["concepts"].load())
    concepts["person"]["judge"], concepts["person"]["second_judge"] = judge, None
    for path in ("embedded:emoji64", "weights/mine"):
        catalog = run.catalog()
        catalog["concepts"].save(concepts)
        catalog["params:model"].save(dict(catalog["params:model"].load()) | {"path": path})
        judges_suit_the_model({}, catalog, run.pipeline)
        said = [r.getMessage() for r in caplog.records if f"The judge '{judge['name']}' of" in r.getMessage()]
        said = [one for one in said if "object_probe" not in one or judge["name"] == "object_probe"]
        assert bool(said) == (bool(told) and path == "weights/mine") and all(told in one for one in said)
