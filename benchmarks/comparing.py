"""What does it cost to compare pictures of what must survive with the base model's, over what looks at them?

CLIP score, Fréchet and kernel distance, likeness, and what other judges see, for 32 and for 128 pictures a model; LPIPS
is left out, whose network does not ship.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import yaml
from timing import in_turns, record_over_bare

from excise.concepts import load_concept
from excise.images import DrawOptions, draw_images
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.pipelines.report.fidelity import FidelityOptions, load_models, measure_fidelity

BASE = Path(__file__).parents[1] / "conf/base"
SEEDS = 4  # pictures of a prompt
STYLES = {"flat": ["in flat style"], "fluent": ["in glossy style"], "noto": ["in classic style"]}


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    concept = load_concept("church", yaml.safe_load((BASE / "concepts/church.yml").read_text()))
    options = FidelityOptions(
        clip="embedded:emoji64_clip", cross=[{"domain": "style", "name": "style_probe", "words": STYLES}]
    )
    for count in (32, 128):
        prompts = table_of(count // SEEDS)
        with tempfile.TemporaryDirectory() as folder:
            drawing = DrawOptions(steps=2, per_prompt=SEEDS, per_retain_prompt=SEEDS, batch=64)
            images = draw_images(model, prompts, drawing, Path(folder), "drawing")
            described = concept.model_dump()

            def comparing(images=images, prompts=prompts, described=described) -> dict:
                cells = {"none__plain__images": images, "esd__plain__images": images}
                return measure_fidelity(described, prompts, options, **cells)

            shown = images.manifest[images.manifest["set"] != "neutral"]
            pictures = images.load(shown["image_id"].tolist())
            again = images.load(images.manifest[images.manifest["set"] == "neutral"]["image_id"].tolist())
            said = prompts.set_index("prompt_id").loc[shown["prompt_id"], "prompt"].tolist()

            def bare(pictures=pictures, again=again, said=said) -> None:
                """The networks loaded, and each asked as often as it is: two models, the base model's other seeds."""
                models = load_models(options)
                judge = options.cross[0].ready()
                for _ in range(2):
                    models.see(pictures)
                    models.clip.features(pictures, said)
                    judge.detect(pictures)
                models.see(again)

            seconds = in_turns(3, bare=bare, comparing=comparing)
            stage = f"comparing pictures of two models, {count} of each"
            record_over_bare(stage, seconds, "comparing", comparing, count, 0)


def table_of(count: int) -> pd.DataFrame:
    """So many prompts of what must survive, and a few neutral ones."""
    rows = [
        (f"{name}{i}", f"a {thing} in flat style", name, "test", thing)
        for name, number in (("retain_near", count // 2), ("retain_far", count // 2), ("neutral", 4))
        for i, thing in zip(range(number), ("cat", "dog", "car", "castle") * count, strict=False)
    ]
    table = pd.DataFrame(rows, columns=["prompt_id", "prompt", "set", "split", "label"])
    return table.assign(seed=range(len(table)))


if __name__ == "__main__":
    main()
