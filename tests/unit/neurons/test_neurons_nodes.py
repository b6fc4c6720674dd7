"""The nodes that find neurons, score masks and measure reactivation, against sums by hand on a tiny real model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from excise.attacks import AttackOptions
from excise.cache import Cache
from excise.erasers import Eraser
from excise.erasers.bank import Bank, build_bank
from excise.errors import UserError
from excise.masks import PruneOptions
from excise.models.diffusion import DiffusionModel
from excise.models.layers import feed_forwards, parameter_names
from excise.pipelines.erase.nodes import (
    NeuronOptions,
    adversarial_states,
    asked_of,
    attack_eraser,
    forget_model,
    measure_attacked,
    measure_concept,
    rank_neurons,
    score_masks,
)
from excise.pipelines.evaluate.nodes import measure_reactivation, measure_reference

TEXTS = {
    ("target", "fit"): ["an old man", "a woman", "a guy"],
    ("neutral", "fit"): ["a robot", "a house", "a robot on a blue background"],
    ("target", "test"): ["a man on a red background", "an old woman"],
    ("neutral", "test"): ["a robot on a red background", "a bee"],
    ("retain_near", "fit"): ["a church"],
}
ATTACKED = {"fit": ["bee church old man", "", "fish a guy"], "test": ["rose man", "church an old woman"]}
NEURONS, PRUNE = NeuronOptions(timesteps=2, values=True, batch=2), PruneOptions(top=0.25, bins=2)


class Bench:
    """What the nodes are given, and a second way to the activations: one prompt at a time, hooks of its own."""

    def __init__(self, spec, folder) -> None:
        self.model = DiffusionModel.load(spec)
        self.known: dict[tuple, dict[str, np.ndarray]] = {}
        self.spec = spec.model_copy(update={"sha256": self.model.sha256}).model_dump(mode="json")
        rows = [(s, split, text) for (s, split), texts in TEXTS.items() for text in texts]
        self.prompts = pd.DataFrame(rows, columns=["set", "split", "prompt"])
        self.banks: dict[str, Bank] = {}
        self.trajectories: dict[str, str] = {}
        for name, split in (("concept", "fit"), ("test", "test")):
            path, texts = folder / f"{name}.safetensors", TEXTS["target", split]
            seeds = [7 + i for i in range(len(texts))]
            self.banks[split] = build_bank(self.model, texts, seeds, 4, 2.0, path, name)
            self.trajectories[name] = str(path)
        modules = dict(self.model.denoiser.named_modules())
        self.widths = {f.down: modules[f.down].in_features for f in feed_forwards(self.model.denoiser)}
        values = sorted(n for n in modules if n.endswith("attn2.to_v"))
        self.widths |= {n: modules[n].out_features for n in values}

    def adversarial(self, split: str) -> pd.DataFrame:
        """As an attack leaves it; a prompt that was not attacked has no tokens."""
        ids = self.model.tokenizer(ATTACKED[split], add_special_tokens=False).input_ids
        table = pd.DataFrame({"prompt": TEXTS["target", split], "token_ids": [list(i) if i else [] for i in ids]})
        return table.assign(embedding=[[] for _ in ids], latent=[[] for _ in ids], weights="")

    def attacked(self, split: str) -> list[str]:
        return [new or old for new, old in zip(ATTACKED[split], TEXTS["target", split], strict=True)]

    @torch.no_grad()
    def read(self, texts: list[str], split: str, eraser=None) -> dict[str, list[list[torch.Tensor]]]:
        """Linear layer -> for every prompt and each of the two steps, (input, output) tokens in double precision."""
        bank, found = self.banks[split], {}
        if eraser is not None:
            with self.model.wearing(eraser):
                return self.read(texts, split)
        hooks = []
        for name, module in self.model.denoiser.named_modules():
            if isinstance(module, torch.nn.Linear):
                hooks.append(
                    module.register_forward_hook(
                        lambda m, given, out, n=name: seen.update({n: (given[0][0].double(), out[0].double())})
                    )
                )
        for row, text in enumerate(texts):
            for step in (1, 2):  # in the middle of four
                seen: dict = {}
                state = self.model.encode([text])
                self.model.predict(bank.latents[step, row : row + 1], bank.times[step], state)
                for name, both in seen.items():
                    found.setdefault(name, {}).setdefault(row, []).append(both)
        for hook in hooks:
            hook.remove()
        return {name: list(rows.values()) for name, rows in found.items()}

    def neurons(self, texts: list[str], split: str, eraser=None) -> dict[str, np.ndarray]:
        """Unit -> (prompts, bins, width), tokens averaged; a bin is a step here."""
        asked = (*texts, split, eraser is None)
        if asked not in self.known:
            seen = self.read(texts, split, eraser)
            self.known[asked] = {
                unit: np.array([[both[unit.endswith("to_v")].mean(0).numpy() for both in row] for row in seen[unit]])
                for unit in self.widths
            }
        return self.known[asked]

    def norms(self, eraser=None) -> dict[str, np.ndarray]:
        """Unit -> norm of the weights that read each neuron."""
        if eraser is not None:
            with self.model.wearing(eraser):
                return self.norms()
        readers = {u: u.replace("to_v", "to_out.0") for u in self.widths}
        weights = {u: self.model.denoiser.get_parameter(f"{n}.weight").detach() for u, n in readers.items()}
        return {u: np.linalg.norm(w.double().numpy(), axis=0) for u, w in weights.items()}


@pytest.fixture(scope="module")
def bench(tiny_spec, tmp_path_factory):
    yield Bench(tiny_spec, tmp_path_factory.mktemp("banks"))
    forget_model()


@pytest.fixture(scope="module")
def eraser(bench, make_eraser):
    return make_eraser(bench.model)


@pytest.fixture(scope="module")
def concept(bench) -> dict:
    return measure_concept(bench.spec, bench.prompts, bench.trajectories, NEURONS, PRUNE)


@pytest.fixture(scope="module")
def attacked(bench, eraser) -> dict:
    return measure_attacked(bench.spec, eraser, bench.adversarial("fit"), bench.trajectories, NEURONS, PRUNE)


@pytest.fixture(scope="module")
def table(bench, concept, attacked) -> pd.DataFrame:
    return rank_neurons(bench.spec, concept, attacked, NEURONS, PRUNE)


def same(found, expected) -> None:
    """Within a thousandth of the largest."""
    expected = np.asarray(expected)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-3 * abs(expected).max())


def sensed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean |a - b| over the root mean square, averaged over bins; (width,)."""
    return (abs(first - second).mean(0) / np.sqrt((first**2 + second**2).mean(0) / 2)).mean(0)


