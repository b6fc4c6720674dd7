"""What is said to change no result: it is in the code, counts as what it replaced, and computes the same bits."""

from __future__ import annotations

import importlib
import keyword
import re
import sys
from dataclasses import astuple
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

from excise.attacks import AttackOptions, make_attack
from excise.attacks.search import Knowledge
from excise.cache import Cache, bare_source, code_fingerprint, fingerprint
from excise.equal_code import ALL, EQUAL_FROM_SIX, EQUAL_IN_FLOAT32, EQUAL_IN_UNETS, as_before, pairs_for
from excise.erasers import EraserOptions
from excise.masks import PruneOptions
from excise.models.layers import parameter_names
from excise.neurons import find_units

SOURCES = [p for p in (Path(__file__).parents[3] / "src/excise").rglob("*.py") if p.name != "equal_code.py"]


@pytest.mark.parametrize(("now", "before"), ALL)
def test_a_pair_is_of_one_place_and_the_new_code_counts_as_the_old(now, before):
    texts = [path.read_text() for path in SOURCES]
    assert sum(text.count(now) for text in texts) == 1, "an entry whose code is gone keeps nothing: take it out"
    assert not any(before in text.replace(now, "") for text in texts)
    [new] = [text for text in texts if now in text]
    old = new.replace(now, before)
    assert now not in as_before(new) == as_before(old) and bare_source(new) == bare_source(old)
    for changed in spoilt(now):  # and nothing else counts as the old one
        assert bare_source(new) != bare_source(new.replace(now, changed)), changed


def spoilt(code: str) -> list[str]:
    """A piece of code with each of its names and numbers changed, one after the other."""
    bare = re.sub('#.*|"""(?s:.*?)"""', "", code)
    found = sorted(set(re.findall(r'\w+\b(?!")', bare)) - set(keyword.kwlist))  # but for an f before quotation marks
    assert found
    return [re.sub(rf'\b{one}\b(?!")', f"1{one}" if one.isdigit() else f"{one}1", code) for one in found]


@pytest.mark.parametrize(("now", "before"), EQUAL_FROM_SIX)
def test_what_was_wrong_with_few_rows_is_not_taken_for_the_new_code(now, before):
    [new] = [text for text in (path.read_text() for path in SOURCES) if now in text]
    few = pairs_for({"options": EraserOptions(batch=2)})
    assert bare_source(new, few) != bare_source(new.replace(now, before), few)


@pytest.mark.parametrize(("now", "before"), EQUAL_IN_UNETS)
def test_what_changes_other_denoisers_is_taken_for_the_old_code_on_models_that_ship_alone(now, before):
    [new] = [text for text in (path.read_text() for path in SOURCES) if now in text]
    for path, same in (("embedded:emoji64", True), ("weights/flux", False)):
        pairs = pairs_for({"model": {"name": "one", "path": path}})
        assert (bare_source(new, pairs) == bare_source(new.replace(now, before), pairs)) == same


@pytest.mark.parametrize(("now", "before"), EQUAL_IN_FLOAT32)
def test_what_changes_halves_is_taken_for_the_old_code_in_whole_precision_alone(now, before):
    [new] = [text for text in (path.read_text() for path in SOURCES) if now in text]
    for dtype, same in (("float32", True), ("float64", True), ("bfloat16", False), ("float16", False)):
        pairs = pairs_for({"model": {"path": "embedded:emoji64", "dtype": dtype}})
        assert (bare_source(new, pairs) == bare_source(new.replace(now, before), pairs)) == same


def test_a_student_in_whole_precision_is_the_same(tiny_model):
    from excise.attacks.finetuning.student import Student

    denoiser = tiny_model.denoiser
    for rank in (0, 2):
        student = Student(denoiser, rank, 0)
        assert all(p.dtype == denoiser.get_parameter(n).dtype for n, p in student.values().items())
    assert all(torch.equal(p, denoiser.get_parameter(n)) for n, p in Student(denoiser, 0, 0).values().items())


@pytest.mark.parametrize("batch", [1, 2, 5, 6, 16])
def test_work_with_fewer_than_six_rows_a_step_is_made_anew(tmp_path, batch):
    code, inputs = ("excise.erasers", "excise.models"), {"options": EraserOptions(batch=batch), "seed": 1}
    before = f"eraser-{fingerprint({'inputs': inputs, 'code': code_fingerprint(*code)})}"
    assert (Cache(tmp_path).folder("eraser", code, **inputs).name == before) == (batch >= 6)


