"""The byte-pair tokenizer of emoji64, in CLIP's format, learned from the world's captions."""

from __future__ import annotations

import random

from .captions import caption_of
from .world import World

BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def sample_captions(world: World, count: int, seed: int = 0) -> list[str]:
    """Captions for drawings of the whole world, excluded things included: a tokenizer knows more than its model."""
    whole = world.model_copy(update={"exclude": []})
    draw = random.Random(seed)
    grounds = list(whole.backgrounds)
    return [
        caption_of(
            whole,
            draw,
            draw.choice(whole.icons),
            draw.choice(grounds),
            name_style=True,
            name_tone=True,
            name_ground=True,
        )
        for _ in range(count)
    ]


def train_tokenizer(world: World, max_length: int = 32, captions: int = 60_000):
    """A ``CLIPTokenizer`` that holds every word of the world as one token.

    Vocabulary: 256 bytes, the same at a word's end, merges, and the two special tokens, as in CLIP.
    """
    from tokenizers import Tokenizer, models, trainers
    from transformers import CLIPTokenizer

    shell = CLIPTokenizer()  # for CLIP's own normaliser and splitting rule
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = shell.backend_tokenizer.normalizer
    learner.pre_tokenizer = shell.backend_tokenizer.pre_tokenizer
    alphabet = [chr(b) for b in _byte_characters()]
    trainer = trainers.BpeTrainer(
        vocab_size=8000, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(sample_captions(world, captions), trainer)
    learned = _merges(learner)
    tokens = [*alphabet, *(a + "</w>" for a in alphabet)]
    tokens += [merged for merged in ("".join(pair) for pair in learned) if merged not in set(tokens)]
    vocab = {token: index for index, token in enumerate([*dict.fromkeys(tokens), BOS, EOS])}
    return CLIPTokenizer(vocab=vocab, merges=[tuple(m) for m in learned], model_max_length=max_length)


def _merges(learner) -> list[tuple[str, str]]:
    import json

    merges = json.loads(learner.to_str())["model"]["merges"]
    return [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in merges]


def _byte_characters() -> list[int]:
    """Code points by which byte-level BPE writes the 256 bytes (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return printable + [256 + i for i in range(len(rest))]
