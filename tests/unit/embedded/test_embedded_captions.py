"""The world's captions and its tokenizer."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from pydantic import ValidationError
from transformers import CLIPTokenizer

from excise.embedded.canvas import Canvas
from excise.embedded.captions import caption_of, with_article
from excise.embedded.tokenizer import train_tokenizer
from excise.embedded.world import World
from excise.models.spec import EMBEDDED
from tiny import the_world


@pytest.fixture(scope="module")
def world() -> World:
    return the_world()


@pytest.fixture(scope="module", params=["shipped", "trained"])
def tokenizer(request, world):
    """The one that ships, and one learned from fewer captions."""
    if request.param == "shipped":
        return CLIPTokenizer.from_pretrained(EMBEDDED / "emoji64" / "tokenizer")
    return train_tokenizer(world, captions=20_000)


def phrases(templates: list[str], **words: list[str]) -> list[str]:
    [(slot, options)] = words.items()
    return [t.format(**{slot: w}) for t in templates for w in options]


def mentions(caption: str, options: list[str]) -> bool:
    return any(re.search(rf"(?<![\w-]){re.escape(o)}(?![\w-])", caption) for o in options)


def words_of(world: World) -> set[str]:
    """Everything that a caption can say, cut at spaces and hyphens."""
    texts = [*world.templates.things, *world.templates.styles, *world.templates.tones, *world.templates.grounds]
    for group in (world.objects, world.persons, world.styles, world.backgrounds):
        texts += [w for item in group.values() for w in item.words]
    texts += [w for words in world.tones.values() for w in words]
    return {w for t in texts for w in re.sub(r"\{\w+\}", " ", t).replace("-", " ").split()} | {"a", "an"}


@pytest.mark.parametrize("style", [False, True])
@pytest.mark.parametrize("tone", [False, True])
@pytest.mark.parametrize("ground", [False, True])
def test_a_caption_says_what_its_flags_say(world, style, tone, ground):
    draw = random.Random(f"{style}{tone}{ground}")
    templates = world.templates
    for _ in range(200):
        icon, name = draw.choice(world.icons), draw.choice(list(world.backgrounds))
        caption = caption_of(world, draw, icon, name, name_style=style, name_tone=tone, name_ground=ground)
        assert mentions(caption, world.words(icon.thing))
        assert not set("{}") & set(caption) and "  " not in caption
        said = phrases(templates.styles, style=world.styles[icon.style].words)
        assert (
            mentions(caption, said)
            if style
            else not any(mentions(caption, phrases(templates.styles, style=s.words)) for s in world.styles.values())
        )
        said = phrases(templates.tones, tone=world.tones[icon.tone]) if icon.tone else []
        assert mentions(caption, said) if tone and icon.tone else "skin" not in caption.replace("unskinned", "")
        said = phrases(templates.grounds, ground=world.backgrounds[name].words)
        assert mentions(caption, said) if ground else "background" not in caption


@pytest.mark.parametrize(
    ("thing", "worded"),
    [
        ("church", "a church"),
        ("apple", "an apple"),
        ("scissors", "scissors"),
        ("cherries", "cherries"),
        ("hourglass", "a hourglass"),
    ],
)
def test_articles(thing, worded):
    assert with_article(thing) == worded


# tokenizer ----------------------------------------------------------------------------------------------------------
def test_every_word_is_one_token(world, tokenizer):
    several = {w for w in words_of(world) if len(tokenizer(w, add_special_tokens=False).input_ids) != 1}
    assert not several


def test_no_caption_is_longer_than_the_model_reads(world, tokenizer):
    """The longest wording of every part, all at once."""

    def longest(texts) -> int:
        return max(len(tokenizer(t, add_special_tokens=False).input_ids) for t in texts)

    things = [w for group in (world.objects, world.persons) for item in group.values() for w in item.words]
    templates = world.templates
    head = longest(
        t.replace("{a} ", "").format(thing=with_article(w) if "{a}" in t else w)
        for t in templates.things
        for w in things
    )
    tone = longest(phrases(templates.tones, tone=[w for words in world.tones.values() for w in words]))
    style = longest(phrases(templates.styles, style=[w for s in world.styles.values() for w in s.words]))
    ground = longest(phrases(templates.grounds, ground=[w for b in world.backgrounds.values() for w in b.words]))
    commas = 2
    assert head + tone + style + ground + commas <= tokenizer.model_max_length - 2


def test_it_is_a_clip_tokenizer_that_can_spell_anything(tokenizer):
    ids = tokenizer("Ein Straßenbahnhäuschen 7").input_ids
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.decode(ids[1:-1]).replace(" ", "") == "einstraßenbahnhäuschen7"
    assert tokenizer("A Church").input_ids == tokenizer("a church").input_ids


def test_things_left_out_are_known_words_all_the_same(world):
    without = train_tokenizer(world.model_copy(update={"exclude": ["church", "person"]}), captions=20_000)
    unknown = {w for w in words_of(world) if len(without(w, add_special_tokens=False).input_ids) != 1}
    assert not unknown


# world --------------------------------------------------------------------------------------------------------------
def describe(world: World, **changes) -> World:
    return World(**(world.model_dump() | changes))


def test_excluding_removes_drawings_and_nothing_else(world):
    part = describe(world, exclude=["church", "fluent", "person"])
    kept = [i for i in world.icons if i.thing != "church" and i.style != "fluent" and i.tone is None]
    assert part.icons == kept and len(kept) < len(world.icons)
    one = world.shown_persons[0]
    assert [i for i in world.icons if i.thing != one] == describe(world, exclude=[one]).icons
    assert part.words("church") == world.words("church")


def test_every_thing_is_drawn_in_every_style_and_tone(world):
    things = {i.thing for i in world.icons}
    assert things == {*world.objects, *world.persons}
    assert len(world.icons) == len(world.styles) * (len(world.objects) + len(world.persons) * len(world.tones))
    assert len(set(world.icons)) == len(world.icons)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exclude": ["chruch"]}, "chruch"),
        ({"house_style": "cubist"}, "house_style"),
        ({"exclude": ["noto"]}, "house_style is excluded"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_the_world_does_not_have_is_refused(world, changes, said):
    with pytest.raises(ValidationError, match=said):
        describe(world, **changes)


def test_styles_are_painted_equally_often_and_only_the_house_style_goes_unnamed(world):
    canvas = Canvas(world, np.zeros((len(world.icons), 4, 4, 4), np.uint8))
    batch = canvas.draw_batch(0, 3000)
    styles = [world.icons[i].style for i in batch.icons]
    for style in world.styles:
        assert styles.count(style) / 3000 == pytest.approx(1 / 3, abs=0.035)
    named = [
        mentions(caption, phrases(world.templates.styles, style=world.styles[style].words))
        for caption, style in zip(batch.captions, styles, strict=True)
    ]
    house = [n for n, s in zip(named, styles, strict=True) if s == world.house_style]
    assert sum(house) / len(house) == pytest.approx(0.6, abs=0.06)
    assert all(n for n, s in zip(named, styles, strict=True) if s != world.house_style)