def test_a_concept_is_measured_beside_its_twins(bench, concept):
    first, second = (bench.neurons(TEXTS[s, "fit"], "fit") for s in ("target", "neutral"))
    assert concept["count"].tolist() == [3]
    for unit, width in bench.widths.items():
        a, b = first[unit], second[unit]
        assert concept[f"{unit}/a/mean"].shape == (2, width)
        for name, x in (("a", a), ("b", b), ("d", a - b), ("absd", abs(a - b))):
            same(concept[f"{unit}/{name}/mean"], x.mean(0))
        same(concept[f"{unit}/d/m2"], ((a - b - (a - b).mean(0)) ** 2).sum(0))


def test_an_attack_is_measured_on_the_erased_model(bench, eraser, attacked):
    first = bench.neurons(TEXTS["target", "fit"], "fit", eraser)
    second = bench.neurons(bench.attacked("fit"), "fit", eraser)
    for unit in bench.widths:
        for name, x in (("a", first[unit]), ("b", second[unit]), ("d", first[unit] - second[unit])):
            same(attacked[f"{unit}/{name}/mean"], x.mean(0))


def test_neurons_are_ranked_by_the_concept_and_sensed_under_attack(bench, eraser, table):
    first, second = (bench.neurons(TEXTS[s, "fit"], "fit") for s in ("target", "neutral"))
    plain = bench.neurons(TEXTS["target", "fit"], "fit", eraser)
    crafted = bench.neurons(bench.attacked("fit"), "fit", eraser)
    assert set(table["layer"]) == set(bench.widths) and len(table) == sum(bench.widths.values())
    for unit, width in bench.widths.items():
        rows, d = table[table["layer"] == unit], first[unit] - second[unit]
        correlation = (d.mean(0) / d.std(0, ddof=1)).mean(0)
        same(rows["correlation"], correlation)
        same(rows["sensitivity"], sensed(plain[unit], crafted[unit]))
        assert rows.loc[rows["correlated"], "neuron"].tolist() == sorted(
            np.argsort(-abs(correlation))[: round(0.25 * width)].tolist()
        )


def test_scores_are_weight_times_contrast_times_neuron(bench, table):
    found = score_masks(bench.spec, bench.prompts, bench.trajectories, table, NEURONS, PRUNE)
    assert set(found) == set(parameter_names(bench.model.denoiser, "ffn+kv"))
    loudness = []
    for group in ("target", "neutral"):
        seen = bench.read(TEXTS[group, "fit"], "fit")
        inputs = {n: torch.cat([both[0] for row in rows for both in row]).numpy() for n, rows in seen.items()}
        loudness.append({n: np.sqrt((x**2).mean(0)) for n, x in inputs.items()})
    ups = {f.up: f.down for f in feed_forwards(bench.model.denoiser)}
    raised = 0
    for name, scores in found.items():
        layer = name.removesuffix(".weight")
        weight = bench.model.denoiser.get_parameter(name).detach().double().numpy()
        expected = abs(weight) * np.maximum(0, loudness[0][layer] - loudness[1][layer])
        rows = table[table["layer"] == ups.get(layer, layer)]
        if len(rows):  # the neurons that it writes to or reads from, but of a key none
            worth = (rows["correlation"].abs() * rows["sensitivity"]).to_numpy()
            factor = 1 + np.array([(worth <= one).mean() for one in worth])
            reads = layer in ups.values()
            expected = expected * (factor[None] if reads else np.tile(factor, 1 + (layer in ups))[:, None])
            raised += 1
        same(scores, expected / expected.mean())
    assert raised == 2 * len(ups) + sum(u.endswith("to_v") for u in bench.widths)


