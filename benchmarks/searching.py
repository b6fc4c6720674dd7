"""What do attacks cost that judge images, over drawing and judging these, and attacks on weights, over their steps?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import torch
from timing import in_turns, record_over_bare
from torch.func import functional_call

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
TRAINED, BATCH = 20, 16  # steps as in attacks.py


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    for count in (8, 32):
        search(model, count)
    finetune(model)


def search(model: DiffusionModel, count: int) -> None:
    """Random tokens, of which every try is drawn and judged; nothing is ever a hit, so that none stops early."""
    prompts = pd.DataFrame(
        {"prompt_id": [str(i) for i in range(count)], "prompt": WORDS * (count // 4), "seed": range(count)}
    )
    references = model.initial_noise(list(range(count)))
    judge = make_judge(JudgeSpec(name="nudenet", labels=["faces"], threshold=0.25, options={"pixels": 32}))
    options = AttackOptions(method="random_tokens", steps=STEPS, batch=count, images=STEPS)

    draw = DrawOptions(steps=DRAWN, guidance=GUIDANCE, batch=count)

    def examine(candidates: pd.DataFrame) -> list[bool | None]:
        judge_images(judge, draw_once(model, candidates, draw))
        return [False] * len(candidates)

    def attack() -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as folder:
            method = make_attack(options)
            return method.run(model, prompts, references, options, Path(folder), "", Knowledge(), examine)

    found = attack()
    looks = 1 + int(found["images"].max())  # the first is at the prompt as it stands, which ``images`` does not count

    states = model.encode(prompts["prompt"].tolist())
    both, noise = torch.cat([states, states]), torch.cat([references, references])
    pictures = draw_once(model, found.assign(seed=prompts["seed"]), draw).pictures

    @torch.no_grad()
    def bare() -> None:
        for _ in range(looks):
            for _ in range(DRAWN):
                model.predict(noise, torch.tensor(500), both)
            model.decode(references)
            judge.detect(pictures)

    evaluations = 2 * DRAWN * looks * count  # twice with guidance
    stage = f"attack random_tokens, {count} prompts, {looks} images each judged"
    record_over_bare(stage, in_turns(3, bare=bare, attack=attack), "attack", attack, count, evaluations)


def finetune(model: DiffusionModel) -> None:
    """All weights trained on, on pictures of other things."""
    clean = model.initial_noise(list(range(BATCH)))
    texts = ["a cat on a red background"] * BATCH
    prompts = pd.DataFrame({"prompt_id": ["0"], "prompt": ["a man"], "seed": [0]})
    options = AttackOptions(method="finetuning", steps=TRAINED, batch=BATCH)
    knowledge = Knowledge(harmless=clean, harmless_prompts=texts)
    states, times = model.encode(texts), torch.full((BATCH,), 500)

    def attack() -> None:
        with tempfile.TemporaryDirectory() as folder:
            make_attack(options).run(model, prompts, clean[:1], options, Path(folder), "", knowledge)

    def bare() -> None:
        for _ in range(TRAINED):
            values = {n: p.detach().requires_grad_(True) for n, p in model.denoiser.named_parameters()}
            functional_call(model.denoiser, values, (clean, times, states)).sample.pow(2).mean().backward()

    seconds = in_turns(3, bare=bare, attack=attack)
    record_over_bare("attack finetuning, one for all prompts", seconds, "attack", attack, BATCH, TRAINED * BATCH)


if __name__ == "__main__":
    main()
