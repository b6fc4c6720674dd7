"""What every searching attack keeps to: company, interruption and judging change nothing that they should not."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from excise.attacks import AttackOptions, ThreatModel, make_attack
from excise.attacks.search import Knowledge, run
from excise.attacks.search.noise import fixed_pairs
from excise.attacks.search.slots import SLOT, Slots, vocabulary, words_for_minors
from excise.erasers import Eraser
from excise.errors import UserError
from excise.images.tokens import frame_tokens
from excise.shards import Shard

PROMPTS = pd.DataFrame(
    {
        "prompt_id": ["one", "two", "three"],
        "prompt": ["an old man", "a woman in flat style on a blue background", "a guy"],
        "seed": [10, 20, 30],
    }
)
KNOWN = Knowledge(["an old man", "a woman"], ["a chair", "a cat"])
WAYS: dict[str, dict] = {  # name -> options, small
    "unlearndiffatk": {"tokens": 2, "check_every": 10, "checks": 2},
    "pez": {"tokens": 2, "check_every": 10, "checks": 2},
    "p4d": {"tokens": 3, "check_every": 10, "checks": 2},
    "p4d k": {"kind": "k"},
    "gcg": {"tokens": 3, "best": 8, "tries": 4},
    "mma": {"tokens": 3, "best": 8, "tries": 4},
    "ring_a_bell": {"tokens": 4, "population": 8},
    "random_tokens": {"tokens": 2},
    "synonyms": {"neighbours": 2},
    "seed_search": {},
    "img2img": {"strength": 0.8, "weakest": 0.4},
    "tina": {"rounds": 2},
}
JUDGED = [w for w in WAYS if w != "tina"]
TEXT = [w for w in WAYS if w not in ("img2img", "tina", "seed_search")]


@pytest.fixture(scope="module")
def references(model):
    return model.sample(model.encode(PROMPTS["prompt"].tolist()), [1, 2, 3], steps=3).final


@pytest.fixture(autouse=True)
def model_is_untouched(model):
    parts = (model.pipe.unet, model.pipe.text_encoder, model.pipe.vae)
    weights = [v for part in parts for v in part.state_dict().values()]
    before = [w.clone() for w in weights]
    yield
    assert all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))
    assert not any(p.requires_grad or p.grad is not None for part in parts for p in part.parameters())
    assert not model.pipe.text_encoder.get_input_embeddings()._forward_hooks


def attack(way, model, prompts, references, folder, steps=20, batch=32, images=0, examine=None, **more):
    options = AttackOptions(method=way.split()[0], steps=steps, batch=batch, images=images, options=WAYS[way] | more)
    with model.wearing(slight(model)):
        return make_attack(options).run(model, prompts, references, options, folder, "test", KNOWN, examine)


def slight(model) -> Eraser:
    """Something to wear: P4D asks for a base model below."""
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.weight"
    header = {"base": {"name": "tiny", "sha256": model.sha256}}
    return Eraser(header, {name: 0.9 * model.denoiser.get_parameter(name).detach()})


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_finds_what_one_by_one_finds(model, references, tmp_path, way):
    together = attack(way, model, PROMPTS, references, tmp_path / "together")
    alone = [attack(way, model, PROMPTS[i : i + 1], references[i : i + 1], tmp_path / str(i)) for i in range(3)]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True), rtol=1e-6, atol=1e-9)


def test_shards_find_what_one_process_finds(model, references, tmp_path):
    options = AttackOptions(method="random_tokens", steps=2, batch=1, options=WAYS["random_tokens"])
    given = (model, PROMPTS, references, options)
    whole = make_attack(options).run(*given, tmp_path / "whole", "test")
    parts = [make_attack(options).run(*given, tmp_path / "cut", "test", shard=Shard(k, 2)) for k in (2, 1)]
    assert [part["prompt_id"].tolist() for part in parts] == [["two"], ["one", "three"]]
    pd.testing.assert_frame_equal(make_attack(options).run(*given, tmp_path / "cut", "test"), whole)
    found = pd.concat(parts).set_index("prompt_id").loc[whole["prompt_id"]].reset_index()
    pd.testing.assert_frame_equal(found[whole.columns], whole)


@pytest.mark.parametrize("way", JUDGED)
def test_interrupted_and_resumed_equals_uninterrupted(model, references, tmp_path, monkeypatch, way):
    seen = []

    def examine(table):
        seen.append(table)
        return [name == "two" and len(seen) in (3, 30) for name in table["prompt_id"]]

    whole = attack(way, model, PROMPTS, references, tmp_path / "whole", 12, images=4, examine=examine)
    calls, seen_before = 0, len(seen)
    monkeypatch.setattr(run, "SAVE_EVERY", -1.0)

    def stopping(table):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return [name == "two" and calls == 3 for name in table["prompt_id"]]

    with pytest.raises(KeyboardInterrupt):
        attack(way, model, PROMPTS, references, tmp_path / "cut", 12, images=4, examine=stopping)
    calls = 3

    def going_on(table):
        nonlocal calls
        calls += 1
        return [False] * len(table)

    again = attack(way, model, PROMPTS, references, tmp_path / "cut", 12, images=4, examine=going_on)
    pd.testing.assert_frame_equal(whole, again)
    assert calls + 1 == seen_before + 1  # nothing was judged twice
    assert whole["found"].tolist() == ["", "attack", ""]
    assert whole["images"].tolist() == [4, 2, 4]


@pytest.mark.parametrize("way", JUDGED)
def test_a_prompt_stops_at_its_first_hit_and_others_go_on_as_if_alone(model, references, tmp_path, way):
    def examine(table):
        examine.calls += 1  # 1: as they stand, 2 and 3: what confirms that, then the looks
        return [
            (name == "one" and examine.calls <= 3) or (name == "three" and examine.calls == 5)
            for name in table["prompt_id"]
        ]

    examine.calls = 0
    table = attack(way, model, PROMPTS, references, tmp_path / "a", 20, images=5, examine=examine)
    assert table["found"].tolist() == ["before", "", "attack"] and table["images"].tolist() == [0, 5, 2]
    assert table["gradient_steps"][0] == table["model_evaluations"][0] == 0
    assert table["token_ids"][0] == model.tokenizer("an old man", add_special_tokens=False).input_ids
    alone = attack(way, model, PROMPTS[1:2], references[1:2], tmp_path / "b", 20, images=5, examine=lambda t: [False])
    pd.testing.assert_frame_equal(table[1:2].reset_index(drop=True), alone, rtol=1e-6, atol=1e-9)
    if table["gradient_steps"][1]:
        assert table["gradient_steps"].tolist() == [0, 20, 8]


def test_one_lucky_picture_spares_no_prompt_the_attack(model, references, tmp_path):
    calls = []

    def examine(table):
        calls.append(table["prompt_id"].tolist())
        return [len(calls) == 1 for _ in table["prompt_id"]]

    table = attack("random_tokens", model, PROMPTS, references, tmp_path, 2, images=2, examine=examine)
    assert table["found"].tolist() == ["", "", ""] and table["images"].tolist() == [2, 2, 2]
    assert len(calls) == 1 + 2 + 2


def test_what_spells_a_word_for_a_minor_is_neither_drawn_nor_kept(model, references, tmp_path, monkeypatch):
    from excise.attacks.search import search as rows

    drawn = []
    for module in (run, rows):
        monkeypatch.setattr(module, "names_minor", lambda text: text.startswith("a guy"))
    table = attack(
        "seed_search",
        model,
        PROMPTS,
        references,
        tmp_path,
        2,
        images=2,
        examine=lambda t: drawn.extend(t["prompt_id"]) or [False] * len(t),
    )
    assert set(drawn) == {"one", "two"} and table["dropped"].tolist() == ["", "", "names a minor"]
    assert table["token_ids"][2] == [] and table["text"][2] == ""


def test_an_attack_that_compares_with_the_base_model_needs_one(model, references, tmp_path):
    options = AttackOptions(method="p4d", steps=2)
    table = make_attack(options).run(model, PROMPTS, references, options, tmp_path, "test", KNOWN)
    assert table["dropped"].str.startswith("no eraser is worn").all() and not table["model_evaluations"].any()


def test_gcg_looks_for_what_the_prompt_meant_before_its_words_were_remapped(model, references, tmp_path):
    from excise.attacks.gcg.swaps import SwapSearch
    from excise.attacks.search import Case

    embeddings = model.pipe.text_encoder.get_input_embeddings().weight.detach()
    name = next(n for n, p in model.weights().items() if p.shape == embeddings.shape and n.startswith("text_encoder"))
    ids = model.tokenizer(["man", "cactus"], add_special_tokens=False).input_ids
    table = embeddings.clone()
    table[ids[0]] = embeddings[ids[1]]
    options = AttackOptions(method="gcg", steps=3, options=WAYS["gcg"])
    contents = model.tokenizer(PROMPTS["prompt"].tolist(), add_special_tokens=False).input_ids
    plain = model.pooled_tokens(model.tokenize(["an old man"])).detach()
    with model.wearing(Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, {name: table})):
        search = SwapSearch(Case(model, PROMPTS, contents, references, options, KNOWN), make_attack(options))
        search.arrange()
        torch.testing.assert_close(search.target[:1], plain)
        assert not torch.allclose(model.pooled_tokens(model.tokenize(["an old man"])), plain)


def test_a_hit_that_is_not_confirmed_does_not_end_the_search(model, references, tmp_path):
    """One is lucky once and goes on, two is confirmed by two of three; what confirming cost is counted."""
    asked = []

    def examine(table):
        asked.append(table[["prompt_id", "seed"]])
        k = len(asked)
        # 1: as they stand; 2: a look, at which one and two are hits; 3 to 5: one never again, two twice more
        return [(n == "one" and k == 2) or (n == "two" and k in (2, 3, 5)) for n in table["prompt_id"]]

    options = AttackOptions(
        method="random_tokens", steps=4, batch=32, images=4, confirm=3, options=WAYS["random_tokens"]
    )
    table = make_attack(options).run(model, PROMPTS, references, options, tmp_path, "test", KNOWN, examine)
    assert table["found"].tolist() == ["", "attack", ""] and table["images"].tolist() == [4 + 3, 1 + 3, 4]
    assert [a["prompt_id"].tolist() for a in asked[2:5]] == [["one", "two"]] * 3
    seeds = pd.concat(asked[1:5])
    assert seeds[seeds["prompt_id"] == "two"]["seed"].nunique() == 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", [7, 20])
def test_the_budget_counts_what_the_denoiser_was_asked(model, references, tmp_path, way, steps):
    asked = []
    hook = model.denoiser.register_forward_pre_hook(
        lambda m, args, kwargs: asked.append(len(kwargs["sample"])), with_kwargs=True
    )
    table = attack(way, model, PROMPTS, references, tmp_path, steps)
    hook.remove()
    assert sum(asked) == table["model_evaluations"].sum() and table["model_evaluations"].nunique() == 1


@pytest.mark.parametrize("way", TEXT)
def test_what_is_chosen_is_neither_special_nor_a_word_for_a_minor(model, references, tmp_path, way):
    table, tok = attack(way, model, PROMPTS, references, tmp_path, 6), model.tokenizer
    banned = {tok.bos_token_id, tok.eos_token_id, tok.pad_token_id, *words_for_minors(tok, len(tok))}
    for row in table.itertuples():
        assert not banned & set(row.adversarial_ids) and set(row.adversarial_ids) <= set(row.token_ids)
        assert row.retokenises == (tok(row.text, add_special_tokens=False).input_ids == row.token_ids)
    assert set(table["threat_model"]) <= {ThreatModel.WHITE_BOX_TEXT, ThreatModel.BLACK_BOX_TEXT}


@pytest.mark.parametrize("way", ["gcg", "mma"])
def test_strings_of_swaps_are_read_as_they_were_written(model, references, tmp_path, way):
    table = attack(way, model, PROMPTS, references, tmp_path, 12)
    assert table["retokenises"].all()
    words = [set(model.tokenizer(p, add_special_tokens=False).input_ids) for p in PROMPTS["prompt"]]
    assert not any(w & set(ids) for w, ids in zip(words, table["token_ids"], strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_a_prompt_that_is_too_long_is_dropped_with_a_reason(model, references, tmp_path, way):
    longer = PROMPTS.copy()
    longer.loc[1, "prompt"] = "a woman " * 40
    table = attack(way, model, longer, references, tmp_path / "a", 4)
    assert table["dropped"][0] == table["dropped"][2] == "" and table["dropped"][1].startswith("more than ")
    assert table.loc[1, "token_ids"] == [] and table.loc[1, "model_evaluations"] == 0
    others = attack(way, model, longer.drop(1), references[[0, 2]], tmp_path / "b", 4)
    pd.testing.assert_frame_equal(table.drop(1).reset_index(drop=True), others, rtol=1e-6, atol=1e-9)


def test_gradient_attacks_lower_their_loss(model, references, tmp_path):
    for way in ("gcg", "mma", "ring_a_bell"):
        few = attack(way, model, PROMPTS, references, tmp_path / f"{way} few", 1)
        many = attack(way, model, PROMPTS, references, tmp_path / f"{way} many", 40)
        assert (many["loss"] < few["loss"]).all(), way


def test_gcg_s_loss_is_one_minus_the_cosine_of_the_pooled_texts(model, references, tmp_path):
    table, encoder = attack("gcg", model, PROMPTS, references, tmp_path, 5), model.pipe.text_encoder
    with torch.no_grad():
        for row in table.itertuples():
            found, asked = (encoder(model.tokenize([text])).pooler_output[0] for text in (row.text, row.prompt))
            assert row.loss == pytest.approx(float(1 - found @ asked / found.norm() / asked.norm()), abs=1e-9)


def test_ring_a_bell_s_loss_is_the_distance_to_the_prompt_with_the_concept_turned_up(model, references, tmp_path):
    table = attack("ring_a_bell", model, PROMPTS, references, tmp_path, 3, strength=2.0)
    pairs = zip(KNOWN.target, KNOWN.neutral, strict=True)
    concept = sum(model.encode([a])[0] - model.encode([b])[0] for a, b in pairs) / 2
    for row in table.itertuples():
        goal = model.encode([row.prompt])[0] + 2 * concept
        found = model.encode_tokens(frame_tokens(model, [row.token_ids])).detach()[0]
        assert row.loss == pytest.approx(float((found - goal).square().sum()), rel=1e-9)


def test_p4d_k_places_a_free_token_after_every_third(model, references, tmp_path):
    table = attack("p4d k", model, PROMPTS, references, tmp_path, 2)
    words = model.tokenizer(PROMPTS["prompt"].tolist(), add_special_tokens=False).input_ids
    for ids, free, own in zip(table["token_ids"], table["adversarial_ids"], words, strict=True):
        kept = [t for i, t in enumerate(ids) if i % 4 != 3 and i != len(ids) - 1]
        assert kept == own and len(free) == -(-len(own) // 3) and len(ids) == len(own) + len(free)


def test_p4d_imitates_the_base_model_below_the_eraser(model, references, tmp_path):
    """With the prompt's own tokens and no eraser the error is zero; under an eraser it is what the eraser changed."""
    from excise.attacks.p4d.imitation import P4DSearch
    from excise.attacks.search import Case

    contents = model.tokenizer(PROMPTS["prompt"].tolist(), add_special_tokens=False).input_ids
    options = AttackOptions(method="p4d", steps=3, options={})
    search = P4DSearch(Case(model, PROMPTS, contents, references, options, KNOWN), make_attack(options))
    states = model.encode(PROMPTS["prompt"].tolist())

    def errors():
        [(noise, time)] = fixed_pairs(search.case, 1)
        return search.losses(states, noise, time, search.goal(noise, time))

    with torch.no_grad():
        assert float(errors().max()) == 0
        name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.weight"
        weight = model.denoiser.get_parameter(name)
        header = {"base": {"name": "tiny", "sha256": model.sha256}}
        with model.wearing(Eraser(header, {name: torch.zeros_like(weight)})):
            assert float(errors().min()) > 0
            assert float(model.denoiser.get_parameter(name).abs().max()) == 0  # it is worn again


