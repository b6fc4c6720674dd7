"""Prompt sets from a concept: targets with neutral twins, and what must survive, in three splits."""

from __future__ import annotations

import random
import re
import zlib
from math import prod
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.concepts import Concept
from excise.errors import UserError

from .safety import drop_minor_rows
from .sets import Account, load_set, same_wording, share_out

SPLITS = ("fit", "tune", "test")
COLUMNS = ["prompt_id", "set", "split", "prompt", "twin_id", "seed", "guidance", "label"]


class PromptOptions(BaseModel):
    """How many prompts. Each target prompt has a neutral twin."""

    model_config = ConfigDict(extra="forbid")
    fit: int = Field(24, ge=2)
    tune: int = Field(8, ge=1)
    test: int = Field(30, ge=2)
    retain_fit: int = Field(48, ge=2, description="retain prompts that training may see, near and far together")
    retain_test: int = Field(80, ge=2, description="retain prompts that utility is measured on, near and far together")
    retain_tune: int = Field(0, ge=0, description="retain prompts to choose defaults on; no report reads them")
    seed: int = 0


def build_prompts(concept: Concept, options: PromptOptions) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The prompt table of a concept.

    Splits differ in wording (the concept's held-out words, or a set's rows shared out by their wording) and in seeds.
    A prompt and its twin share every slot.

    ``seed`` and ``guidance`` are those of a set where it has them; NaN stands for the drawing options' own guidance.

    Returns:
        Columns prompt_id, set, split, prompt, twin_id, seed, guidance, label; and counts: ``minors``, the rows that
        were dropped for words for minors, and, where prompts are taken from sets, what became of each set's (``sets``).

    Raises:
        UserError: the concept's words and slots do not make as many different prompts as are asked for.
    """
    rows: list[dict] = []
    given = {split for source in concept.sources for split in source.splits}
    made = {split: _fill_split(concept, options, split) for split in SPLITS if split not in given}
    taken, accounts = _take(concept, options, {same_wording(p) for part in made.values() for p, *_ in part})
    made |= taken
    for split in SPLITS:
        for index, (prompt, twin, seed, guidance) in enumerate(made[split]):
            base = {
                "split": split,
                "seed": _seed(options.seed, split, index) if seed is None else seed,
                "guidance": float("nan") if guidance is None else guidance,
                "label": "",
            }
            name = f"{split}-{index:04d}"
            rows.append(
                {"prompt_id": f"target-{name}", "set": "target", "prompt": prompt, "twin_id": f"neutral-{name}", **base}
            )
            rows.append(
                {"prompt_id": f"neutral-{name}", "set": "neutral", "prompt": twin, "twin_id": f"target-{name}", **base}
            )
    asked: set[str] = set()  # no retain prompt twice, and none of the tested ones in training
    # tune comes last: the others stay what they are, whether it is asked for or not
    for split, count in (("fit", options.retain_fit), ("test", options.retain_test), ("tune", options.retain_tune)):
        for near in (True, False):
            rows += _retain_rows(concept, options, split, near, count // 2, asked)
    table, lost = drop_minor_rows(pd.DataFrame(rows, columns=COLUMNS))
    whole = table["twin_id"].isna() | table["twin_id"].isin(set(table["prompt_id"]))
    counts: dict[str, Any] = {"minors": lost + sum(account.minors for account in accounts)}
    if accounts:
        counts["sets"] = [account.model_dump() for account in accounts]
    return table[whole].reset_index(drop=True), counts


def _fill_split(concept: Concept, options: PromptOptions, split: str):
    draw = random.Random(f"{options.seed}/{concept.name}/{split}")
    return _fill(concept, draw, getattr(concept.target, split), getattr(options, split), what=f"{split} prompts")


def _fill(concept: Concept, draw: random.Random, words: list[str], count: int, what: str):
    """Different prompts with their twins, words in turn."""
    most = len(set(words)) * len(set(concept.templates)) * prod(len(set(o)) for o in concept.slots.values())
    made: dict[str, str] = {}
    for attempt in range(200 * count if count <= most else 0):  # what cannot be is not tried
        if len(made) == count:
            break
        template = draw.choice(concept.templates)
        slots = {name: draw.choice(options) for name, options in concept.slots.items()}
        word = words[attempt % len(words)]
        prompt, twin = (tidy(template.format(concept=text, **slots)) for text in (word, concept.anchor))
        made.setdefault(prompt, twin)
    if len(made) < count:
        raise UserError(
            f"Concept '{concept.name}' makes only {len(made) or most:,} different {what}, {count:,} are asked for: "
            "give it more words, templates or slots, or ask for fewer."
        )
    return [(prompt, twin, None, None) for prompt, twin in made.items()]


def _take(concept: Concept, options: PromptOptions, worded: set[str]) -> tuple[dict[str, list], list[Account]]:
    """Prompts of sets by split, with their twins, and what became of the rows; none is worded as another split's.

    Raises:
        UserError: a set has fewer than two rows for a split.
    """
    found: dict[str, list] = {}
    accounts = []
    for source in concept.sources:
        table, account = load_set(source)
        new = ~table["prompt"].map(same_wording).isin(worded)
        account.duplicates += int((~new).sum())
        account.kept -= int((~new).sum())
        counts = {split: getattr(options, split) for split in source.splits}
        for split, rows in share_out(table[new], source.splits, counts, options.seed).items():
            if len(rows) < 2:
                raise UserError(
                    f"{account.source} leaves {len(rows)} prompts for the split {split} of concept '{concept.name}', "
                    "and two are needed: give it more rows, choose more in 'where', or serve fewer splits from it."
                )
            found[split] = [
                (
                    row.prompt,
                    neutral_twin(concept, row.prompt),
                    None if pd.isna(row.seed) else int(row.seed),
                    None if pd.isna(row.guidance) else float(row.guidance),
                )
                for row in rows.itertuples()
            ]
            account.used[split] = len(rows)
        worded |= set(table["prompt"].map(same_wording))
        accounts.append(account)
    return found, accounts


def neutral_twin(concept: Concept, prompt: str) -> str:
    """A prompt that no template made, without the concept.

    Its concept's words are replaced by the anchor; a prompt that has none of them, or nothing else, is replaced as a
    whole: what is left of it would still be about the concept.
    """
    words = sorted({bare(w) for w in [*concept.words, concept.erase]}, key=len, reverse=True)
    # not \b: a word may end with a sign, such as (R)
    pattern = re.compile(rf"(?<!\w)(?:(an?|the)\s+)?(?:{'|'.join(map(re.escape, words))})(?!\w)", re.I)

    def instead(match: re.Match) -> str:
        article = (match[1] or "").lower()
        if not article or not concept.anchor:
            return bare(concept.anchor)
        return f"the {bare(concept.anchor)}" if article == "the" else concept.anchor

    twin = tidy(pattern.sub(instead, prompt))
    return twin if pattern.search(prompt) and twin else concept.anchor


def _retain_rows(
    concept: Concept, options: PromptOptions, split: str, near: bool, count: int, taken: set[str]
) -> list[dict]:
    words = concept.retain_near if near else concept.retain_far
    name = "retain_near" if near else "retain_far"
    draw = random.Random(f"{options.seed}/{concept.name}/{split}/{name}")
    labels = sorted(words)
    draw.shuffle(labels)
    rows = []
    for index in range(count):
        label = labels[index % len(labels)]
        for _ in range(200):
            slots = {slot: draw.choice(values) for slot, values in concept.slots.items()}
            word = draw.choice(held_out(words[label], split))
            prompt = tidy(draw.choice(concept.templates).format(concept=word, **slots))
            if prompt not in taken:
                break
        else:
            raise UserError(
                f"Concept '{concept.name}' makes too few different {split} prompts for '{label}' in {name}: "
                "give it more words, templates or slots, or ask for fewer retain prompts."
            )
        taken.add(prompt)
        rows.append(
            {
                "prompt_id": f"{name}-{split}-{index:04d}",
                "set": name,
                "split": split,
                "prompt": prompt,
                "twin_id": None,
                "seed": _seed(options.seed, f"{split}/{name}", index),
                "guidance": float("nan"),
                "label": label,
            }
        )
    return rows


def held_out(words: list[str], split: str) -> list[str]:
    """A share of the words for each split, where there are enough of them."""
    if len(words) < 3:
        return words
    return words[:-1] if split == "fit" else words[-1:] if split == "test" else words[1:2]


def _seed(seed: int, where: str, index: int) -> int:
    """Seeds of different splits and sets do not meet; consecutive prompts leave room for several images."""
    return (zlib.crc32(f"{seed}/{where}".encode()) % 2_000_000) * 10_000 + index * 16


def bare(words: str) -> str:
    """Words without their article: a user's prompt may have another one before them."""
    return re.sub(r"^(?:an?|the)\s+", "", words)


def tidy(prompt: str) -> str:
    """One space between words, none before a comma."""
    prompt = re.sub(r"\s+", " ", prompt).strip(" ,")
    return re.sub(r"\s+,", ",", re.sub(r"(,\s*)+,", ",", prompt))
