"""The attack on a real small model: its loss, its budget, and that neither company nor interruption changes it."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from excise.attacks import AttackOptions, ThreatModel, make_attack
from excise.attacks.unlearndiffatk import attack as module
from excise.attacks.unlearndiffatk.tokens import TokenSimplex, words_for_minors
from excise.errors import UserError
from excise.images.tokens import frame_tokens
from excise.models.diffusion import DiffusionModel

PROMPTS = pd.DataFrame(
    {
        "prompt_id": ["one", "two", "three"],
        "prompt": ["an old man", "a woman in flat style on a blue background", "a guy"],
        "seed": [10, 20, 30],
    }
)
METHOD = {"tokens": 2, "lr": 0.1, "check_every": 10, "checks": 2}


@pytest.fixture(scope="module")
def model(tiny_spec):
    return DiffusionModel.load(tiny_spec.model_copy(update={"dtype": "float64"}))


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


def run(model, prompts, references, folder, steps=20, batch=32, **method) -> pd.DataFrame:
    options = AttackOptions(steps=steps, batch=batch, options=METHOD | method)
    return make_attack(options).run(model, prompts, references, options, folder, "test")


def test_a_batch_gives_the_tokens_of_one_by_one(model, references, tmp_path):
    together = run(model, PROMPTS, references, tmp_path / "together")
    in_parts = run(model, PROMPTS, references, tmp_path / "parts", batch=2)
    alone = [run(model, PROMPTS[i : i + 1], references[i : i + 1], tmp_path / str(i)) for i in range(3)]
    for other in (in_parts, pd.concat(alone, ignore_index=True)):
        pd.testing.assert_frame_equal(together, other, rtol=1e-7)
    assert len({tuple(ids) for ids in together["adversarial_ids"]}) > 1  # each prompt has tokens of its own


def test_the_loss_is_that_of_the_tokens_on_the_fixed_checks(model, references, tmp_path):
    """Second computation: no embeddings are replaced, the tokens are simply read."""
    table = run(model, PROMPTS, references, tmp_path)
    for i, row in enumerate(table.itertuples()):
        generator = torch.Generator().manual_seed(int(PROMPTS["seed"][i]) + 5)
        torch.rand(20, 2, generator=generator, dtype=torch.float64), torch.randn(20, 4, 16, 16, generator=generator)
        torch.rand(2, 2, generator=generator, dtype=torch.float64)
        noise = torch.randn(2, 4, 16, 16, generator=generator).double()
        losses = []
        for k, time in enumerate((100, 900)):
            alpha = model.alphas_cumprod[time].double()
            with torch.no_grad():
                states = model.encode_tokens(frame_tokens(model, [row.token_ids]))
                noisy = alpha.sqrt() * references[i : i + 1] + (1 - alpha).sqrt() * noise[k : k + 1]
                losses.append(float((model.predict_noise(noisy, torch.tensor(time), states) - noise[k]).pow(2).mean()))
        assert row.loss == pytest.approx(sum(losses) / 2, rel=1e-6)


def test_tokens_stand_before_the_prompt_and_are_never_special(model, references, tmp_path):
    table = run(model, PROMPTS, references, tmp_path, steps=5, tokens=3)
    tok = model.tokenizer
    for row in table.itertuples():
        words = tok(row.prompt, add_special_tokens=False).input_ids
        assert row.token_ids == row.adversarial_ids + words and len(row.adversarial_ids) in (0, 3)
        assert not {tok.bos_token_id, tok.eos_token_id, tok.pad_token_id} & set(row.adversarial_ids)
        assert row.retokenises == (tok(row.text, add_special_tokens=False).input_ids == row.token_ids)
    assert table["adversarial_ids"].map(len).max() == 3
    assert set(table["threat_model"]) == {ThreatModel.WHITE_BOX_TEXT} and set(table["attack"]) == {"unlearndiffatk"}


def test_words_for_minors_are_no_vertices(model):
    tok = model.tokenizer
    banned = set(words_for_minors(tok, len(tok)))
    assert not banned & set(tok("an old man", add_special_tokens=False).input_ids)
    names = [i for i in range(len(tok)) if tok.decode([i]).strip() in {"girl", "boy", "child", "kid"}]
    assert set(names) <= banned


def test_what_an_attack_spells_is_filtered_too():
    assert module._why_dropped("zebra a girl on red", True, 10) == "names a minor"
    assert module._why_dropped("zebra a woman on red", True, 10) == ""


def test_special_tokens_are_no_vertices(model, references):
    simplex = TokenSimplex(model, [[5, 6]], 2, references[:1])
    tok = model.tokenizer
    assert len(simplex.vocabulary) == simplex.points.shape[-1]
    assert not {tok.bos_token_id, tok.eos_token_id, tok.pad_token_id} & set(simplex.vocabulary.tolist())
    assert torch.equal(simplex.embeddings, model.pipe.text_encoder.get_input_embeddings().weight[simplex.vocabulary])


@pytest.mark.parametrize("steps", [1, 10, 25])
def test_the_best_checked_tokens_are_kept(model, references, tmp_path, monkeypatch, steps):
    checked = []
    remember = TokenSimplex.remember

    def spy(self, ids, losses):
        checked.append((self.vocabulary[ids].tolist(), losses.tolist()))
        remember(self, ids, losses)

    monkeypatch.setattr(TokenSimplex, "remember", spy)
    table = run(model, PROMPTS, references, tmp_path, steps=steps)
    assert len(checked) == -(-steps // 10)
    for i, row in enumerate(table.itertuples()):
        losses = [c[1][i] for c in checked]
        best = losses.index(min(losses))
        if row.adversarial_ids:
            assert row.loss == losses[best] <= losses[0]
            assert row.adversarial_ids == checked[best][0][i]
        else:  # nothing that was checked beats the plain prompt
            assert row.loss <= losses[best]


@pytest.mark.parametrize("steps", [7, 20])
def test_the_budget_counts_what_the_model_was_asked(model, references, tmp_path, steps):
    asked = []
    hook = model.denoiser.register_forward_pre_hook(lambda m, args: asked.append(len(args[0])))
    table = run(model, PROMPTS, references, tmp_path, steps=steps, checks=3)
    hook.remove()
    assert sum(asked) == table["model_evaluations"].sum()
    assert table["gradient_steps"].tolist() == [steps] * 3
    assert table["model_evaluations"].nunique() == 1


def test_a_prompt_that_is_too_long_is_dropped_and_others_are_not(model, references, tmp_path):
    longer = PROMPTS.copy()
    longer.loc[1, "prompt"] = "a woman " * 40
    table = run(model, longer, references, tmp_path / "a", steps=10)
    assert table["dropped"].tolist() == ["", "more than 28 tokens", ""]
    assert table.loc[1, "token_ids"] == [] and table.loc[1, "gradient_steps"] == 0 and pd.isna(table.loc[1, "loss"])
    others = run(model, PROMPTS.drop(1), references[[0, 2]], tmp_path / "b", steps=10)
    pd.testing.assert_frame_equal(table.drop(1).reset_index(drop=True), others, rtol=1e-7)


def test_the_longest_prompt_that_fits_is_attacked(model, references, tmp_path):
    [[word]] = model.tokenizer(["woman"], add_special_tokens=False).input_ids
    assert len(model.tokenizer("woman " * 28, add_special_tokens=False).input_ids) == 28
    table = run(model, PROMPTS[:1].assign(prompt="woman " * 28), references[:1], tmp_path, steps=2)
    assert table["dropped"].tolist() == [""] and table["token_ids"][0][-28:] == [word] * 28


def test_resumed_equals_uninterrupted(model, references, tmp_path, monkeypatch):
    whole = run(model, PROMPTS, references, tmp_path / "whole", steps=60, batch=2)
    train = module.train
    first = []

    def stopping(variable, loss_of, loop, folder, title, after_step):
        """Checkpoints as often as the loop may; the second batch is cut off, the first one's steps are counted."""

        def stop(step):
            if folder.name.endswith("2") and step == 55:
                raise KeyboardInterrupt
            first.append(folder.name)
            return loss_of(step)

        return train(variable, stop, loop.model_copy(update={"checkpoint_seconds": 0.0}), folder, title, after_step)

    monkeypatch.setattr(module, "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(model, PROMPTS, references, tmp_path / "cut", steps=60, batch=2)
    assert first.count("prompts-00000") == 60
    monkeypatch.setattr(module, "train", train)
    steps = []
    hook = model.denoiser.register_forward_pre_hook(lambda m, args: steps.append(len(args[0])))
    resumed = run(model, PROMPTS, references, tmp_path / "cut", steps=60, batch=2)
    hook.remove()
    pd.testing.assert_frame_equal(whole, resumed)
    # the last ten steps and one round of checks of the second batch, and both batches' checks of the plain prompts
    assert len(steps) == 10 + 2 + 2 * 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "unlearndifatk"}, "no attack 'unlearndifatk': did you mean 'unlearndiffatk'?"),
        ({"options": {"token": 3}}, "token"),
        ({"options": {"tokens": 0}}, "tokens"),
    ],
)
def test_an_unknown_attack_or_option_is_one_sentence(settings, said):
    with pytest.raises(UserError) as caught:
        make_attack(AttackOptions(**settings))
    assert said in str(caught.value) and "\n" not in str(caught.value)
