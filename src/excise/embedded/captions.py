"""Captions for emoji64: what a drawing shows, said in many ways."""

from __future__ import annotations

import random

from .world import Icon, World

ARTICLELESS = ("cherries", "grapes", "scissors", "glasses", "coffee")


def with_article(thing: str) -> str:
    """``church`` -> ``a church``; plurals and stuffs keep none."""
    if thing.split()[0] in ARTICLELESS or thing.endswith(("ies", "shears", "clippers")):
        return thing
    return ("an " if thing[0] in "aeiou" else "a ") + thing


def compose_caption(
    world: World,
    draw: random.Random,
    thing_word: str,
    style_word: str | None = None,
    tone_word: str | None = None,
    ground_word: str | None = None,
) -> str:
    """One wording; what is None is not mentioned."""
    template = draw.choice(world.templates.things)
    thing = with_article(thing_word) if "{a}" in template else thing_word
    head = template.replace("{a} ", "").format(thing=thing)
    if tone_word is not None:
        head += " " + draw.choice(world.templates.tones).format(tone=tone_word)
    tails = []
    if style_word is not None:
        tails.append(draw.choice(world.templates.styles).format(style=style_word))
    if ground_word is not None:
        tails.append(draw.choice(world.templates.grounds).format(ground=ground_word))
    draw.shuffle(tails)
    joint = draw.choice([" ", ", "])
    return joint.join([head, *tails])


def caption_of(
    world: World, draw: random.Random, icon: Icon, ground: str, *, name_style: bool, name_tone: bool, name_ground: bool
) -> str:
    """A caption for a drawing, with randomly chosen synonyms."""
    return compose_caption(
        world,
        draw,
        draw.choice(world.words(icon.thing)),
        draw.choice(world.styles[icon.style].words) if name_style else None,
        draw.choice(world.tones[icon.tone]) if name_tone and icon.tone else None,
        draw.choice(world.backgrounds[ground].words) if name_ground else None,
    )