def test_seed_search_asks_as_it_stands_on_other_seeds(model, references, tmp_path):
    seen = []
    attack(
        "seed_search",
        model,
        PROMPTS,
        references,
        tmp_path,
        4,
        images=4,
        examine=lambda t: seen.append(t) or [False] * 3,
    )
    seeds = pd.concat(seen)["seed"]
    assert len(seen) == 5 and seeds.nunique() == 15 and seen[0]["seed"].tolist() == [10, 20, 30]


def test_synonyms_try_swaps_and_paraphrases_by_turns_and_the_concepts_words_first(model, references, tmp_path):
    from excise.attacks.search import Case
    from excise.attacks.synonyms.attack import FRAMES
    from excise.attacks.synonyms.variations import VariationSearch

    tok = model.tokenizer
    own = tok(PROMPTS["prompt"].tolist(), add_special_tokens=False).input_ids
    options = AttackOptions(method="synonyms", steps=20, options=WAYS["synonyms"])
    known = Knowledge(["an old man"], ["an old chair in flat style on a blue background"])
    search = VariationSearch(Case(model, PROMPTS, own, references, options, known), make_attack(options))
    search.arrange()
    for words, tried, prompt in zip(own, search.variations, PROMPTS["prompt"], strict=True):
        frames = tok([f.format(prompt) for f in FRAMES], add_special_tokens=False).input_ids
        swaps = [v for v in tried if v not in frames]
        assert tried[1 : 2 * len(frames) : 2] == frames[: len(swaps)]
        assert len(swaps) == 2 * len(words) == len({str(v) for v in swaps})
        changed = [next(i for i, (a, b) in enumerate(zip(v, words, strict=True)) if a != b) for v in swaps]
        named = [tok.decode([words[i]]).strip() in ("man", "woman", "guy") for i in changed]
        assert named == sorted(named, reverse=True) and named[:2] == [True, True]


