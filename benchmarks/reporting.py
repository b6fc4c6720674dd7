"""What do the stages cost that ask no network: prompts, verdicts by another threshold, metrics, the report?

Four models, plain and attacked, three images a prompt; judgements are made up, so that nothing has to be drawn.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from timing import in_turns, peak_mb, record

from excise.concepts import load_concept
from excise.judges import make_judge
from excise.judges.judging import hits
from excise.metrics import Survival, prompt_verdicts, rate_of, summarise
from excise.prompts import PromptOptions, build_prompts
from excise.reports import Context, html_report, rates_figure

CONCEPT = Path(__file__).parents[1] / "conf/base/concepts/person.yml"
MODELS, ATTACKS, IMAGES = ("none", "ac", "ac_plus", "p_ac"), ("plain", "unlearndiffatk"), 3
RETAIN = ("retain_near", "retain_far")


def main() -> None:
    concept = load_concept("person", yaml.safe_load(CONCEPT.read_text()))
    spec = concept.judge
    judge = make_judge(spec)
    labels = judge.resolve(spec.labels)
    context = Context(erase=concept.erase, anchor=concept.anchor, images_per_prompt=IMAGES, command="kedro run")
    for count in (30, 120):
        options = PromptOptions(test=count, retain_test=2 * count)

        def making_prompts(options=options) -> object:
            return build_prompts(concept, options)

        asked = [str(i) for i in range(count)]
        cells = {(m, a): judged(asked, sorted(labels), i) for i, (m, a) in enumerate(_pairs(ATTACKS))}

        def judging_again(cells=cells, asked=asked) -> dict:
            return {k: prompt_verdicts(hits(t, labels, 0.5), asked) for k, t in cells.items()}

        verdicts = judging_again()
        kept = dict(zip(_pairs(RETAIN), verdicts.values(), strict=True))

        def making_metrics(verdicts=verdicts, kept=kept) -> dict:
            return summarise_all(verdicts, kept, spec)

        told = making_metrics()

        def writing_the_report(told=told) -> str:
            return html_report(told, {"rates": rates_figure(told)}, context)

        for stage in (making_prompts, judging_again, making_metrics, writing_the_report):
            time(stage, count)


def _pairs(of: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(model, what) for model in MODELS for what in of]


def judged(prompts: list[str], labels: list[str], seed: int) -> pd.DataFrame:
    """Judgements of ``IMAGES`` images a prompt, with a score drawn at random, as a judge's table has them."""
    scores = np.random.default_rng(seed).random(len(prompts) * IMAGES)
    rows = [(p, f"{p}-{k}") for p in prompts for k in range(IMAGES)]
    table = pd.DataFrame(rows, columns=["prompt_id", "image_id"]).assign(set="target", failed=False)
    return table.assign(label=labels[0], score=scores)


def summarise_all(verdicts: dict, kept: dict, spec) -> dict:
    """``metrics.json`` of these verdicts."""
    steps = {"gradient_steps": 1, "model_evaluations": 2, "images": 3}
    return summarise(
        model={"name": "emoji64", "sha256": "0" * 64},
        concept={"name": "person", "kind": "nsfw"},
        budget="quick",
        verdicts=verdicts,
        spent={key: steps for key in verdicts if key[1] != "plain"},
        utility={m: Survival(**{s: rate_of(kept[m, s]) for s in RETAIN}) for m in MODELS},
        kept=kept,
        masks={"p_ac": {"prune_rate": 0.1, "mask_bytes": 1}},
        detector={
            "judge": spec.name,
            "version": "0",
            "sha256": "0" * 64,
            "threshold": spec.threshold,
            "verdicts": verdicts["none", "plain"],
        },
        neurons=pd.DataFrame(columns=["eraser", "attack", "reactivation", "sensitivity"]),
        cost=pd.DataFrame([("attack", 1.0, None)], columns=["stage", "seconds", "peak_mb"]),
        run={"id": "none", "seed": 0, "versions": {}},
    )


def time(stage: Callable[[], object], count: int) -> None:
    """A row without a bare cost: none of these asks a network."""
    seconds = in_turns(5, stage=stage)["stage"]
    record(
        f"{stage.__name__.replace('_', ' ')}, {count} test prompts",
        model="emoji64",
        prompts=count,
        seconds=round(statistics.median(seconds), 3),
        model_evaluations=0,
        peak_mb=peak_mb(stage),
    )


if __name__ == "__main__":
    main()
