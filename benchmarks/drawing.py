"""What do drawing and judging cost over bare sampling and bare detection? For 16 and for 64 pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import torch
from timing import in_turns, record_over_bare

from excise.concepts.concept import JudgeSpec
from excise.images import DrawOptions, draw_images
from excise.judges import make_judge
from excise.judges.judging import judge_images
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel

STEPS = 4
JUDGES = [
    JudgeSpec(name="nudenet", labels=["faces"], threshold=0.25, options={"pixels": 32}),
    JudgeSpec(name="object_probe", labels=["person"], threshold=0.5),
    JudgeSpec(name="style_probe", labels=["fluent"], threshold=0.5),
]


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    judges = [make_judge(spec) for spec in JUDGES]
    for count in (16, 64):
        rows = {"prompt_id": [str(i) for i in range(count)], "prompt": ["a man on a red background"] * count}
        prompts = pd.DataFrame({**rows, "set": "target", "split": "test", "seed": range(count)})
        options = DrawOptions(steps=STEPS, per_prompt=1, batch=64)
        states, latents = model.encode(rows["prompt"]), model.initial_noise(list(range(count)))
        both, shown = torch.cat([states, states]), torch.cat([latents, latents])

        def draw(prompts=prompts, options=options):
            with tempfile.TemporaryDirectory() as folder:
                return draw_images(model, prompts, options, Path(folder), "drawing")

        @torch.no_grad()
        def bare(both=both, shown=shown, latents=latents) -> None:
            for _ in range(STEPS):
                model.predict(shown, torch.tensor(500), both)
            model.decode(latents)

        seconds = in_turns(3, bare=bare, draw=draw)
        record_over_bare(f"drawing, {count} pictures", seconds, "draw", draw, count, 2 * count * STEPS)
        with tempfile.TemporaryDirectory() as folder:
            images = draw_images(model, prompts, options, Path(folder), "drawing")
            pictures = images.load(images.manifest["image_id"].tolist())

            for judge in judges:

                def judging(images=images, judge=judge) -> object:
                    return judge_images(judge, images)

                def bare_judging(pictures=pictures, judge=judge) -> object:
                    return judge.detect(pictures)

                seconds = in_turns(3, bare=bare_judging, judge=judging)
                stage = f"judging with {judge.name}, {count} pictures"
                record_over_bare(stage, seconds, "judge", judging, count, 0)


if __name__ == "__main__":
    main()
