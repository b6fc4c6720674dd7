"""Learned words: their loss, their place in a prompt, and that drawing uses them as the attack learned them."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from excise.attacks import AttackOptions, ThreatModel, make_attack, total
from excise.attacks.search import Knowledge
from excise.errors import UserError
from excise.images.learned_words import LearnedWords
from excise.images.tokens import states_of_tokens
from excise.models.diffusion import DiffusionModel

PROMPTS = pd.DataFrame(
    {
        "prompt_id": ["one", "two"],
        "prompt": ["an old man", "a woman in flat style on a blue background"],
        "seed": [1, 2],
    }
)


@pytest.fixture(scope="module")
def model(tiny_spec):
    return DiffusionModel.load(tiny_spec)


@pytest.fixture(scope="module")
def references(model):
    return model.sample(model.encode(PROMPTS["prompt"].tolist()), [1, 2], steps=3).final


@pytest.fixture(autouse=True)
def model_is_untouched(model):
    weights = [v for part in (model.pipe.unet, model.pipe.text_encoder) for v in part.state_dict().values()]
    before = [w.clone() for w in weights]
    yield
    assert all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))
    assert not model.pipe.text_encoder.get_input_embeddings()._forward_hooks


FIT = ["a guy", "an old woman on a green background"]


def run(model, pictures, folder, steps=20, batch=4, prompts=PROMPTS, references=None, **method) -> pd.DataFrame:
    """Learned from pictures of the fit prompts."""
    options = AttackOptions(method="textual_inversion", steps=steps, batch=batch, options=method)
    known = Knowledge(concept=pictures, concept_prompts=FIT)
    given = (torch.zeros_like(pictures) if references is None else references, options, folder, "test", known)
    return make_attack(options).run(model, prompts, *given)


def spelled(model, row):
    """Second way: the vocabulary grows by the learned words, and an ordinary text encoder reads ids."""
    encoder, d = model.pipe.text_encoder, model.pipe.text_encoder.config.hidden_size
    old = encoder.get_input_embeddings()
    grown = torch.nn.Embedding(len(old.weight) + len(row.embedding) // d, d)
    grown.weight.data = torch.cat([old.weight.data, torch.tensor(row.embedding).view(-1, d)])
    tok = model.tokenizer
    ids = [tok.bos_token_id, *row.token_ids, tok.eos_token_id]
    ids += [tok.pad_token_id] * (tok.model_max_length - len(ids))
    encoder.set_input_embeddings(grown)
    try:
        with torch.no_grad():
            return encoder(torch.tensor([ids]))[0]
    finally:
        encoder.set_input_embeddings(old)


@pytest.mark.parametrize("where", ["before", "alone"])
def test_learned_words_are_read_like_words_of_a_grown_vocabulary(model, references, tmp_path, where):
    table = run(model, references, tmp_path, vectors=2, where=where)
    states = states_of_tokens(model, table["token_ids"], table["embedding"])
    for row, state in zip(table.itertuples(), states, strict=True):
        words = model.tokenizer(row.prompt, add_special_tokens=False).input_ids
        assert row.token_ids[2:] == (words if where == "before" else []) and len(row.adversarial_ids) == 2
        torch.testing.assert_close(state, spelled(model, row)[0], rtol=1e-4, atol=1e-5)


def test_training_and_drawing_read_the_same_states(model, references, tmp_path):
    table = run(model, references, tmp_path, vectors=2)
    learned = LearnedWords(model, table["token_ids"].tolist(), 2, "")
    d = learned.vectors.shape[1]
    with torch.no_grad():
        learned.vectors.copy_(torch.tensor(table["embedding"][0]).view(2, d))
        states = learned.states(torch.arange(2))
    torch.testing.assert_close(states, states_of_tokens(model, table["token_ids"], table["embedding"]))


def test_the_loss_falls_below_that_of_the_start(model, references, tmp_path):
    table = run(model, references, tmp_path, steps=60, lr=0.1, where="alone")
    before, after = (
        states_of_tokens(model, table["token_ids"], [e] * 2)
        for e in (torch.zeros(model.pipe.text_encoder.config.hidden_size).tolist(), table["embedding"][0])
    )
    generator = torch.Generator().manual_seed(99)
    losses = torch.zeros(2)
    for _ in range(24):
        noise = torch.randn(references.shape, generator=generator)
        times = torch.randint(1000, (2,), generator=generator)
        for which, states in enumerate((before, after)):
            with torch.no_grad():
                predicted = model.predict(model.add_noise(references, noise, times), times, states)
            losses[which] += (predicted - noise).pow(2).mean()
    assert losses[1] < losses[0]


def test_the_start_is_the_word_that_is_named(model, references, tmp_path):
    row = run(model, references, tmp_path, steps=1, lr=1e-9, start="robot").iloc[0]
    table = model.pipe.text_encoder.get_input_embeddings().weight
    [robot] = model.tokenizer("robot", add_special_tokens=False).input_ids
    torch.testing.assert_close(torch.tensor(row["embedding"]), table[robot].detach(), atol=1e-6, rtol=1e-5)
    with pytest.raises(UserError, match="is not one token"):
        run(model, references, tmp_path / "two", steps=1, start="old robot")


def test_two_runs_are_the_same_and_the_table_says_what_it_is(model, references, tmp_path):
    first, second = run(model, references, tmp_path / "a"), run(model, references, tmp_path / "b")
    pd.testing.assert_frame_equal(first, second)
    assert set(first["threat_model"]) == {str(ThreatModel.EMBEDDING)}
    assert set(first["gradient_steps"]) == {20} and set(first["model_evaluations"]) == {80} and first["shared"].all()
    assert total(first, "gradient_steps") == 20 and total(first, "model_evaluations") == 80
    assert set(first["dropped"]) == {""}
    assert not first["retokenises"].any()


def test_a_prompt_without_room_is_dropped_with_a_reason(model, references, tmp_path):
    long = PROMPTS.assign(prompt=["a man " * 20, "a woman"])
    table = run(model, references, tmp_path, 2, 2, prompts=long)
    assert table["dropped"].tolist() == ["more than 29 tokens", ""] and table["token_ids"][0] == []


def test_it_learns_nothing_from_the_prompts_that_are_asked(model, references, tmp_path):
    """Other attacked prompts and pictures of them, the same words."""
    first = run(model, references, tmp_path / "a")
    others = PROMPTS.assign(prompt=["a church", "a cat"])
    second = run(model, references, tmp_path / "b", prompts=others, references=torch.randn(references.shape))
    assert first["embedding"][0] == second["embedding"][1]
    assert first["embedding"][0] != run(model, references.flip(0), tmp_path / "c")["embedding"][0]


def test_without_pictures_of_the_concept_there_is_nothing_to_learn_from(model, references, tmp_path):
    options = AttackOptions(method="textual_inversion", steps=1)
    with pytest.raises(UserError, match="needs pictures of the concept"):
        make_attack(options).run(model, PROMPTS, references, options, tmp_path, "test")