def test_img2img_goes_from_strong_to_weak(model, references, tmp_path):
    seen = []
    attack(
        "img2img", model, PROMPTS, references, tmp_path, 3, images=3, examine=lambda t: seen.append(t) or [False] * 3
    )
    assert [t["strength"][0] for t in seen[1:]] == [0.8, 0.6, 0.4]
    latent = torch.tensor(seen[1]["latent"][1]).view(references.shape[1:])
    torch.testing.assert_close(latent, references[1].float())


def test_inverting_and_sampling_gives_the_picture_back(model, references, tmp_path):
    """The fixed points solve the sampler's steps: running it forwards retraces them."""
    [row] = attack("tina", model, PROMPTS[:1], references[:1], tmp_path, 8, rounds=15).itertuples()
    latent = torch.tensor(row.latent, dtype=torch.float64).view(1, *references.shape[1:])
    alphas, blank = model.schedule.alphas_cumprod.double(), model.encode([""])
    times = [round(999 * (k + 1) / 8) for k in range(8)]
    for k in reversed(range(8)):
        before = alphas[times[k - 1]] if k else torch.ones((), dtype=torch.float64)
        with torch.no_grad(), model.wearing(slight(model)):
            noise = model.predict(latent, torch.tensor(times[k]), blank)
        picture = (latent - (1 - alphas[times[k]]).sqrt() * noise) / alphas[times[k]].sqrt()
        latent = before.sqrt() * picture + (1 - before).sqrt() * noise
    torch.testing.assert_close(latent, references[:1], rtol=1e-3, atol=1e-3)


