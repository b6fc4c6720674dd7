"""Every method against a second computation of its formula, and one contract for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from excise.erasers import ERASERS, Eraser, EraserOptions, make_method
from excise.erasers.conceptprune.method import skilled
from excise.erasers.finetune import erasure_loss
from excise.erasers.make import make_erased
from excise.erasers.method import noised
from excise.erasers.rece.method import still_meant
from excise.erasers.registry import method_class
from excise.erasers.salun.method import largest
from excise.erasers.uce.method import edit, word_states
from excise.errors import UserError
from excise.masks import PruneOptions, mask_support
from excise.models.layers import feed_forwards, parameter_names
from material import RETAIN, STEPS, TARGETS, TWINS

pytestmark = pytest.mark.usefixtures("base_model_is_untouched")
SHORT = {"stereo": {"rounds": 2, "round_steps": 2, "attack_steps": 2}}  # its paper's search takes hours


def options(name: str, **more) -> EraserOptions:
    own = {"options": SHORT.get(name, {})}
    return EraserOptions(**{"method": name, "batch": 4, "steps": 3, "lr": 1e-3} | own | more)


# what holds for all --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(ERASERS))
def test_a_method_changes_what_it_says_and_lifts_bit_for_bit(model, material, tmp_path, name):
    erased = make_erased(model, options(name), material, 0, tmp_path, name)
    allowed = set(parameter_names(model.denoiser, method_class(name).group))
    if name in ("advunlearn", "remap", "rename"):  # these do not touch the denoiser
        allowed = {f"text_encoder.{n}" for n, _ in model.pipe.text_encoder.named_parameters()}
    assert {*erased.weights, *erased.pruned} and {*erased.weights, *erased.pruned} <= allowed
    assert all(torch.isfinite(w).all() for w in erased.weights.values())
    eraser = Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, erased.weights, erased.pruned)
    x, t = material.concept.latents[0, :1], material.concept.times[0]
    before = model.predict(x, t, model.encode(["a guy"]))
    eraser.save(tmp_path / "eraser.safetensors")
    with model.wearing(Eraser.load(tmp_path / "eraser.safetensors")):
        assert not torch.equal(model.predict(x, t, model.encode(["a guy"])), before)
        assert model.sha256 == eraser.header["base"]["sha256"]  # that of what lies beneath
    assert torch.equal(model.predict(x, t, model.encode(["a guy"])), before)


@pytest.mark.parametrize("name", sorted(ERASERS))
def test_a_group_is_what_is_trained_or_refused(model, material, tmp_path, name):
    chosen = options(name, group="v")
    if not ERASERS[name].grouped:
        with pytest.raises(UserError, match=f"erasers.{name}.group: this method has parameters of its own"):
            make_method(chosen)
        return
    changed = make_erased(model, chosen, material, 0, tmp_path, name).weights.keys()
    assert changed and changed <= set(parameter_names(model.denoiser, "v"))


@pytest.mark.parametrize("name", sorted(n for n, m in ERASERS.items() if m.maskable))
def test_a_method_runs_pruned_by_one_switch(model, material, tmp_path, name):
    prune = PruneOptions(steps=3, group="kv", start=0.2, spread=1.0, retain_weight=1.0)
    support = mask_support(model.denoiser, prune, None)
    scores = {n: torch.rand(s.shape, generator=torch.Generator().manual_seed(1)) for n, s in support.items()}
    erased = make_erased(model, options(name), material, 0, tmp_path, name, prune, support, scores)
    assert sum(int(p.sum()) for p in erased.pruned.values()) > 0
    start = make_method(options(name)).start(model, material)
    assert erased.weights.keys() == start.keys()  # weights stay where the method starts
    assert all(torch.equal(erased.weights[n], start[n]) for n in start)
    assert np.isfinite(erased.losses[-1]["loss"])


def test_there_is_no_mask_over_a_mask(model, material, tmp_path):
    with pytest.raises(UserError, match="a mask already"):
        make_erased(model, options("conceptprune"), material, 0, tmp_path, "x", PruneOptions(), {}, {})


@pytest.mark.parametrize("name", sorted(n for n in ERASERS if method_class(n).trained))
def test_two_runs_are_the_same(model, material, tmp_path, name):
    first, second = (make_erased(model, options(name), material, 5, tmp_path / i, name) for i in "ab")
    assert all(torch.equal(first.weights[n], second.weights[n]) for n in first.weights)


# ESD -----------------------------------------------------------------------------------------------------------------
def test_both_recipes_of_esd_have_one_target():
    blank, wanted = (torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    paper = make_method(options("esd", options={"negative_guidance": 1.0})).target(blank, wanted)
    later = make_method(options("esd", options={"negative_guidance": 2.0, "erase_from": "concept"})).target(
        blank, wanted
    )
    torch.testing.assert_close(paper, later)


def test_following_the_student_starts_on_the_frozen_models_own_trajectories(model, material):
    method = make_method(options("esd", options={"follow": "student", "negative_guidance": 1.5, "guidance": 3.0}))
    steps, rows = torch.tensor([0, 2, STEPS - 1]), torch.tensor([1, 0, 2])
    lesson = method.lesson(model, material, steps, rows, torch.Generator().manual_seed(4), model.predict)
    seeds = torch.randint(2**31, (3,), generator=torch.Generator().manual_seed(4)).tolist()
    whole = model.sample(model.encode([TARGETS[r] for r in rows]), seeds, STEPS, 3.0, keep=True)
    for i, step in enumerate(steps):
        torch.testing.assert_close(lesson.latents[i], whole.latents[step, i], atol=1e-5, rtol=1e-4)
        blank, wanted = (
            model.predict(lesson.latents[i : i + 1], whole.times[step], model.encode([prompt]))
            for prompt in ("", TARGETS[rows[i]])
        )
        expected = blank - 1.5 * (wanted - blank)
        torch.testing.assert_close(lesson.target[i : i + 1], expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(lesson.times, whole.times[steps])


def test_following_the_student_goes_where_the_student_goes(model, material):
    method = make_method(options("esd", options={"follow": "student"}))
    replaced = perturbed(model)

    def student(latents, times, states):
        return torch.func.functional_call(model.denoiser, replaced, (latents, times, states)).sample

    steps, rows = torch.tensor([0, STEPS - 1]), torch.tensor([0, 0])
    found = [
        method.lesson(model, material, steps, rows, torch.Generator().manual_seed(4), s).latents
        for s in (student, model.predict)
    ]
    assert torch.equal(found[0][0], found[1][0])  # nothing was predicted yet
    assert (found[0][1] - found[1][1]).abs().max() > 1e-3


# STEREO --------------------------------------------------------------------------------------------------------------
def test_stereo_steers_away_from_all_words_at_once(model, material):
    method = make_method(options("stereo", options={"scale": 2.5}))
    words = model.encode(["a fish", "a rose"])
    method._found = words
    steps, rows = torch.tensor([0, 1, 2, 3, 3, 1, 0, 2]), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    lesson = method.lesson(model, material, steps, rows, torch.Generator().manual_seed(0), None)
    asked = set()
    for i in range(len(steps)):
        x, t = lesson.latents[i : i + 1], lesson.times[i]

        def noise(prompt, x=x, t=t):
            return model.predict(x, t, model.encode([prompt])).double()

        prompt, blank = TARGETS[rows[i]], noise("")
        push = sum(noise(p) - blank for p in (prompt, "a fish", "a rose")) / 3
        expected = blank + 1.5 * (noise(TWINS[rows[i]]) - blank) - 3.5 * push
        torch.testing.assert_close(lesson.target[i : i + 1].double(), expected, atol=1e-4, rtol=1e-4)
        ways = [model.encode([p])[0] for p in (prompt, "a fish", "a rose")]
        asked |= {k for k, way in enumerate(ways) if torch.allclose(way, lesson.states[i], atol=1e-5)}
    assert asked == {0, 1, 2}


def test_stereo_learns_words_through_erased_models_in_turn(model, material, tmp_path):
    from excise.erasers.stereo.search import search_words

    names = parameter_names(model.denoiser, "esd-x")
    short = {"rounds": 2, "round_steps": 4, "round_lr": 1e-3, "attack_steps": 25, "attack_batch": 8, "attack_lr": 0.05}
    method = make_method(options("stereo", options=short))
    words = search_words(model, method, names, 4, material, 0, tmp_path / "a", "search")
    assert words.shape == (2, *material.concept.states.shape[1:]) and not torch.equal(words[0], words[1])
    again = search_words(model, method, names, 4, material, 0, tmp_path / "a", "search")  # from its checkpoints
    assert torch.equal(words, again)
    attacked = make_method(options("stereo", options=short | {"rounds": 1}))
    first = search_words(model, attacked, names, 4, replace(material, adversarial=words[:1]), 0, tmp_path / "b", "s")
    assert torch.equal(first[0], words[0])  # it does not read adversarial prompts: X and P-X share it

    from excise.erasers.stereo.search import Away

    away = Away(scale=3.0)
    away._asked = words[0]
    steps, rows = torch.tensor([1, 3]), torch.tensor([2, 0])
    lesson = away.lesson(model, material, steps, rows, None, None)
    assert torch.equal(lesson.states[0], words[0]) and torch.equal(lesson.states[1], words[0])
    blank, wanted = (
        model.predict(lesson.latents, lesson.times, s.expand(2, -1, -1)) for s in (model.encode([""]), words[:1])
    )
    torch.testing.assert_close(lesson.target, 2 * blank + wanted - 2 * wanted, atol=1e-5, rtol=1e-4)


def test_a_word_of_stereo_means_more_of_the_concept_than_it_did(model, material, tmp_path):
    from excise.erasers.stereo.search import search_words
    from excise.images.learned_words import LearnedWords

    def loss(states):  # over what the word was learned on: an untrained model has nothing else to say
        total = 0.0
        for step in range(60):
            generator = torch.Generator().manual_seed(step)
            picked = torch.randint(3, (8,), generator=generator)
            x, times, noise = noised(model, material.concept.final[picked], generator)
            with torch.no_grad():
                predicted = model.predict(x, times, states.expand(8, -1, -1))
            total += float((predicted - noise).pow(2).mean())
        return total

    settings = {"rounds": 1, "round_steps": 1, "round_lr": 1e-12, "attack_lr": 0.01, "attack_batch": 8}
    method = make_method(options("stereo", options=settings | {"attack_steps": 60}))
    (word,) = search_words(model, method, parameter_names(model.denoiser, "kv"), 2, material, 0, tmp_path, "s")
    size = len(model.pipe.text_encoder.get_input_embeddings().weight)
    with torch.no_grad():
        start = LearnedWords(model, [[size]], 1, "").states(torch.zeros(1, dtype=torch.long))[0]
    assert loss(word) < loss(start)


# AC and SalUn --------------------------------------------------------------------------------------------------------
def perturbed(model, group="kv"):
    """A student that is not the frozen model."""
    random = torch.Generator().manual_seed(1)
    names = parameter_names(model.denoiser, group)
    return {
        n: (p := model.denoiser.get_parameter(n).detach()) + 0.05 * torch.randn(p.shape, generator=random)
        for n in names
    }


@pytest.mark.parametrize(
    ("name", "settings", "pictures"),
    [
        ("ac", {}, "anchor"),
        ("ac", {"based_on": "noise"}, "anchor"),
        ("salun", {}, "concept"),
    ],
)
def test_relabelling_equals_a_computation_row_by_row(model, material, name, settings, pictures):
    """The student wears its weights; every row is noised by the closed form and asked for on its own."""
    student, n = perturbed(model), 5
    chosen = options(name, options=settings)
    with torch.no_grad():
        losses = erasure_loss(model, make_method(chosen), n, 0.0, material, seed=2)(7, student)
    generator = torch.Generator().manual_seed(2 * 1_000_003 + 7)
    torch.randint(STEPS, (n,), generator=generator)
    rows = torch.randint(len(TARGETS), (n,), generator=generator).tolist()
    times = torch.randint(1000, (n,), generator=generator).tolist()
    noise = torch.randn(n, *model.latent_shape, generator=generator)
    final = getattr(material, pictures).final
    errors = []
    with model.wearing(Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, student)), torch.no_grad():
        for i, (row, time) in enumerate(zip(rows, times, strict=True)):
            alpha = float(model.schedule.alphas_cumprod[time])
            x = (alpha**0.5 * final[row] + (1 - alpha) ** 0.5 * noise[i])[None]
            said = model.predict(x, torch.tensor(time), model.encode([TARGETS[row]]))[0]
            meant = model.predict(x, torch.tensor(time), model.encode([TWINS[row]]))[0]
            wanted = noise[i] if settings else meant
            errors.append(float((said - wanted).double().pow(2).mean()))
    assert float(losses["erase"]) == pytest.approx(np.mean(errors), rel=1e-3)


def test_salun_keeps_the_ordinary_loss_on_retain_pictures(model, material):
    """The loss on retain pictures does not vanish for the frozen model itself: it is against true noise."""
    losses = erasure_loss(model, make_method(options("salun")), 4, 1.0, material, seed=0)(0, {})
    assert float(losses["retain"]) > 0.1


def test_salun_moves_only_salient_weights(model, material, tmp_path):
    method = make_method(options("salun", options={"share": 0.1, "batches": 2}))
    names = parameter_names(model.denoiser, "full")
    salient = method.salient(model, material, names)
    total = sum(s.numel() for s in salient.values())
    assert sum(int(s.sum()) for s in salient.values()) == round(0.1 * total)
    chosen = options("salun", options={"share": 0.1, "batches": 2}, lr=1e-2)
    erased = make_erased(model, chosen, material, 0, tmp_path, "salun")
    for name, weight in erased.weights.items():
        moved = weight != model.denoiser.get_parameter(name)
        assert not (moved & ~salient[name]).any()
    assert sum(int((w != model.denoiser.get_parameter(n)).sum()) for n, w in erased.weights.items()) > 0.05 * total


def test_largest_takes_a_share_of_all_entries():
    values = {"a": torch.tensor([[5.0, 1.0], [0.0, 2.0]]), "b": torch.tensor([9.0, 3.0])}
    chosen = largest(values, 0.5)
    assert chosen["a"].tolist() == [[True, False], [False, False]] and chosen["b"].tolist() == [True, True]


# UCE and RECE --------------------------------------------------------------------------------------------------------
@pytest.fixture
def random_edit():
    random = torch.Generator().manual_seed(3)
    weight, erase, anchor, keep = (torch.randn(n, 6, generator=random, dtype=torch.float64) for n in (5, 3, 3, 4))
    return weight, erase, anchor, keep


def test_uce_is_the_minimum_of_its_objective(random_edit):
    """The closed form against gradient descent on ‖W c − W0 a‖² + ‖W k − W0 k‖² + λ‖W − W0‖²."""
    weight, erase, anchor, keep = random_edit
    damping, scale, preserve = 0.5, 1.5, 0.7

    def objective(w):
        return (
            scale * (w @ erase.T - weight @ anchor.T).pow(2).sum()
            + preserve * ((w - weight) @ keep.T).pow(2).sum()
            + damping * (w - weight).pow(2).sum()
        )

    w = weight.clone().requires_grad_(True)
    descent = torch.optim.LBFGS([w], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure():
        descent.zero_grad()
        loss = objective(w)
        loss.backward()
        return loss

    descent.step(closure)
    torch.testing.assert_close(
        edit(weight, erase, anchor, keep, damping, scale, preserve), w.detach(), atol=1e-6, rtol=1e-6
    )


def test_uce_with_much_damping_changes_nothing(random_edit):
    weight, erase, anchor, keep = random_edit
    torch.testing.assert_close(edit(weight, erase, anchor, keep, 1e12, 1.0, 1.0), weight, atol=1e-9, rtol=1e-9)


def test_uce_maps_words_to_the_anchor(model, material):
    method = make_method(options("uce", options={"damping": 1e-3, "preserve_scale": 0.0}))
    edited = method.start(model, material)
    erase, anchor = word_states(model, material.words.erase, material.words.anchor, "last")
    for name, weight in edited.items():
        before = model.denoiser.get_parameter(name).double()
        far = (before @ erase.T - before @ anchor.T).norm()
        assert (weight.double() @ erase.T - before @ anchor.T).norm() < 0.2 * far


def test_word_states_are_those_of_the_last_word(model):
    states, other = word_states(model, ["man", "old woman"], "", "last")
    ids = model.tokenize(["man", "old woman", ""])
    whole = model.encode(["man", "old woman", ""]).double()
    end = model.tokenizer.eos_token_id
    for row in range(2):
        place = ids[row].tolist().index(end) - 1
        torch.testing.assert_close(states[row], whole[row, place])
    torch.testing.assert_close(other[0], whole[2, 0])
    every, anchors = word_states(model, ["man", "old woman"], "robot", "all")
    assert every.shape == anchors.shape == (2 * ids.shape[1], whole.shape[2])


def test_rece_finds_the_ridge_regression():
    from sklearn.linear_model import Ridge

    random = torch.Generator().manual_seed(4)
    edited, original = ([torch.randn(8, 5, generator=random, dtype=torch.float64) for _ in range(3)] for _ in range(2))
    concept = torch.randn(2, 5, generator=random, dtype=torch.float64)
    found = still_meant(edited, original, concept, strength=0.3)
    for row in range(2):
        wanted = torch.cat([o @ concept[row] for o in original])
        ridge = Ridge(alpha=0.3, fit_intercept=False).fit(torch.cat(edited).numpy(), wanted.numpy())
        np.testing.assert_allclose(found[row].numpy(), ridge.coef_, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["uce", "rece"])
def test_a_mask_of_a_solved_eraser_is_drawn_to_the_anchors_predictions(model, material, name):
    """Every row asked for on its own, at the concept's own latents."""
    steps, rows = torch.tensor([0, 2, STEPS - 1]), torch.tensor([1, 0, 2])
    lesson = make_method(options(name)).lesson(model, material, steps, rows, None, None)
    for i, (step, row) in enumerate(zip(steps, rows, strict=True)):
        x, t = material.concept.latents[step, row][None], material.concept.times[step]
        assert torch.equal(lesson.latents[i], x[0]) and lesson.times[i] == t
        torch.testing.assert_close(lesson.states[i], model.encode([TARGETS[row]])[0])
        meant = model.predict(x, t, model.encode([TWINS[row]]))[0]
        torch.testing.assert_close(lesson.target[i], meant, atol=1e-5, rtol=1e-4)