def test_other_work_with_few_rows_stays(tmp_path):
    """A batch of an attack's is another thing."""
    code = ("excise.erasers",)
    for inputs in ({"options": AttackOptions(batch=2)}, {"steps": 3}):
        before = f"attack-{fingerprint({'inputs': inputs, 'code': code_fingerprint(*code)})}"
        assert Cache(tmp_path).folder("attack", code, **inputs).name == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prediction_with_other_weights_has_the_same_bits(tiny_model, dtype):
    """Cast weight by weight, as before; with gradients."""
    model = tiny_model
    generator = torch.Generator().manual_seed(0)
    names = [n for n, _ in model.denoiser.named_parameters() if "attn2.to_" in n]
    given = {n: torch.randn(model.denoiser.get_parameter(n).shape, generator=generator).to(dtype) for n in names}
    latents, states = model.initial_noise([0, 1]), model.encode(["a cat", "a dog"])
    now = {n: v.clone().requires_grad_(True) for n, v in given.items()}
    said = model.predict(latents, torch.tensor(300), states, now)
    said.pow(2).mean().backward()
    then = {n: v.clone().requires_grad_(True) for n, v in given.items()}
    arguments = model.family.arguments(latents.to(model.dtype), torch.tensor(300), states.to(model.dtype))
    cast = {name: value.to(model.dtype) for name, value in then.items()}
    by_hand = torch.func.functional_call(model.denoiser, cast, (), arguments)
    by_hand = model.family.prediction(by_hand, latents).to(model.precision)
    by_hand.pow(2).mean().backward()
    assert torch.equal(said, by_hand)
    assert all(torch.equal(now[n].grad, then[n].grad) for n in names)


def before(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module as its code read when the rows were made."""
    now = importlib.import_module(name)
    old = ModuleType(f"{name}_before")
    old.__package__, source = name.rpartition(".")[0], Path(now.__file__).read_text()
    assert as_before(source) != source
    monkeypatch.setitem(sys.modules, old.__name__, old)  # where dataclasses look for their annotations
    exec(compile(as_before(source), old.__name__, "exec"), old.__dict__)
    return old


def test_swaps_are_the_same_where_only_those_that_gain_something_are_read_back(tiny_model, monkeypatch, tmp_path):
    """Twenty steps of the new search beside the old one, token by token."""
    options = AttackOptions(method="gcg", steps=20, batch=3, options={"tokens": 4, "best": 8, "tries": 6})
    prompts = pd.DataFrame({"prompt_id": list("abc"), "prompt": ["a cat", "a dog", "a red rose"], "seed": [0, 1, 2]})
    now, then = importlib.import_module("excise.attacks.gcg.swaps"), before("excise.attacks.gcg.swaps", monkeypatch)
    found = []
    for name, search in (("now", now.SwapSearch), ("then", then.SwapSearch)):
        read: list[int] = []

        class Counting(search):
            def _readable(self, tokens, read=read):
                read.append(tokens.shape[:2].numel())
                return super()._readable(tokens)

        monkeypatch.setattr(now, "SwapSearch", Counting)
        noise = tiny_model.initial_noise([0, 1, 2])
        table = make_attack(options).run(tiny_model, prompts, noise, options, tmp_path / name, "", Knowledge([], []))
        found.append((table, sum(read)))
    (new, few), (old, many) = found
    assert new["token_ids"].tolist() == old["token_ids"].tolist() and new["loss"].tolist() == old["loss"].tolist()
    assert few < many


@pytest.mark.parametrize("neurons", ["all", "correlated"])
def test_a_unet_has_the_same_neurons_scores_and_masks_as_before(tiny_model, monkeypatch, neurons):
    """The new code beside the old one, bit for bit."""

    def both(name: str) -> tuple[ModuleType, ModuleType]:
        return importlib.import_module(name), before(name, monkeypatch)

    denoiser, units = tiny_model.denoiser, find_units(tiny_model.denoiser, True)
    now, then = both("excise.models.layers")
    assert [astuple(f) for f in now.feed_forwards(denoiser)] == [astuple(f) for f in then.feed_forwards(denoiser)]
    now, then = both("excise.neurons.units")
    assert all(torch.equal(now.outgoing_norms(denoiser, u), then.outgoing_norms(denoiser, u)) for u in units)
    generator = torch.Generator().manual_seed(0)
    columns = {"correlated": lambda t: t["correlation"] > 0.5, "sensitivity": 0.5}
    table = [pd.DataFrame({"layer": u.name, "neuron": range(u.width)}) for u in units]
    told = torch.rand(sum(u.width for u in units), generator=generator).numpy()
    table = pd.concat(table, ignore_index=True).assign(correlation=told, **columns)
    now, then = both("excise.masks.support")
    supports = [m.mask_support(denoiser, PruneOptions(neurons=neurons), table) for m in (now, then)]
    assert same(*supports)
    names = parameter_names(denoiser, PruneOptions().group)
    inputs = {n.removesuffix(".weight"): denoiser.get_parameter(n).shape[1] for n in names}
    norms = [{n: torch.rand(w, generator=generator) for n, w in inputs.items()} for _ in range(2)]
    now, then = both("excise.masks.scores")
    scores = [m.score_weights(denoiser, names, *norms, table) for m in (now, then)]
    assert same(*scores)
    now, then = both("excise.masks.layout")
    laid = [m.PerNeuron(supports[0], denoiser) for m in (now, then)]
    assert all(torch.equal(a, b) for a, b in zip(*(one.scores(scores[0]) for one in laid), strict=True))
    gates = torch.rand(sum(laid[0].sizes), generator=generator)
    assert same(*(one.spread_out(gates) for one in laid))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)