def test_reactivation_is_the_concepts_share_that_is_back(bench, eraser, table):
    reference = measure_reference(bench.spec, bench.prompts, bench.trajectories, NEURONS, PRUNE)
    given = (bench.spec, eraser, bench.prompts, bench.adversarial("test"), bench.trajectories, table, reference)
    found = measure_reactivation(*given, NEURONS, PRUNE, AttackOptions(method="gcg"))
    assert found["attack"].tolist() == ["plain", "gcg"] and set(found["eraser"]) == {"p_esd"}

    twins = TEXTS["neutral", "test"]
    base = bench.neurons(TEXTS["target", "test"], "test"), bench.neurons(twins, "test")
    plain = bench.neurons(TEXTS["target", "test"], "test", eraser)
    crafted, neutral = bench.neurons(bench.attacked("test"), "test", eraser), bench.neurons(twins, "test", eraser)
    before, after = bench.norms(), bench.norms(eraser)
    chosen = {u: table.query("layer == @u and correlated")["neuron"].to_numpy() for u in bench.widths}
    for shown, back in zip((plain, crafted), found["reactivation"], strict=True):
        above = below = 0.0
        for unit, index in chosen.items():
            was = (base[0][unit] - base[1][unit]).mean((0, 1))[index]
            now = (shown[unit] - neutral[unit]).mean((0, 1))[index]
            above += (np.sign(was) * now * after[unit][index]).sum()
            below += (abs(was) * before[unit][index]).sum()
        assert back == pytest.approx(above / below, rel=1e-3)
    assert found["reactivation"][0] != pytest.approx(found["reactivation"][1], rel=1e-2)
    assert np.isnan(found["sensitivity"][0])
    every = np.concatenate([sensed(plain[u], crafted[u])[index] for u, index in chosen.items()])
    assert found["sensitivity"][1] == pytest.approx(every.mean(), rel=1e-3)


@pytest.mark.parametrize("how", [{"weights": "changed.safetensors"}, {"latent": [[0.5]] * 2}])
def test_an_attack_without_words_has_no_such_figures(bench, eraser, table, how):
    reference = measure_reference(bench.spec, bench.prompts, bench.trajectories, NEURONS, PRUNE)
    crafted = bench.adversarial("test").assign(**how)
    given = (bench.spec, eraser, bench.prompts, crafted, bench.trajectories, table, reference)
    found = measure_reactivation(*given, NEURONS, PRUNE, AttackOptions(method="finetuning"))
    assert found["reactivation"].isna().tolist() == [False, True] and found["sensitivity"].isna().all()


@pytest.mark.parametrize("split", ["fit", "test"])
def test_a_text_that_is_too_long_is_read_as_far_as_the_model_reads(bench, split):
    """What an attack left out for its length keeps its words, as the plain prompt is drawn."""
    table = bench.adversarial(split)
    table["prompt"], table["token_ids"] = " ".join(["church"] * 99), [[]] * len(table)
    states = adversarial_states(bench.model, table)
    assert torch.equal(states, bench.model.encode(table["prompt"].tolist()))


def test_an_attack_refuses_trajectories_of_other_prompts(bench, tmp_path):
    """Latents of one prompt say nothing of another."""
    given = {"attack": AttackOptions(method="unlearndiffatk", steps=1), "cache": Cache(tmp_path), "split": "test"}
    header = {"method": "none", "variant": "none", "base": {"sha256": bench.spec["sha256"]}}
    asked = bench.prompts.assign(seed=range(len(bench.prompts)))
    paths = bench.trajectories | {"asked": asked_of(asked)}
    for other in (asked.assign(prompt=asked["prompt"] + " twice"), asked.assign(seed=asked["seed"] + 1)):
        with pytest.raises(UserError, match="changed since the trajectories were sampled"):
            attack_eraser(bench.spec, Eraser(header), other, paths, **given)
    more = pd.DataFrame({"set": "retain_near", "split": "test", "prompt": ["a rose"], "seed": 3})
    assert asked_of(pd.concat([asked, more], ignore_index=True)) == asked_of(asked)  # of which no trajectory is sampled