def test_rece_goes_on_from_uce(model, material):
    """What the edited model takes for the concept is farther from the concept's values than before its round."""
    uce, rece = (make_method(options(n)).start(model, material) for n in ("uce", "rece"))
    assert uce.keys() == rece.keys() and any(not torch.equal(uce[n], rece[n]) for n in uce)
    original = [model.denoiser.get_parameter(n).double() for n in uce]
    concept, _ = word_states(model, material.words.erase, material.words.anchor, "all")

    def residual(weights):
        now = [weights[n].double() for n in uce]
        found = still_meant(now, original, concept, 1e-4)
        return sum(float((w @ found.T - o @ concept.T).pow(2).sum()) for w, o in zip(now, original, strict=True))

    assert residual(rece) > residual(uce)


# ConceptPrune --------------------------------------------------------------------------------------------------------
def test_skilled_weights_by_hand():
    concept = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    anchor = torch.tensor([[5.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert skilled(concept, anchor, 0.5).tolist() == [[False, True, False, False], [False, False, True, True]]


def test_conceptprune_equals_its_definition(model, material):
    """Row by row in NumPy, from activations that are read one prompt at a time."""
    method = make_method(options("conceptprune", options={"share": 0.05, "timesteps": 2}))
    pruned = method.mask(model, material)
    name = feed_forwards(model.denoiser)[1].down
    layer = dict(model.denoiser.named_modules())[name]
    weight = np.abs(layer.weight.detach().numpy().astype(float))
    expected = np.zeros(weight.shape, bool)
    for step in range(2):
        scores = []
        for bank in (material.concept, material.anchor):
            squares = np.zeros(weight.shape[1])
            for row in range(len(bank.states)):
                seen = []
                hook = layer.register_forward_pre_hook(lambda m, a, seen=seen: seen.append(a[0].double().numpy()))
                with torch.no_grad():
                    model.predict(bank.latents[step, row : row + 1], bank.times[step], bank.states[row : row + 1])
                hook.remove()
                tokens = seen[0].reshape(-1, weight.shape[1])
                tokens = tokens / np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-12)
                squares += (tokens**2).sum(0)
            scores.append(weight * np.sqrt(squares))
        count = max(1, round(0.05 * weight.shape[1]))
        for i in range(len(weight)):
            for j in np.argsort(-scores[0][i])[:count]:
                expected[i, j] |= scores[0][i, j] > scores[1][i, j]
    assert expected.any() and (pruned[f"{name}.weight"].numpy() != expected).mean() < 1e-3


# AdvUnlearn ----------------------------------------------------------------------------------------------------------
def test_a_token_of_the_text_before_it_is_read_as_in_a_prompt(model):
    from excise.erasers.advunlearn.method import read

    encoder = model.pipe.text_encoder
    table = encoder.get_input_embeddings().weight.detach()
    [bee] = model.tokenizer("bee", add_special_tokens=False).input_ids
    ids = model.tokenize(["an old man", "a guy"])
    with torch.no_grad():
        states = read(encoder, {}, table, ids, table[[bee, bee]])
        plain = read(encoder, {}, table, ids, None)
    torch.testing.assert_close(states, model.encode(["bee an old man", "bee a guy"]))
    torch.testing.assert_close(plain, model.encode(["an old man", "a guy"]))


def test_advunlearn_takes_no_trajectories_of_a_student(model, material, tmp_path):
    chosen = options("advunlearn", options={"follow": "student"})
    with pytest.raises(UserError, match="set its option follow to base"):
        make_method(chosen).train(model, chosen, material, 0, tmp_path, "x")


def test_advunlearn_before_its_attacker_is_esd_on_the_text_encoder(model, material, tmp_path, monkeypatch):
    """The first losses against a computation row by row."""
    from excise.erasers.advunlearn import method as module

    seen = []
    monkeypatch.setattr(
        module,
        "train",
        lambda weights, loss_of, *rest: seen.append({k: v.detach() for k, v in loss_of(0).items()}) or [],
    )
    chosen = options("advunlearn", retain_weight=2.0, options={"negative_guidance": 2.0, "warmup": 5})
    make_method(chosen).train(model, chosen, material, 3, tmp_path, "x")
    generator = torch.Generator().manual_seed(3 * 1_000_003)
    draws = [torch.randint(n, (4,), generator=generator).tolist() for n in (STEPS, len(TARGETS), STEPS, len(RETAIN))]
    c, erase = material.concept, []
    with torch.no_grad():
        for step, row in zip(*draws[:2], strict=True):
            x, t = c.latents[step, row][None], c.times[step]
            on, off = (model.predict(x, t, model.encode([w])) for w in (TARGETS[row], ""))
            erase.append(float((on - (3 * off - 2 * on)).double().pow(2).mean()))
    assert float(seen[0]["erase"]) == pytest.approx(np.mean(erase), rel=1e-3)
    assert float(seen[0]["retain"]) < 1e-6 and float(seen[0]["loss"]) == pytest.approx(np.mean(erase), rel=1e-3)


def test_the_attacker_brings_the_concepts_noise_nearer(model, material):
    """With its token an erased text encoder is closer to what the frozen model predicts on the concept."""
    from excise.erasers.advunlearn.method import read

    bank, rows = material.concept, torch.tensor([0, 1, 2])
    table = model.pipe.text_encoder.get_input_embeddings().weight.detach()
    erased = {n: 0.7 * p for n, p in model.pipe.text_encoder.named_parameters() if "embeddings" not in n}

    def states_of(ids, token):
        return read(model.pipe.text_encoder, erased, table, ids, token)

    errors = []
    for steps, lr in ((1, 1e-9), (80, 0.05)):
        method = make_method(options("advunlearn", options={"attack_steps": steps, "attack_lr": lr}))
        token = method.find_token(model, bank, rows, states_of, torch.Generator().manual_seed(0))
        with torch.no_grad():
            predicted = [
                model.predict(bank.latents[step], bank.times[step], states_of(bank.ids, token)) for step in range(STEPS)
            ]
        errors.append(float((torch.stack(predicted) - bank.wanted).pow(2).mean()))
    assert errors[1] < errors[0]
