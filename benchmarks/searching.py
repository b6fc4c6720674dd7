"""What do attacks cost that judge images, over drawing and judging these, and attacks on weights, over their steps?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
from replay import bare_of
from timing import in_turns, record_over_bare

from excise.attacks import AttackOptions, make_attack
from excise.attacks.search import Knowledge
from excise.concepts.concept import JudgeSpec
from excise.images.drawing import DrawOptions, draw_once
from excise.judges import make_judge
from excise.judges.judging import judge_images
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel

STEPS, DRAWN, GUIDANCE = 2, 4, 2.0
WORDS = ["a man", "a woman on a blue background", "an old man in flat style", "a lady"]
JUDGING = ("random_tokens", "seed_search", "synonyms", "img2img")
TRAINED, BATCH = 20, 16  # steps as in attacks.py
FINETUNING = {"finetuning": {}, "finetuning of a low-rank addition": {"rank": 4}}


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    for name in JUDGING:
        for count in (8, 32):
            search(model, name, count)
    for title, own in FINETUNING.items():
        finetune(model, title, own)


def search(model: DiffusionModel, name: str, count: int) -> None:
    """Every try is drawn and judged; nothing is ever a hit, so that none stops early."""
    prompts = pd.DataFrame(
        {"prompt_id": [str(i) for i in range(count)], "prompt": WORDS * (count // 4), "seed": range(count)}
    )
    references = model.initial_noise(list(range(count)))
    judge = make_judge(JudgeSpec(name="nudenet", labels=["faces"], threshold=0.25, options={"pixels": 32}))
    options = AttackOptions(method=name, steps=STEPS, batch=count, images=STEPS)
    knowledge = Knowledge(target=["a man"], neutral=["a robot"])
    draw = DrawOptions(steps=DRAWN, guidance=GUIDANCE, batch=count)
    shown = []

    def examine(candidates: pd.DataFrame) -> list[bool | None]:
        images = draw_once(model, candidates, draw)
        judge_images(judge, images)
        shown.append(images.pictures)
        return [False] * len(candidates)

    def attack() -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as folder:
            return make_attack(options).run(model, prompts, references, options, Path(folder), "", knowledge, examine)

    networks = bare_of(attack, model.denoiser, model.pipe.vae.decoder)
    judged, looks = list(shown), 1 + STEPS  # the first is at the prompt as it stands
    if len(judged) != looks:
        raise RuntimeError(f"{name} had {len(judged)} batches judged, and {looks} were to be")

    def bare() -> None:
        networks()
        for pictures in judged:
            judge.detect(pictures)

    stage = f"attack {name}, {count} prompts, {looks} images each judged"
    seconds = in_turns(3, bare=bare, attack=attack)
    record_over_bare(stage, seconds, "attack", attack, count, networks.rows(model.denoiser))


def finetune(model: DiffusionModel, title: str, own: dict) -> None:
    """Trained on, on pictures of other things."""
    clean = model.initial_noise(list(range(BATCH)))
    prompts = pd.DataFrame({"prompt_id": ["0"], "prompt": ["a man"], "seed": [0]})
    options = AttackOptions(method="finetuning", steps=TRAINED, batch=BATCH, options=own)
    knowledge = Knowledge(harmless=clean, harmless_prompts=["a cat on a red background"] * BATCH)

    def attack() -> None:
        with tempfile.TemporaryDirectory() as folder:
            make_attack(options).run(model, prompts, clean[:1], options, Path(folder), "", knowledge)

    bare = bare_of(attack, model.denoiser)
    seconds = in_turns(3, bare=bare, attack=attack)
    record_over_bare(
        f"attack {title}, one for all prompts", seconds, "attack", attack, BATCH, bare.rows(model.denoiser)
    )


if __name__ == "__main__":
    main()