def test_slots_of_different_numbers(model):
    slots = Slots(model, [[SLOT, 5, SLOT], [7, SLOT]])
    table = model.pipe.text_encoder.get_input_embeddings().weight
    chosen = torch.tensor([[11, 12], [13, 14]])
    filled = slots.fill(slots.used(chosen.tolist()))
    assert filled == [[11, 5, 12], [7, 13]]
    torch.testing.assert_close(slots.words(table[chosen]), table[frame_tokens(model, filled)])
    torch.testing.assert_close(slots.states(table[chosen]), model.encode_tokens(frame_tokens(model, filled)))


def test_the_vocabulary_leaves_out_what_no_attack_may_use(model):
    tok, ids = model.tokenizer, set(vocabulary(model).tolist())
    assert not {tok.bos_token_id, tok.eos_token_id, tok.pad_token_id} & ids
    assert set(tok("an old man", add_special_tokens=False).input_ids) <= ids


def test_words_for_minors_are_found_by_what_they_spell():
    class Spells:  # emoji64's words have none to find
        words = ("man", " girl", "kid", "kidney", "toddlers", "church")

        def decode(self, ids):
            return "".join(self.words[i] for i in ids)

    assert words_for_minors(Spells(), 6) == [1, 2, 4]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "unlearndifatk"}, "no attack 'unlearndifatk': did you mean 'unlearndiffatk'?"),
        ({"options": {"token": 3}}, "token"),
        ({"options": {"tokens": 0}}, "tokens"),
        ({"method": "ring_a_bell", "options": {"population": 5}}, "population must be even"),
        ({"method": "synonyms", "options": {"frames": ["{x} {}"]}}, "must have {} in it once"),
        ({"method": "tina", "images": 1}, "nothing judged on its way"),
        ({"method": "finetuning", "images": 1}, "nothing judged on its way"),
    ],
)
def test_an_unknown_attack_or_option_is_one_sentence(settings, said):
    with pytest.raises(UserError) as caught:
        make_attack(AttackOptions(**settings))
    assert said in str(caught.value) and "\n" not in str(caught.value)
