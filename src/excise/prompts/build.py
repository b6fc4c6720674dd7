"""Prompt sets from a concept: targets with neutral twins, and what must survive, in three splits."""

from __future__ import annotations

import random
import re
import zlib

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.concepts import Concept
from excise.errors import UserError

from .load import load_prompt_table
from .safety import drop_minor_rows

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


def build_prompts(concept: Concept, options: PromptOptions) -> tuple[pd.DataFrame, dict[str, int]]:
    """The prompt table of a concept.

    Splits differ in wording (the concept's held-out words) and in seeds. A prompt and its twin share every slot.

    ``guidance`` is that of a user's table; NaN stands for the drawing options' own.

    Returns:
        Columns prompt_id, set, split, prompt, twin_id, seed, guidance, label; and counts of what was dropped.

    Raises:
        UserError: the concept's words and slots do not make as many different prompts as are asked for.
    """
    rows: list[dict] = []
    dropped = 0
    for split in SPLITS:
        count = getattr(options, split)
        draw = random.Random(f"{options.seed}/{concept.name}/{split}")
        words = getattr(concept.target, split)
        if split in concept.files:
            made, lost = _from_file(concept, split, count)
            dropped += lost
        else:
            made = _fill(concept, draw, words, count, what=f"{split} prompts")
        for index, (prompt, twin, seed, guidance) in enumerate(made):
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
    taken: set[str] = set()  # no retain prompt twice, and none of the tested ones in training
    # tune comes last: the others stay what they are, whether it is asked for or not
    for split, count in (("fit", options.retain_fit), ("test", options.retain_test), ("tune", options.retain_tune)):
        for near in (True, False):
            rows += _retain_rows(concept, options, split, near, count // 2, taken)
    table, lost = drop_minor_rows(pd.DataFrame(rows, columns=COLUMNS))
    whole = table["twin_id"].isna() | table["twin_id"].isin(set(table["prompt_id"]))
    return table[whole].reset_index(drop=True), {"minors": dropped + lost}


def _fill(concept: Concept, draw: random.Random, words: list[str], count: int, what: str):
    """Different prompts with their twins, words in turn."""
    made: dict[str, str] = {}
    for attempt in range(200 * count):
        if len(made) == count:
            break
        template = draw.choice(concept.templates)
        slots = {name: draw.choice(options) for name, options in concept.slots.items()}
        word = words[attempt % len(words)]
        prompt, twin = (tidy(template.format(concept=text, **slots)) for text in (word, concept.anchor))
        made.setdefault(prompt, twin)
    if len(made) < count:
        raise UserError(
            f"Concept '{concept.name}' makes only {len(made)} different {what}, {count} are asked for: "
            "give it more words, templates or slots, or ask for fewer."
        )
    return [(prompt, twin, None, None) for prompt, twin in made.items()]


def _from_file(concept: Concept, split: str, count: int):
    """Prompts of the user's; the twin is the prompt with the concept's words replaced by the anchor."""
    table, lost = load_prompt_table(concept.files[split])
    words = sorted({bare(w) for w in concept.words}, key=len, reverse=True)
    pattern = re.compile("|".join(rf"\b{re.escape(w)}\b" for w in words), re.I)
    made = [
        (
            row.prompt,
            tidy(pattern.sub(bare(concept.anchor), row.prompt)),
            None if pd.isna(row.seed) else int(row.seed),
            None if pd.isna(row.guidance) else float(row.guidance),
        )
        for row in table.itertuples()
    ]
    made = [row for row in made if row[0] != row[1]][:count]  # without the concept's words there is no twin
    if len(made) < 2:
        raise UserError(
            f"{concept.files[split]} has fewer than two prompts with the words of concept '{concept.name}': "
            "add prompts, or add the words that they use to the concept's targets."
        )
    return made, lost


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
