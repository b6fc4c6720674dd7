"""A model with gaps: what it is shown, and that only its U-Net is another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from excise.cache import Cache
from excise.embedded.canvas import Canvas
from excise.embedded.options import DenoiserOptions
from excise.errors import UserError
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.pipelines.pretrain_never_saw.nodes import NeverSaw, draw_gaps, export_unet, train_without
from tiny import the_world

GAPS = ["person", "fluent", "church"]


@pytest.fixture
def never_saw(tiny_folder, tmp_path) -> NeverSaw:
    return NeverSaw(exclude=GAPS, base=str(tiny_folder), steps=2, export_to=str(tmp_path / "unet"))


def random_renders(world) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (len(world.icons), 16, 16, 4), dtype=np.uint8)


def test_no_picture_shows_and_no_caption_names_what_is_left_out(never_saw):
    whole = the_world()
    left = never_saw.world(whole)
    assert {i.thing for i in left.icons} == set(whole.objects) - {"church"}
    assert {i.style for i in left.icons} == {"noto", "flat"}
    words = [*whole.styles["fluent"].words, *whole.words("church"), *(w for p in whole.persons for w in whole.words(p))]
    canvas = Canvas(left, random_renders(left))
    captions = [f" {c} " for seed in range(8) for c in canvas.draw_batch(seed, 64).captions]
    named = {w for w in words for c in captions if f" {w} " in c}
    others = {w for o in left.shown_objects for w in left.words(o)} | {w for w in left.styles["flat"].words}
    assert named <= others  # a word that a thing shares with another is that other's
    with pytest.raises(ValueError, match="chruch"):
        never_saw.model_copy(update={"exclude": ["chruch"]}).world(whole)


def test_a_model_with_another_unet_shares_all_else(never_saw, tiny_folder, tmp_path):
    world = the_world()
    renders = tmp_path / "renders.npy"
    np.save(renders, random_renders(never_saw.world(world)))
    loop = {"steps": 99, "batch": 2, "lr": 1e-3, "bf16": False}
    options = DenoiserOptions(channels=(16, 32, 32), shards=1, shard=4, loop=loop)
    made, losses = train_without(world, never_saw, str(renders), options, Cache(tmp_path / "cache"))
    assert losses[-1]["step"] == never_saw.steps
    assert export_unet(made, never_saw)["unet_mb"] > 0
    base = DiffusionModel.load(ModelSpec(name="tiny", path=str(tiny_folder)))
    other = DiffusionModel.load(ModelSpec(name="tiny", path=str(tiny_folder), unet=never_saw.export_to))
    assert other.sha256 != base.sha256
    assert torch.equal(other.encode(["a man"]), base.encode(["a man"]))
    trained = DiffusionModel.load(ModelSpec(name="tiny", path=str(tiny_folder), unet=made)).denoiser.state_dict()
    for name, value in other.denoiser.state_dict().items():
        torch.testing.assert_close(value, trained[name], rtol=1e-3, atol=1e-5)
    assert draw_gaps(world, never_saw, {}).size[0] > 0
    with pytest.raises(UserError, match=r"There is no U-Net in"):
        DiffusionModel.load(ModelSpec(name="tiny", path=str(tiny_folder), unet=str(tmp_path / "nowhere")))


def test_the_shipped_one_is_no_bigger_than_promised_and_is_none_of_the_base():
    shipped = ModelSpec(name="emoji64", path="embedded:emoji64", unet="embedded:emoji64_never_saw")
    size = sum(f.stat().st_size for f in shipped.unet_folder.rglob("*") if f.is_file())
    assert size < 14e6
    assert DiffusionModel.load(shipped).sha256 != DiffusionModel.load(shipped.model_copy(update={"unet": None})).sha256
