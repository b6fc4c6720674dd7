"""Adversarial text as somebody would type it, where the tokenizer reads it as other tokens than those that were found.

An attack's hits count by the tokens that it found, which only somebody who holds the model can hand to it. Whoever
types their text asks with the tokens that it is read as: this draws and judges just those prompts.
"""

from __future__ import annotations

import pandas as pd

from excise.cache import Cache
from excise.concepts import Concept
from excise.erasers import Eraser
from excise.images import DrawOptions, ImageSet, Pictures, draw_again
from excise.pipelines.erase.nodes import open_model, rows_of

from .nodes import _draw, judge_concept


def draw_typed(
    concept: dict,
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    adversarial: pd.DataFrame,
    draw: DrawOptions,
    cache: Cache,
) -> ImageSet:
    """Pictures of the text of adversarial prompts, of those alone whose tokens it does not spell."""
    return _draw(concept, model, eraser, typed_rows(prompts, adversarial), draw, cache, "adversarial text")


def judge_typed(concept: dict, images: ImageSet, cache: Cache) -> pd.DataFrame:
    """Raw detections of the concept's judge on these pictures."""
    return judge_concept(concept, images, cache)


def typed_rows(prompts: pd.DataFrame, adversarial: pd.DataFrame) -> pd.DataFrame:
    """Target prompts of the test split with the text to type in the place of their own.

    Prompts that were dropped have none, nor have learned words, pictures and changed weights; text that spells its
    tokens is drawn with these already. What is longer than the model reads is cut, as typing it would.
    """
    typable = adversarial["dropped"].eq("") & adversarial["weights"].eq("")
    for column in ("embedding", "latent"):
        typable &= adversarial[column].map(len).eq(0)
    texts = adversarial.loc[typable & ~adversarial["retokenises"].astype(bool)].set_index("prompt_id")["text"]
    rows = rows_of(prompts, ["target"], "test")
    rows = rows[rows["prompt_id"].isin(texts.index)]
    return rows.assign(prompt=rows["prompt_id"].map(texts)).reset_index(drop=True)


def typed_of(
    concept: dict,
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    adversarial: pd.DataFrame,
    plain: pd.DataFrame,
    both: pd.DataFrame,
    draw: DrawOptions,
    cache: Cache,
) -> pd.DataFrame | None:
    """Verdicts on an attack with its text typed in the place of its tokens; None of one that finds no words.

    Args:
        plain, both: verdicts of prompts as they stand, and of either these or the tokens (what ``either`` returns).
    """
    from excise.judges import make_judge
    from excise.judges.judging import hits
    from excise.metrics.rates import prompt_verdicts
    from excise.metrics.typed import finds_words, typed_verdicts

    if not finds_words(adversarial):
        return None
    seen = judge_typed(concept, draw_typed(concept, model, eraser, prompts, adversarial, draw, cache), cache)
    spec = Concept(**concept).judge
    shown = hits(seen, make_judge(spec).resolve(spec.labels), spec.threshold)
    of_text = prompt_verdicts(shown, typed_rows(prompts, adversarial)["prompt_id"])
    return typed_verdicts(plain, both, of_text)


def redraw_typed(
    concept: dict,
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    draw: DrawOptions,
    wanted: list[str],
    adversarial: pd.DataFrame,
) -> list[Pictures]:
    """What ``draw_typed`` drew: the batches with the wanted images."""
    with open_model(model).wearing(eraser) as worn:
        return draw_again(worn, typed_rows(prompts, adversarial), draw, wanted)
