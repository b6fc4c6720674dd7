"""Image sets: the same picture for the same prompt and seed, drawn once, and never mistaken for another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from excise.images import Discreet, DrawOptions, ImageSet, draw_images, judged_while_drawn
from excise.images.drawing import draw_once, sampling_evaluations
from excise.images.tokens import frame_tokens
from excise.models.diffusion import DiffusionModel
from excise.reports import pixelate
from excise.shards import Shard

OPTIONS = DrawOptions(steps=2, guidance=2.0, per_prompt=3, per_retain_prompt=2, batch=4)


@pytest.fixture(scope="module")
def model(tiny_spec):
    return DiffusionModel.load(tiny_spec)


def make_prompts() -> pd.DataFrame:
    rows = [
        ("target-0", "target", "an old man", 100),
        ("neutral-0", "neutral", "a robot", 100),
        ("near-0", "retain_near", "a penguin", 300),
        ("far-0", "retain_far", "a church", 400),
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "set", "prompt", "seed"]).assign(split="test")


def content(images: ImageSet) -> dict[str, bytes]:
    return {file: (images.folder / file).read_bytes() for file in images.manifest["file"]}


def test_counts_seeds_and_sets_follow_the_options(model, tmp_path):
    images = draw_images(model, make_prompts(), OPTIONS, tmp_path, "test")
    manifest = images.manifest
    assert manifest["prompt_id"].value_counts().to_dict() == {"target-0": 3, "neutral-0": 3, "near-0": 2, "far-0": 2}
    assert manifest["image_id"].is_unique and images.complete
    assert manifest[manifest["prompt_id"] == "target-0"]["seed"].tolist() == [101, 102, 103]  # 100 is the reference's
    assert images.load().shape == (10, 64, 64, 3) and images.load().dtype == np.uint8
    sets = make_prompts().set_index("prompt_id")["set"]
    assert manifest["set"].tolist() == sets.loc[manifest["prompt_id"]].tolist()


def test_whether_a_bar_is_shown_is_left_to_the_environment(model, tmp_path, monkeypatch):
    """Several processes that draw side by side ask for none with TQDM_DISABLE, which what is given outright beats."""
    import tqdm

    given = []

    class Bar(tqdm.tqdm):
        def __init__(self, *args, **options):
            given.append(options)
            super().__init__(*args, **options)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    draw_images(model, make_prompts(), OPTIONS, tmp_path, "test")
    assert [options["desc"] for options in given] == ["test"] and "disable" not in given[0]


def test_a_picture_is_that_of_its_prompt_and_seed(model, tmp_path):
    """Second computation: one at a time. Rounding may differ by company, so a little is allowed."""
    images = draw_images(model, make_prompts(), OPTIONS, tmp_path, "test")
    prompts = make_prompts().set_index("prompt_id")["prompt"]
    for row in images.manifest.itertuples():
        alone = model.decode(model.sample(model.encode([prompts[row.prompt_id]]), [row.seed], 2, 2.0).final)[0]
        drawn = images.load([row.image_id])[0]
        assert np.abs(drawn.astype(int) - alone).max() <= 2
        others = images.load([i for i in images.manifest["image_id"] if i != row.image_id]).astype(int)
        assert (np.abs(others - alone).mean((1, 2, 3)) > 1).all()


def test_what_is_lost_comes_back_byte_for_byte(model, tmp_path):
    first = draw_images(model, make_prompts(), OPTIONS, tmp_path, "test")
    before = content(first)
    lost, kept = tmp_path / "target-0-1.png", tmp_path / "far-0-1.png"
    untouched = kept.stat().st_mtime_ns
    lost.unlink()
    assert not first.complete
    again = draw_images(model, make_prompts(), OPTIONS, tmp_path, "test")
    assert content(again) == before and again.complete
    assert kept.stat().st_mtime_ns == untouched  # its batch was whole
    pd.testing.assert_frame_equal(again.manifest, first.manifest)


def test_a_cut_off_run_goes_on_to_the_same_pictures(model, tmp_path, monkeypatch):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = draw_images(model, make_prompts(), OPTIONS, tmp_path / "whole", "test")
    decode, calls = DiffusionModel.decode, []

    def stopping(self, latents):
        calls.append(len(latents))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decode(self, latents)

    monkeypatch.setattr(DiffusionModel, "decode", stopping)
    with pytest.raises(KeyboardInterrupt):
        draw_images(model, make_prompts(), OPTIONS, tmp_path / "cut", "test")
    assert len(list((tmp_path / "cut").glob("*.png"))) == 4
    resumed = draw_images(model, make_prompts(), OPTIONS, tmp_path / "cut", "test")
    assert content(resumed) == content(whole)
    assert calls == [4, 4, 4, 2]  # the first batch was not drawn again


def test_shards_draw_what_one_process_draws(model, tmp_path):
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    whole = draw_images(model, make_prompts(), OPTIONS, tmp_path / "whole", "test")
    parts = [draw_images(model, make_prompts(), OPTIONS, tmp_path / "cut", "test", shard=Shard(k, 2)) for k in (2, 1)]
    assert all(len(part.manifest) and part.complete for part in parts)
    assert sorted(pd.concat([p.manifest for p in parts])["image_id"]) == sorted(whole.manifest["image_id"])
    put_together = draw_images(model, make_prompts(), OPTIONS, tmp_path / "cut", "test")
    pd.testing.assert_frame_equal(put_together.manifest, whole.manifest)


def test_tokens_are_drawn_instead_of_words(model, tmp_path):
    prompts = make_prompts()[:1]
    ids = model.tokenizer("rose church bee an old man", add_special_tokens=False).input_ids
    for name in ("words", "tokens", "spelled"):
        (tmp_path / name).mkdir()
    words = draw_images(model, prompts, OPTIONS, tmp_path / "words", "test").load()
    tokens = draw_images(model, prompts.assign(token_ids=[ids]), OPTIONS, tmp_path / "tokens", "test").load()
    spelled = prompts.assign(prompt="rose church bee an old man")
    spelled = draw_images(model, spelled, OPTIONS, tmp_path / "spelled", "test").load()
    np.testing.assert_array_equal(tokens, spelled)
    assert not np.array_equal(words, tokens)


def test_framed_tokens_are_what_the_tokenizer_makes(model):
    texts = ["an old man", "a church on a red background"]
    contents = [model.tokenizer(t, add_special_tokens=False).input_ids for t in texts]
    assert frame_tokens(model, contents).tolist() == model.tokenize(texts).tolist()
    with pytest.raises(ValueError, match="more than 30 tokens"):
        frame_tokens(model, [[5] * 31])


def test_a_changed_file_is_refused_and_a_lost_one_noticed(model, tmp_path):
    images = draw_images(model, make_prompts()[:1], OPTIONS, tmp_path, "test")
    order = ["target-0-2", "target-0-0"]
    np.testing.assert_array_equal(images.load(order), images.load()[[2, 0]])
    Image.new("RGB", (64, 64)).save(tmp_path / "target-0-1.png")
    images.load(order)
    with pytest.raises(ValueError, match=r"target-0-1\.png is not the picture"):
        images.load()
    (tmp_path / "target-0-0.png").unlink()
    with pytest.raises(FileNotFoundError):
        images.load(order)


def test_no_prompts_make_an_empty_set(model, tmp_path):
    images = draw_images(model, make_prompts()[:0], OPTIONS, tmp_path, "test")
    assert images.complete and len(images.load()) == 0
    assert judged_while_drawn(images) is None


# unsafe concepts ----------------------------------------------------------------------------------------------------
def brightness(pictures) -> pd.DataFrame:
    """A judge for tests: one row a picture, its mean as the score."""
    ids = pictures.manifest["image_id"].tolist()
    return pd.DataFrame({"image_id": ids, "score": pictures.load(ids).mean((1, 2, 3)) / 255, "failed": False})


def test_discreet_judges_the_picture_and_stores_only_a_coarse_one(model, tmp_path):
    for name in ("open", "discreet"):
        (tmp_path / name).mkdir()
    shown = draw_images(model, make_prompts(), OPTIONS, tmp_path / "open", "test")
    hidden = draw_images(model, make_prompts(), OPTIONS, tmp_path / "discreet", "test", Discreet(brightness, pixelate))
    real, stored = shown.load(), hidden.load()
    for original, coarse in zip(real, stored, strict=True):
        np.testing.assert_array_equal(coarse, pixelate(original))
        assert not np.array_equal(coarse, original)
    table = judged_while_drawn(hidden).set_index("image_id")["score"]
    assert set(table.index) == set(hidden.manifest["image_id"]) and table.index.is_unique
    np.testing.assert_allclose(table.loc[shown.manifest["image_id"]], real.mean((1, 2, 3)) / 255)  # judged as drawn
    files = {p.name for p in (tmp_path / "discreet").iterdir()}
    assert files == {*hidden.manifest["file"], *(f"judgements-{i:04d}.parquet" for i in range(3))}


@pytest.mark.parametrize("lost", ["judgements-0001.parquet", "near-0-0.png"])
def test_discreet_comes_back_whole_when_a_part_is_lost(model, tmp_path, lost):
    how = Discreet(brightness, pixelate)
    first = draw_images(model, make_prompts(), OPTIONS, tmp_path, "test", how)
    before, table = content(first), judged_while_drawn(first)
    (tmp_path / lost).unlink()
    again = draw_images(model, make_prompts(), OPTIONS, tmp_path, "test", how)
    assert content(again) == before
    pd.testing.assert_frame_equal(judged_while_drawn(again), table)


def test_discreet_asks_a_judge_again_that_failed(model, tmp_path):
    """As of an ordinary set: a failure may be of the moment, and the pictures are drawn again for it."""
    asked = []

    def ill_at_first(pictures) -> pd.DataFrame:
        asked.append(len(pictures.pictures))
        return brightness(pictures).assign(failed=len(asked) == 2)

    how = Discreet(ill_at_first, pixelate)
    first = draw_images(model, make_prompts(), OPTIONS, tmp_path, "test", how)
    before, calls = content(first), len(asked)
    assert judged_while_drawn(first)["failed"].sum() == asked[1]
    again = draw_images(model, make_prompts(), OPTIONS, tmp_path, "test", how)
    assert asked[calls:] == [asked[1]] and content(again) == before
    assert not judged_while_drawn(again)["failed"].any()


def test_what_pictures_cost_is_what_the_denoiser_was_asked(model):
    """One prompt after the other, so that none is drawn in the company of another's guidance."""
    prompts = pd.DataFrame({"prompt_id": ["a", "b", "c"], "prompt": ["a man"] * 3, "guidance": [np.nan, 1.0, 3.0]})
    own = model.tokenizer(prompts["prompt"].tolist(), add_special_tokens=False).input_ids
    rows = prompts.assign(seed=1, token_ids=own, embedding=[[]] * 3, latent=[[]] * 3, strength=1.0)
    asked = []
    hook = model.denoiser.register_forward_pre_hook(
        lambda m, args, kwargs: asked.append(len(kwargs["sample"])), with_kwargs=True
    )
    for guidance in (2.0, 1.0):
        options = DrawOptions(steps=3, guidance=guidance)
        expected = sampling_evaluations(prompts, options)
        for k, prompt_id in enumerate(prompts["prompt_id"]):
            asked.clear()
            draw_once(model, rows[k : k + 1], options)
            assert sum(asked) == expected[prompt_id]
    hook.remove()
