"""Training erasers: losses against computations without shortcuts, and nothing moves that should not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from excise.erasers import Eraser, EraserOptions, finetune, make_method
from excise.erasers.bank import build_bank
from excise.erasers.finetune import erasure_loss, train_mask, train_weights
from excise.erasers.material import Material, Words
from excise.errors import UserError
from excise.masks import PruneOptions, mask_support
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names

TARGETS = ["an old man", "a woman", "a guy"]
RETAIN = ["a church", "a fish", "a bee", "a rose"]


@pytest.fixture(scope="module")
def model(tiny_spec):
    """One model for all of these tests: training must not change it."""
    return DiffusionModel.load(tiny_spec)


@pytest.fixture(scope="module")
def banks(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("banks")
    made = [
        build_bank(model, prompts, list(range(len(prompts))), 4, 3.0, folder / f"{len(prompts)}.safetensors", "bank")
        for prompts in (TARGETS, RETAIN)
    ]
    return made[0], made[1]


@pytest.fixture(scope="module")
def adversarial(model):
    return model.encode(["bee church old man", "rose rose a woman", "fish a guy"])


@pytest.fixture(autouse=True)
def base_model_is_untouched(model):
    before = {n: p.clone() for n, p in model.pipe.unet.state_dict().items()}
    yield
    after = model.pipe.unet.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before)
    parts = (model.pipe.unet, model.pipe.text_encoder, model.pipe.vae)
    assert not any(p.requires_grad or p.grad is not None for part in parts for p in part.parameters())


def material(banks, adversarial=None) -> Material:
    return Material(banks[0], None, banks[1], Words(["man"], "", ["church"]), adversarial)


def options(**more) -> EraserOptions:
    return EraserOptions(**{"batch": 12, "lr": 1e-2, "steps": 4} | more)


# banks --------------------------------------------------------------------------------------------------------------
def test_each_prompt_may_have_a_guidance_of_its_own(model, tmp_path):
    seeds, scales = [5, 6, 7], [1.5, 3.0, 6.0]
    bank = build_bank(model, TARGETS, seeds, 4, scales, tmp_path / "own.safetensors", "own", batch=2)
    for row, (prompt, seed, scale) in enumerate(zip(TARGETS, seeds, scales, strict=True)):
        alone = model.sample(model.encode([prompt]), [seed], 4, scale).final[0]
        torch.testing.assert_close(bank.final[row], alone, rtol=1e-2, atol=1e-3)
    other = build_bank(model, TARGETS, seeds, 4, 3.0, tmp_path / "one.safetensors", "one")
    assert [torch.allclose(a, b, rtol=1e-2, atol=1e-3) for a, b in zip(bank.final, other.final, strict=True)] == [
        False,
        True,
        False,
    ]


def test_a_bank_holds_what_the_frozen_model_predicts_on_its_own_way(model, banks):
    bank = banks[0]
    blank = model.encode([""])
    for step, time in enumerate(bank.times):
        for row in range(len(TARGETS)):
            x = bank.latents[step, row : row + 1]
            with torch.no_grad():
                torch.testing.assert_close(
                    model.predict(x, time, blank)[0], bank.blank[step, row], rtol=1e-3, atol=1e-4
                )
                wanted = model.predict(x, time, model.encode([TARGETS[row]]))[0]
            torch.testing.assert_close(wanted, bank.wanted[step, row], rtol=1e-3, atol=1e-4)
    path = model.sample(model.encode(TARGETS), [0, 1, 2], steps=4, guidance=3.0)
    torch.testing.assert_close(bank.final, path.final)


def test_a_bank_is_read_where_it_is_stored(model, tmp_path):
    arguments = (model, TARGETS, [0, 1, 2], 3, 2.0, tmp_path / "bank.safetensors", "bank")
    first = build_bank(*arguments, batch=2)
    written = (tmp_path / "bank.safetensors").stat().st_mtime_ns
    again = build_bank(*arguments)
    assert (tmp_path / "bank.safetensors").stat().st_mtime_ns == written
    assert all(torch.equal(getattr(first, n), getattr(again, n)) for n in first.__dataclass_fields__)
    whole = build_bank(*arguments[:5], tmp_path / "whole.safetensors", "bank")
    torch.testing.assert_close(first.final, whole.final, rtol=1e-2, atol=1e-2)


# methods ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("eta", [0.0, 1.0, 3.0])
def test_esd_target_is_equation_7(eta):
    blank, wanted = (torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    target = make_method(EraserOptions(options={"negative_guidance": eta})).target(blank, wanted)
    zero, concept = blank.double().numpy(), wanted.double().numpy()
    np.testing.assert_allclose(target.numpy(), zero - eta * (concept - zero), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "eds"}, "no eraser 'eds': did you mean 'esd'?"),
        ({"options": {"negative_guidence": 1}}, "negative_guidence"),
        ({"options": {"negative_guidance": -1}}, "negative_guidance"),
    ],
)
def test_an_unknown_method_or_option_is_one_sentence(settings, said):
    with pytest.raises(UserError) as caught:
        make_method(EraserOptions(**settings))
    assert said in str(caught.value) and "\n" not in str(caught.value)


# loss ---------------------------------------------------------------------------------------------------------------
def test_the_frozen_model_without_guidance_is_its_plain_distance(model, banks):
    """η = 0: the target is the noise on the empty prompt, and the student still predicts that on the concept."""
    concept, _ = banks
    settings = options(options={"negative_guidance": 0.0})
    losses = erasure_loss(model, make_method(settings), 12, 1.0, material(banks), seed=3)(5, {})
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 5)
    steps, rows = torch.randint(4, (12,), generator=generator), torch.randint(3, (12,), generator=generator)
    distances = [
        float((concept.wanted[s, r] - concept.blank[s, r]).pow(2).mean()) for s, r in zip(steps, rows, strict=True)
    ]
    assert float(losses["erase"]) == pytest.approx(np.mean(distances), rel=1e-3)
    assert float(losses["retain"]) < 1e-6 < float(losses["erase"])


@pytest.mark.parametrize("weight", [0.0, 2.5])
@pytest.mark.parametrize("attacked", [False, True])
def test_loss_equals_a_computation_row_by_row(model, banks, adversarial, weight, attacked):
    """The student wears its weights for real, and every row is asked for on its own; frozen noise is asked for anew."""
    concept, retain = banks
    settings = options(options={"negative_guidance": 2.0})
    random = torch.Generator().manual_seed(1)
    names = parameter_names(model.denoiser, "esd-x")
    student = {
        n: (p := model.denoiser.get_parameter(n).detach()) + 0.05 * torch.randn(p.shape, generator=random)
        for n in names
    }
    given = material(banks, adversarial if attacked else None)
    loss_of = erasure_loss(model, make_method(settings), 12, weight, given, seed=2)
    with torch.no_grad():
        losses = loss_of(7, student)

    generator = torch.Generator().manual_seed(2 * 1_000_003 + 7)
    draw = [torch.randint(n, (12,), generator=generator).tolist() for n in (4, 3, 4, 4)]
    eraser = Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, student)
    blank = model.encode([""])

    @torch.no_grad()
    def noise(bank, step, row, state):
        return model.predict(bank.latents[step, row : row + 1], bank.times[step], state).double().numpy()

    erase, keep = [], []
    for i in range(12):
        step, row = draw[0][i], draw[1][i]
        target = 3 * noise(concept, step, row, blank) - 2 * noise(concept, step, row, model.encode([TARGETS[row]]))
        state = adversarial[row : row + 1] if attacked and i % 2 else model.encode([TARGETS[row]])
        r_step, r_row = draw[2][i], draw[3][i]
        kept_state = blank if i % 6 == 5 else model.encode([RETAIN[r_row]])
        kept = noise(retain, r_step, r_row, kept_state)
        with model.wearing(eraser):
            erase.append(np.square(noise(concept, step, row, state) - target).mean())
            keep.append(np.square(noise(retain, r_step, r_row, kept_state) - kept).mean())
    assert float(losses["erase"]) == pytest.approx(np.mean(erase), rel=1e-3)
    assert float(losses["retain"]) == pytest.approx(np.mean(keep) if weight else 0.0, rel=1e-3)
    assert float(losses["loss"]) == pytest.approx(np.mean(erase) + weight * np.mean(keep), rel=1e-3)


def rows_asked(model, given, batch: int, steps: int, monkeypatch) -> list[tuple[list[bool], list[bool]]]:
    """Of each training step: which rows of the concept were adversarial, and which of those kept were on the empty
    prompt; as the student was asked."""
    asked, predict = [], type(model).predict

    def watched(own, latents, times, states, *rest):
        asked.append(states)
        return predict(own, latents, times, states, *rest)

    loss_of = erasure_loss(model, make_method(options()), batch, 1.0, given, seed=4)
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "predict", watched)
        for step in range(steps):
            loss_of(step, {})
    assert len(asked) == steps and all(len(states) == 2 * batch for states in asked)

    def are(rows: torch.Tensor, known: torch.Tensor) -> list[bool]:
        return [any(torch.equal(row, one) for one in known) for row in rows]

    found = []
    for states in asked:
        taken, kept = states.chunk(2)
        attacked = are(taken, given.adversarial)
        empty = are(kept, model.encode([""]))
        assert are(taken, given.concept.states) == [not a for a in attacked]
        assert are(kept, given.retain.states) == [not e for e in empty]
        found.append((attacked, empty))
    return found


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_small_batches_take_rows_in_turn(model, banks, adversarial, monkeypatch, batch):
    found = rows_asked(model, material(banks, adversarial), batch, 12, monkeypatch)
    attacked, empty = ([row for step in found for row in step[i]] for i in (0, 1))
    assert len(attacked) == 12 * batch and sum(attacked) == 6 * batch and sum(empty) == 2 * batch
    gaps = {b - a for a, b in pairwise(i for i, row in enumerate(empty) if row)}
    assert gaps == {6} and {b - a for a, b in pairwise(i for i, row in enumerate(attacked) if row)} == {2}


@pytest.mark.parametrize("batch", [6, 7, 12])
def test_larger_batches_take_the_same_rows_at_every_step(model, banks, adversarial, monkeypatch, batch):
    for attacked, empty in rows_asked(model, material(banks, adversarial), batch, 3, monkeypatch):
        assert attacked == [i % 2 == 1 for i in range(batch)]
        assert empty == [i % 6 == 5 for i in range(batch)]


# weights ------------------------------------------------------------------------------------------------------------
def fit_weights(model, banks, folder, group="esd-x", steps=4, adversarial=None, **more):
    settings = options(**more)
    given = material(banks, adversarial)
    return train_weights(model, make_method(settings), settings, group, steps, 1.0, given, 0, folder, "test")


@pytest.mark.parametrize("group", ["esd-x", "kv", "ffn+kv"])
def test_only_the_groups_parameters_change_and_the_loss_falls(model, banks, adversarial, tmp_path, group):
    weights, rows = fit_weights(model, banks, tmp_path, group, steps=30, adversarial=adversarial, lr=3e-3)
    assert weights and set(weights) <= set(parameter_names(model.denoiser, group))
    assert all(not torch.equal(w, model.denoiser.get_parameter(n)) for n, w in weights.items())
    loss_of = erasure_loss(model, make_method(options()), 12, 1.0, material(banks, adversarial), seed=9)
    with torch.no_grad():
        assert float(loss_of(0, weights)["erase"]) < float(loss_of(0, {})["erase"])
    assert [r["step"] for r in rows] == [30]


def test_the_student_of_the_loss_is_the_model_that_wears_the_eraser(model, banks, tmp_path):
    weights, _ = fit_weights(model, banks, tmp_path)
    state, x, time = model.encode(["a guy"]), banks[0].latents[0, :1], banks[0].times[0]
    with torch.no_grad():
        functional = torch.func.functional_call(model.denoiser, weights, (x, time, state)).sample
        with model.wearing(Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, weights)):
            torch.testing.assert_close(model.predict(x, time, state), functional)


def interrupted_at(monkeypatch, step: int) -> None:
    """Save a checkpoint as often as the loop may; stop at a step."""
    whole, loop = erasure_loss, finetune.adam_loop

    def stopping(*arguments):
        loss_of = whole(*arguments)

        def stop(at, replaced):
            if at == step:
                raise KeyboardInterrupt
            return loss_of(at, replaced)

        return stop

    monkeypatch.setattr(finetune, "erasure_loss", stopping)
    monkeypatch.setattr(finetune, "adam_loop", lambda *a: loop(*a).model_copy(update={"checkpoint_seconds": 0.0}))


@pytest.mark.parametrize("batch", [1, 2])
def test_resumed_weights_equal_uninterrupted(model, banks, adversarial, tmp_path, monkeypatch, batch):
    how = {"group": "kv", "steps": 60, "batch": batch, "adversarial": adversarial}
    whole, rows = fit_weights(model, banks, tmp_path / "whole", **how)
    interrupted_at(monkeypatch, 55)
    with pytest.raises(KeyboardInterrupt):
        fit_weights(model, banks, tmp_path / "cut", **how)
    assert (tmp_path / "cut" / "checkpoint.safetensors").exists()
    interrupted_at(monkeypatch, 49)  # what lies before the checkpoint is not computed again
    resumed, again = fit_weights(model, banks, tmp_path / "cut", **how)
    assert rows == again
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[n], resumed[n]) for n in whole)


# masks --------------------------------------------------------------------------------------------------------------
def fit_mask(model, banks, adversarial, folder, support, seed=0, steps=12, **prune):
    settings = PruneOptions(**{"steps": steps, "start": 0.5, "spread": 1.0} | prune)
    generator = torch.Generator().manual_seed(4)
    scores = {n: torch.rand(s.shape, generator=generator) for n, s in support.items()}
    given, chosen = material(banks, adversarial), options(batch=4)
    solved, pruned, rows = train_mask(
        model, make_method(chosen), chosen, settings, support, scores, given, seed, folder, "test"
    )
    if settings.weight_lr:
        return solved, pruned, rows
    assert not solved  # ESD starts from the base model's weights
    return pruned, rows


def test_a_learned_mask_stays_in_its_support(model, banks, adversarial, tmp_path):
    support = mask_support(model.denoiser, PruneOptions(), None)
    generator = torch.Generator().manual_seed(0)
    support = {n: torch.rand(s.shape, generator=generator) < 0.5 for n, s in support.items()}
    pruned, rows = fit_mask(model, banks, adversarial, tmp_path, support)
    assert set(pruned) == set(support)
    assert not any((pruned[n] & ~support[n]).any() for n in support)
    assert 0 < sum(int(p.sum()) for p in pruned.values()) < sum(int(s.sum()) for s in support.values())
    assert {"erase", "retain", "closed", "loss"} < set(rows[-1])


def test_the_sparse_term_opens_gates(model, banks, adversarial, tmp_path):
    support = mask_support(model.denoiser, PruneOptions(), None)
    rates = []
    for weight in (0.0, 100.0):
        pruned, _ = fit_mask(model, banks, adversarial, tmp_path / str(weight), support, sparse_weight=weight)
        rates.append(sum(int(p.sum()) for p in pruned.values()))
    assert rates[0] > rates[1]


@pytest.mark.parametrize("gates", ["top_k", "hard_concrete"])
def test_the_loss_is_that_of_the_pruned_model(model, banks, adversarial, tmp_path, gates):
    """Row by row under an eraser that wears the zeros, and the sparse term by itself."""
    sparse = 3.0 if gates == "hard_concrete" else 0.0
    settings = PruneOptions(
        steps=1, gates=gates, rate=0.4, lr=1e-6, spread=0.0 if sparse else 1.0, retain_weight=2.0, sparse_weight=sparse
    )
    generator = torch.Generator().manual_seed(3)
    support = mask_support(model.denoiser, settings, None)
    scores = {n: torch.rand(s.shape, generator=generator) for n, s in support.items()}
    given, chosen = material(banks, adversarial), options(batch=4)
    method = make_method(chosen)
    _, pruned, rows = train_mask(model, method, chosen, settings, support, scores, given, 5, tmp_path, "test")
    [row] = rows
    assert row["loss"] == pytest.approx(row["erase"] + 2 * row["retain"] + sparse * row["closed"], rel=1e-5)
    if sparse:  # P(gate is 0) = sigma(beta log(-low / high) - logit), all logits alike
        low, high = settings.stretch
        zero = 1 / (1 + np.exp(settings.start - settings.temperature * np.log(-low / high)))
        assert row["closed"] == pytest.approx(zero, rel=1e-4)
        return
    assert row["closed"] == pytest.approx(0.4, abs=1e-4)
    lesson_rng = torch.Generator().manual_seed(5 * 1_000_003)
    steps, picked = banks[0].draw(lesson_rng, 4)
    lesson = method.lesson(model, given, steps, picked, lesson_rng, model.predict)
    kept = method.keep(model, given, 4, lesson_rng)
    states = [adversarial[picked[i]] if i % 2 else lesson.states[i] for i in range(4)]
    eraser = Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, {}, pruned)
    with model.wearing(eraser), torch.no_grad():
        erase = [
            (model.predict(lesson.latents[i : i + 1], lesson.times[i], states[i][None])[0] - lesson.target[i]).pow(2)
            for i in range(4)
        ]
        keep = [
            (model.predict(kept.latents[i : i + 1], kept.times[i], kept.states[i][None])[0] - kept.target[i]).pow(2)
            for i in range(4)
        ]
    assert row["erase"] == pytest.approx(float(torch.stack(erase).mean()), rel=1e-3)
    assert row["retain"] == pytest.approx(float(torch.stack(keep).mean()), rel=1e-3)


def test_a_mask_over_frozen_weights_learns(model, banks, adversarial, tmp_path):
    """The zeros that were learned erase better than those that the scores began with, as many of them."""
    support = mask_support(model.denoiser, PruneOptions(), None)
    how = {"gates": "top_k", "rate": 0.2, "retain_weight": 0.0}
    given, method = material(banks, adversarial), make_method(options(batch=4))
    loss_of = erasure_loss(model, method, 12, 0.0, given, seed=9)
    found = []
    for steps, lr in ((1, 1e-6), (60, 0.1)):
        pruned, _ = fit_mask(model, banks, adversarial, tmp_path / str(steps), support, steps=steps, lr=lr, **how)
        with torch.no_grad():
            weights = {n: model.denoiser.get_parameter(n) * ~p for n, p in pruned.items()}
            found.append((float(loss_of(0, weights)["loss"]), sum(int(p.sum()) for p in pruned.values())))
    (first, count), (learned, same) = found
    assert count == same and learned < 0.9 * first


def test_resumed_mask_equals_uninterrupted(model, banks, adversarial, tmp_path, monkeypatch):
    support = mask_support(model.denoiser, PruneOptions(group="kv"), None)
    whole, rows = fit_mask(model, banks, adversarial, tmp_path / "whole", support, steps=60, group="kv")
    interrupted_at(monkeypatch, 55)
    with pytest.raises(KeyboardInterrupt):
        fit_mask(model, banks, adversarial, tmp_path / "cut", support, steps=60, group="kv")
    interrupted_at(monkeypatch, 49)
    resumed, again = fit_mask(model, banks, adversarial, tmp_path / "cut", support, steps=60, group="kv")
    assert rows == again and all(torch.equal(whole[n], resumed[n]) for n in whole)


def test_under_a_mask_that_closes_nothing_px_is_x_plus(model, banks, adversarial, tmp_path):
    """The control differs from P-X by the zeros alone: same loss, same prompts, same rate, same optimizer."""
    support = mask_support(model.denoiser, PruneOptions(), None)
    open_ = {"start": 1e6, "spread": 0.0, "weight_lr": None, "retain_weight": 1.0}
    given, chosen = material(banks, adversarial), options(batch=4)
    method, scores = make_method(chosen), {n: torch.zeros(s.shape) for n, s in support.items()}
    settings = PruneOptions(steps=8, **open_)
    px, pruned, _ = train_mask(model, method, chosen, settings, support, scores, given, 0, tmp_path / "mask", "test")
    plus, _ = train_weights(model, method, chosen, "ffn+kv", 8, 1.0, given, 0, tmp_path / "plus", "test")
    assert not any(p.any() for p in pruned.values()) and px.keys() == plus.keys()
    for name, weight in plus.items():
        # not number by number: where a gradient is next to nothing, Adam's step has the sign of its rounding error
        moved = weight - model.denoiser.get_parameter(name)
        assert moved.norm() > 0 and (px[name] - weight).norm() < 0.02 * moved.norm(), name


def test_weights_trained_under_a_mask_move_at_their_own_rate(model, banks, adversarial, tmp_path):
    support = mask_support(model.denoiser, PruneOptions(group="kv"), None)
    how = {"steps": 1, "group": "kv", "start": 2.0}
    weights, _, _ = fit_mask(model, banks, adversarial, tmp_path / "once", support, weight_lr=1e-3, **how)
    assert set(weights) == set(support)
    for name, weight in weights.items():
        moved = (weight - model.denoiser.get_parameter(name)).abs()
        # Adam's first step is its rate, whatever the gradient (but for those near Adam's epsilon)
        assert moved.max() == pytest.approx(1e-3, rel=0.02) and moved.median() > 9e-4


def test_weights_under_a_mask_can_be_trained_and_resumed(model, banks, adversarial, tmp_path, monkeypatch):
    support = mask_support(model.denoiser, PruneOptions(group="kv"), None)
    how = {"steps": 60, "group": "kv", "weight_lr": 1e-3}
    weights, pruned, rows = fit_mask(model, banks, adversarial, tmp_path / "whole", support, **how)
    _, frozen_rows = fit_mask(model, banks, adversarial, tmp_path / "frozen", support, steps=60, group="kv")
    assert rows[-1]["loss"] < frozen_rows[-1]["loss"]
    interrupted_at(monkeypatch, 55)
    with pytest.raises(KeyboardInterrupt):
        fit_mask(model, banks, adversarial, tmp_path / "cut", support, **how)
    interrupted_at(monkeypatch, 49)
    resumed, again, more = fit_mask(model, banks, adversarial, tmp_path / "cut", support, **how)
    assert rows == more and all(torch.equal(pruned[n], again[n]) for n in pruned)
    assert weights.keys() == resumed.keys() and all(torch.equal(weights[n], resumed[n]) for n in weights)


def test_under_a_fixed_mask_only_what_stays_is_trained(model, banks, tmp_path):
    generator = torch.Generator().manual_seed(0)
    names = parameter_names(model.denoiser, "kv")
    pruned = {n: torch.rand(model.denoiser.get_parameter(n).shape, generator=generator) < 0.3 for n in names}
    settings, given = options(batch=4, lr=1e-3), material(banks, None)
    fixed = (settings, "kv", 30, 1.0, given, 0)
    weights, _ = train_weights(model, make_method(settings), *fixed, tmp_path, "test", pruned)
    start = {n: model.denoiser.get_parameter(n) for n in names}
    assert set(weights) == set(names)
    for name, weight in weights.items():
        assert torch.equal(weight[pruned[name]], start[name][pruned[name]])
        assert (weight[~pruned[name]] != start[name][~pruned[name]]).float().mean() > 0.9
    loss_of = erasure_loss(model, make_method(settings), 12, 1.0, given, seed=9)
    with torch.no_grad():
        worn, plain = (loss_of(0, {n: v[n] * ~pruned[n] for n in names})["loss"] for v in (weights, start))
    assert worn < plain
