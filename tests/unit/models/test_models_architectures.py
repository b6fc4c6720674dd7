"""Every architecture behind one face: small random models of the real classes. They show no rates, only plumbing."""

from __future__ import annotations

import inspect
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from architectures import ARCHITECTURES, PIXELS, make_architecture
from excise.attacks import ATTACKS, AttackOptions, make_attack
from excise.attacks.search import Knowledge
from excise.erasers import ERASERS, Eraser, EraserOptions
from excise.erasers.bank import build_bank
from excise.erasers.make import make_erased
from excise.erasers.material import Material, Words
from excise.errors import UserError
from excise.images.tokens import states_of_tokens
from excise.masks import PruneOptions, mask_support
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.layers import cross_attentions, feed_forwards, parameter_names
from excise.models.schedule import Schedule
from excise.neurons import find_units
from excise.neurons.activations import collect_activations
from excise.neurons.units import FFN

PROMPTS = ["a church", "a man in flat style", ""]
ONE_ENCODER = ("sd15", "sd21")  # what reads with one CLIP encoder
ATTACKED = pd.DataFrame({"prompt_id": ["one", "two"], "prompt": PROMPTS[:2], "seed": [10, 20]})
READERS = ("BasicTransformerBlock", "JointTransformerBlock", "FluxTransformerBlock")  # blocks that read the prompt
SHORT = {"stereo": {"rounds": 1, "round_steps": 1, "attack_steps": 1}, "remap": {"words": ["guy"]}}
SHORT |= {"rename": SHORT["remap"]}
SMALL = {
    **{"gcg": {"tokens": 2, "best": 4, "tries": 2}, "mma": {"tokens": 2, "best": 4, "tries": 2}},
    **{"ring_a_bell": {"tokens": 2, "population": 6}, "unlearndiffatk": {"tokens": 2, "checks": 1}},
    **{"p4d": {"tokens": 2}, "pez": {"tokens": 2}, "random_tokens": {"tokens": 2}, "synonyms": {"neighbours": 2}},
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(architecture, tmp_path_factory) -> DiffusionModel:
    folder = make_architecture(architecture, tmp_path_factory.mktemp("architecture") / architecture)
    spec = ModelSpec(name=architecture, path=str(folder), device="cpu", pixels=PIXELS[architecture])
    return DiffusionModel.load(spec)


@pytest.fixture(scope="module")
def material(model, tmp_path_factory) -> Material:
    folder = tmp_path_factory.mktemp("banks")

    def bank(name, prompts):
        seeds = list(range(len(prompts)))
        return build_bank(model, prompts, seeds, 2, 2.0, folder / f"{name}.safetensors", name)

    words = Words(["man", "guy"], "robot", ["church", "fish"])
    return Material(
        bank("concept", ["a man", "a guy"]), bank("anchor", ["a robot"] * 2), bank("retain", ["a fish"] * 2), words
    )


# the face -------------------------------------------------------------------------------------------------------------
def test_sampling_equals_diffusers_own_pipeline(model, architecture):
    """A second computation of the whole path: prompts, both encoders, guidance, sampler, decoder."""
    pipe, seeds, steps = model.pipe, [3, 4], 4
    noise = model.initial_noise(seeds)
    how = {"num_inference_steps": steps, "output_type": "np", "latents": noise, "guidance_scale": 3.0}
    guidance = 3.0
    if architecture in ("sd15", "sd21", "sdxl"):
        own, pipe.scheduler = pipe.scheduler, model.family.sampler(steps, model.device)
        how["latents"] = noise / getattr(own, "init_noise_sigma", 1.0) * getattr(own, "init_noise_sigma", 1.0)
    if architecture == "sd3":
        how |= {"height": 32, "width": 32}
    if architecture == "flux":  # its guidance is an input, and nothing is subtracted
        n, c, h, w = noise.shape
        how["latents"] = pipe._pack_latents(noise, n, c, h, w)
        how |= {"height": 32, "width": 32, "guidance_scale": 3.5, "max_sequence_length": model.family.length}
        guidance = 1.0
    theirs = pipe(PROMPTS[:2], **how).images
    if architecture in ("sd15", "sd21", "sdxl"):
        pipe.scheduler = own
    ours = model.decode(model.sample(model.encode(PROMPTS[:2]), seeds, steps, guidance).final)
    assert theirs.std() > 0.01  # they show something
    assert np.abs(ours / 255 - theirs).max() < 0.01


def test_states_are_the_same_from_ids_and_from_word_embeddings(model):
    ids = model.tokenize(PROMPTS)
    words = model.word_vectors(ids)
    for one, other in (
        (model.encode_tokens, model.encode_embeddings),
        (model.pooled_tokens, model.pooled_embeddings),
    ):
        torch.testing.assert_close(other(words, ids), one(ids))
    assert words.shape[-1] == model.word_vectors().shape[1] and len(model.word_vectors()) == model.vocabulary_size


def test_a_gradient_reaches_the_words_that_are_searched(model):
    ids = model.tokenize(PROMPTS[:2])
    words = model.word_vectors(ids).requires_grad_(True)
    states = model.encode_embeddings(words, ids)
    noise = model.initial_noise([1, 2])
    model.predict(noise, torch.tensor([500, 500]), states).pow(2).sum().backward()
    inside = words.grad[:, : 3 + model.family.first].abs()
    assert (inside.sum((1, 2)) > 0).all()
    for part in inside.split(model.family.widths(), -1):  # of every encoder
        assert part.sum() > 0


def test_content_ids_frame_as_the_tokenizer_frames_them(model):
    contents = model.tokenizer(PROMPTS, add_special_tokens=False).input_ids
    assert torch.equal(model.frame(contents), model.tokenize(PROMPTS))
    states = states_of_tokens(model, contents, [[]] * len(contents))
    torch.testing.assert_close(states, model.encode(PROMPTS))
    with pytest.raises(ValueError, match="more than"):
        states_of_tokens(model, [[5] * (model.room + 1)], [[]])


def test_a_learned_word_that_is_an_old_one_reads_as_that(model):
    """Id V + 0 with the embedding of a known word gives the states of that word."""
    [known] = model.tokenizer(["man"], add_special_tokens=False).input_ids
    place, size = known[-1], model.vocabulary_size
    vector = model.word_vectors(torch.tensor([place])).reshape(-1).tolist()
    if model.family.following:  # these read the text, which a learned word is no part of
        pytest.skip("an encoder of another vocabulary reads what the tokens spell")
    learned = states_of_tokens(model, [[size]], [vector])
    torch.testing.assert_close(learned, states_of_tokens(model, [[place]], [[]]))


def test_checkpointing_changes_no_gradient(model):
    states, noise, times = model.encode(["a church"]), model.initial_noise([1]), torch.tensor([400])
    found = []
    for on in (False, True):
        (model.denoiser.enable_gradient_checkpointing if on else model.denoiser.disable_gradient_checkpointing)()
        leaf = states.clone().requires_grad_(True)
        model.predict(noise, times, leaf).pow(2).sum().backward()
        found.append(leaf.grad)
    model.denoiser.disable_gradient_checkpointing()
    torch.testing.assert_close(*found)


def test_a_scale_of_one_is_the_prompt_alone(model):
    states, asked = model.encode(PROMPTS[:2]), []

    def predict(latents, times, given):
        asked.append(len(latents))
        return model.predict(latents, times, given)

    plain = model.sample(states, [1, 2], 3, 1.0, predict=predict).final
    nearly = model.sample(states, [1, 2], 3, 1 + 1e-7, predict=predict).final
    torch.testing.assert_close(plain, nearly, atol=1e-4, rtol=1e-3)
    assert set(asked[: len(asked) // 2]) == {2} and set(asked[len(asked) // 2 :]) == {4}


def test_replaced_parameters_count_and_nothing_else_changes(model):
    name = next(f.up for f in feed_forwards(model.denoiser)) + ".weight"
    weight = model.denoiser.get_parameter(name)
    states, noise, times = model.encode(["a church"]), model.initial_noise([1]), torch.tensor([400])
    with torch.no_grad():
        before = model.predict(noise, times, states)
        other = model.predict(noise, times, states, {name: 2 * weight})
        with model.changed({name: 2 * weight}):
            torch.testing.assert_close(model.predict(noise, times, states), other)
        assert not torch.allclose(other, before) and torch.equal(model.predict(noise, times, states), before)


def test_layers_are_found_by_structure(model):
    modules = dict(model.denoiser.named_modules())
    ffns, crosses = feed_forwards(model.denoiser), cross_attentions(model.denoiser)
    assert ffns and crosses
    for f in ffns:
        attended = modules[f.up].in_features if "single" in f.name else 0  # channels of attention are read beside them
        assert modules[f.up].out_features == (2 if f.gated else 1) * (modules[f.down].in_features - attended)
    assert {c.key for c in crosses} <= set(modules)
    assert set(model.family.prompt_readers()) <= {n for n, _ in model.denoiser.named_parameters()}


def test_esd_u_leaves_out_what_reads_the_prompt_the_output_and_the_time(model, architecture):
    """By the parameters themselves; each architecture calls its modules otherwise."""
    denoiser, of_unet = model.denoiser, architecture in ("sd15", "sd21", "sdxl")
    ends = ("conv_norm_out", "conv_out", "time_embedding") if of_unet else ("norm_out", "proj_out", "time_text_embed")
    blocks = [m for m in denoiser.modules() if type(m).__name__ in READERS]
    out = [*(denoiser.get_submodule(n) for n in ends), *(m.attn2 if of_unet else m.attn for m in blocks)]
    left = {id(p) for module in out for p in module.parameters()}
    assert blocks and parameter_names(denoiser, "esd-u") == [
        n for n, p in denoiser.named_parameters() if id(p) not in left
    ]


def test_pictures_there_and_back_stay_in_their_range(model):
    picture = np.full((1, 32, 32, 3), 200, np.uint8)
    latents = model.encode_images(picture)
    assert latents.shape[1:] == model.latent_shape
    inner = model.pipe.vae.encode(torch.full((1, 3, 32, 32), 200 / 127.5 - 1)).latent_dist.mean
    config = model.pipe.vae.config
    expected = (inner - (getattr(config, "shift_factor", None) or 0)) * config.scaling_factor
    torch.testing.assert_close(latents, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(model.family.to_picture_space(latents), inner, atol=1e-3, rtol=1e-3)


def test_activations_are_those_of_each_condition(model):
    """Second computation: every prompt alone, with hooks of the test's own."""
    units, modules = find_units(model.denoiser, values=True), dict(model.denoiser.named_modules())
    conditions = {"a": model.encode(["a man", "a church"]), "b": model.encode(["a robot", "a fish in flat style"])}
    times = torch.tensor([700, 300])
    latents = torch.stack([model.initial_noise([1, 2]), model.initial_noise([3, 4])])
    stats = collect_activations(model, units, *conditions.values(), times, latents)

    seen: dict[str, torch.Tensor] = {}
    hooks = [
        modules[u.name].register_forward_hook(
            lambda module, given, out, u=u: seen.update({u.name: (given[0] if u.kind == FFN else out)[0].double()})
        )
        for u in units
    ]
    alone: dict[str, dict[str, list[torch.Tensor]]] = {c: {u.name: [] for u in units} for c in conditions}
    with torch.no_grad():
        for (name, states), step, row in product(conditions.items(), range(2), range(2)):
            model.predict(latents[step, row : row + 1], times[step], states[row : row + 1])
            for unit in units:
                alone[name][unit.name].append(seen[unit.name].mean(0))
    for hook in hooks:
        hook.remove()

    for unit in units:
        a, b = (torch.stack(alone[name][unit.name]).mean(0) for name in conditions)
        contrast = float((a - b).abs().max())
        assert contrast > 1e-3  # so that one condition in the other's place is seen
        for name, expected in (("a", a), ("b", b), ("d", a - b)):
            torch.testing.assert_close(stats[f"{unit.name}/{name}/mean"], expected[None], rtol=0, atol=contrast / 100)


# what works on it -----------------------------------------------------------------------------------------------------
QUICK = {  # of each kind one; the others take minutes together
    ("sd21", "esd"),
    ("sd21", "finetuning"),
    ("sd21", "unlearndiffatk"),
    ("sdxl", "ac"),
    ("sdxl", "rece"),
    ("sdxl", "advunlearn"),
    ("sdxl", "p4d"),
    ("sdxl", "textual_inversion"),
    ("sd3", "esd"),
    ("sd3", "uce"),
    ("sd3", "rece"),
    ("sd3", "unlearndiffatk"),
    ("sd3", "tina"),
    ("flux", "ac"),
    ("flux", "uce"),
    ("flux", "gcg"),
    ("flux", "pez"),
    ("flux", "img2img"),
    ("flux", "revival"),
}


def each_on_every_architecture(names):
    """Architecture and name; what is not quick is marked slow."""
    pairs = [(architecture, name) for architecture in ARCHITECTURES for name in sorted(names)]
    cases = [pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.slow) for pair in pairs]
    return pytest.mark.parametrize(("architecture", "name"), cases, indirect=["architecture"])


@each_on_every_architecture(ERASERS)
def test_every_eraser_runs_or_says_why_not(model, architecture, material, tmp_path, name):
    options = EraserOptions(method=name, batch=2, steps=2, lr=1e-3, options=SHORT.get(name, {}))
    needs_one = name in ("advunlearn", "remap", "rename")
    refused = (needs_one and architecture not in ONE_ENCODER) or (name == "rece" and architecture in ("sd3", "flux"))
    if refused:
        with pytest.raises(UserError) as caught:
            make_erased(model, options, material, 0, tmp_path, name)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
        return
    before = {n: p.clone() for n, p in model.weights().items()}
    erased = make_erased(model, options, material, 0, tmp_path, name)
    assert {*erased.weights, *erased.pruned} <= set(before)
    assert all(torch.isfinite(w).all() for w in erased.weights.values())
    eraser = Eraser({"base": {"name": architecture, "sha256": model.sha256}}, erased.weights, erased.pruned)
    eraser.save(tmp_path / "eraser.safetensors")
    states, noise, times = model.encode(["a guy"]), model.initial_noise([1]), torch.tensor([400])
    plain = model.predict(noise, times, states)
    with model.wearing(Eraser.load(tmp_path / "eraser.safetensors")):
        assert not torch.equal(model.predict(noise, times, model.encode(["a guy"])), plain)
    assert all(torch.equal(p, before[n]) for n, p in model.weights().items())


def test_a_mask_is_learned(model, material, tmp_path):
    prune = PruneOptions(steps=2, group="ffn+kv", start=0.2, spread=1.0, retain_weight=1.0)
    support = mask_support(model.denoiser, prune, None)
    scores = {n: torch.rand(s.shape, generator=torch.Generator().manual_seed(1)) for n, s in support.items()}
    options = EraserOptions(method="esd", batch=2, steps=2, lr=1e-3)
    erased = make_erased(model, options, material, 0, tmp_path, "p", prune, support, scores)
    assert sum(int(p.sum()) for p in erased.pruned.values()) > 0 and np.isfinite(erased.losses[-1]["loss"])


@each_on_every_architecture(ATTACKS)
def test_every_attack_runs(model, architecture, material, tmp_path, name):
    """Also on weights, pictures and embeddings; what it found can be drawn."""
    from excise.images.drawing import DrawOptions, draw_once

    cross = cross_attentions(model.denoiser)[0]
    weight = f"{cross.value}.weight"
    mask = torch.zeros_like(model.denoiser.get_parameter(weight), dtype=torch.bool)
    mask[:2] = True
    header = {"base": {"name": architecture, "sha256": model.sha256}}
    eraser = Eraser(header, {weight: 0.9 * model.denoiser.get_parameter(weight).detach()}, {weight: mask})
    references = material.concept.final
    texts = (["a man", "a guy"], ["a robot", "a robot"], ["a fish", "a fish"])
    known = Knowledge(texts[0], texts[1], material.retain.final, texts[2], references, texts[0])
    options = AttackOptions(method=name, steps=2, batch=2, options=SMALL.get(name, {}))
    with model.wearing(eraser):
        table = make_attack(options).run(model, ATTACKED, references, options, tmp_path, "test", known, None)
    assert len(table) == 2 and (table["dropped"] == "").all()
    if table["weights"].any():
        return
    rows = table.assign(seed=[1, 2], set="target")
    drawn = draw_once(model, rows, DrawOptions(steps=2))
    assert drawn.pictures.shape == (2, 32, 32, 3)


def test_swaps_are_scored_as_the_strings_that_they_make(model, material):
    """Also where a text has no token of its own before the first word."""
    from excise.attacks.gcg.swaps import SwapSearch
    from excise.attacks.search import Case
    from excise.images.tokens import frame_tokens

    contents = model.tokenizer(ATTACKED["prompt"].tolist(), add_special_tokens=False).input_ids
    options = AttackOptions(method="gcg", steps=1, options=SMALL["gcg"])
    case = Case(model, ATTACKED, contents, material.concept.final, options, Knowledge())
    search = SwapSearch(case, make_attack(options))
    search.arrange()
    tokens = torch.tensor([[[3, 4], [5, 6]], [[7, 8], [9, 10]]])
    with torch.no_grad():
        losses = search._losses(tokens)
        for row, prompt in enumerate(contents):
            for k in range(2):
                strings = frame_tokens(model, [search.vocabulary[tokens[row, k]].tolist(), prompt])
                found, asked = model.pooled_tokens(strings)
                expected = 1 - torch.cosine_similarity(found, asked, dim=0)
                torch.testing.assert_close(losses[row, k], expected, rtol=1e-4, atol=1e-5)


# noise ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow"])
def test_a_perfect_prediction_splits_into_what_was_mixed(kind):
    alphas = None if kind == "flow" else torch.linspace(0.999, 0.01, 1000, dtype=torch.float64)
    schedule = Schedule(kind, alphas)
    clean, noise = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64).unbind(0)
    times = torch.tensor([3, 500, 990])
    noisy = schedule.add_noise(clean, noise, times)
    for ours, true in zip(
        schedule.split(noisy, schedule.target(clean, noise, times), times), (clean, noise), strict=True
    ):
        torch.testing.assert_close(ours, true)
    alpha, sigma = schedule.levels(times, clean)
    torch.testing.assert_close(alpha**2 + sigma**2 if kind != "flow" else alpha + sigma, torch.ones_like(alpha))


def test_a_velocity_is_what_diffusers_trains_for(model, architecture):
    """Targets against the schedulers' own."""
    from diffusers import DDPMScheduler

    clean, noise, times = *torch.randn(2, 3, 4, 8, 8).unbind(0), torch.tensor([10, 500, 900])
    ours = model.target(clean, noise, times)
    if architecture in ("sd3", "flux"):
        torch.testing.assert_close(ours, noise - clean)
        torch.testing.assert_close(
            model.add_noise(clean, noise, times),
            (1 - times.view(-1, 1, 1, 1) / 1000) * clean + times.view(-1, 1, 1, 1) / 1000 * noise,
        )
        return
    theirs = DDPMScheduler.from_config(model.pipe.scheduler.config)
    expected = theirs.get_velocity(clean, noise, times) if architecture == "sd21" else noise
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(model.add_noise(clean, noise, times), theirs.add_noise(clean, noise, times))


def test_every_family_says_what_it_is():
    from excise.models.families import FAMILIES, family_of

    for name in FAMILIES:
        assert inspect.getdoc(family_of(name))
    with pytest.raises(UserError, match="class 'KandinskyPipeline' are not known here"):
        family_of("KandinskyPipeline")


def test_pixels_that_no_patch_divides_are_refused(model):
    spec = model.spec.model_copy(update={"pixels": model.family.scale * model.family.patch + 1})
    with pytest.raises(UserError, match="take a multiple of"):
        DiffusionModel.load(spec)


def test_a_model_of_halves_is_told_the_time_that_it_is(tmp_path):
    """bfloat16 knows 984, 988 and 992."""
    folder = make_architecture("sd3", tmp_path / "sd3")
    spec = ModelSpec(name="sd3", path=str(folder), pixels=PIXELS["sd3"], dtype="bfloat16")
    model = DiffusionModel.load(spec)
    latents = model.initial_noise([1]).to(torch.bfloat16)
    told = model.family.arguments(latents, torch.tensor([987.4]), model.encode(["a man"]))["timestep"]
    assert told.tolist() == [pytest.approx(987.4, abs=1e-4)]
    assert torch.isfinite(model.predict(model.initial_noise([1]), torch.tensor([987.4]), model.encode(["a man"]))).all()


def test_an_encoder_that_no_word_is_searched_in_reads_prompts_as_they_were_typed(tmp_path, monkeypatch):
    """CLIP's words, spelled again, have no capitals, and a space before every comma."""
    typed = ["A Church in Van Gogh's manner, at night: 12.5 feet"]
    spec = ModelSpec(name="sd3", path=str(make_architecture("sd3", tmp_path / "sd3")), pixels=PIXELS["sd3"])
    model = DiffusionModel.load(spec)
    seen: list[list[str]] = []
    own = type(model.family)._t5
    monkeypatch.setattr(
        type(model.family), "_t5", lambda self, texts, like: seen.append(texts) or own(self, texts, like)
    )
    states = model.encode(typed)
    given = {"do_classifier_free_guidance": False, "prompt_2": None, "prompt_3": None}
    theirs, _, pooled, _ = model.pipe.encode_prompt(prompt=typed, **given)
    torch.testing.assert_close(model.token_states(states), theirs)
    torch.testing.assert_close(model.prompt_states(states), pooled)
    model.encode_tokens(model.tokenize(typed))
    assert seen[0] == typed and seen[-1] == model.family.spelled(model.tokenize(typed)) != typed
