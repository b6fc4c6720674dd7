"""Options of erasers tried on tune prompts: how often the concept is drawn plainly asked, and what else is kept.

One training each, no attack: a compass for choosing defaults. Prints a row a trial, and keeps its work in the cache.
Usage, in the project's folder (each value replaces one of ``erasers.NAME.options``, a list tries several):

    python benchmarks/tuning.py person,church conceptprune share=0.02,0.1,0.3
"""

from __future__ import annotations

import logging
import sys
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from excise.attacks import AttackOptions
from excise.cache import Cache
from excise.erasers import EraserOptions
from excise.images import DrawOptions
from excise.masks import PruneOptions
from excise.metrics.rates import rate_of
from excise.models import ModelSpec
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.study_pruning.plan import Cell, StudyOptions
from excise.pipelines.study_pruning.workshop import Settings, Workshop
from excise.prompts import PromptOptions

TUNE = {"tune": 20, "retain_tune": 60, "test": 2, "retain_test": 2}  # the rest is the study's


def main(concepts: str, eraser: str, *values: str) -> None:
    bootstrap_project(Path.cwd())
    with KedroSession.create(Path.cwd()) as session:
        context = session.load_context()
        given, described = context.params, context.catalog.load("concepts")
    logging.disable(logging.WARNING)
    study: StudyOptions = given["study"]
    names = [value.partition("=")[0] for value in values]
    tried = [[yaml.safe_load(v) for v in value.partition("=")[2].split(",")] for value in values]
    print("| concept | options | drawn, plainly asked | any image | near | far |\n" + "|---" * 6 + "|")
    for name in concepts.split(","):
        for chosen in product(*tried):
            options = dict(zip(names, chosen, strict=True))
            shop = Workshop(
                name, _settings(given, study, eraser, options), described, Cache(Path("data/cache")), RUN, True
            )
            plain, kept = shop._plain(Cell(name, eraser, "unpruned", "plain", 1))
            rate, *rest = (rate_of(v) for v in (plain["first"], kept["retain_near"], kept["retain_far"]))
            cells = [name, ", ".join(f"{k} {v}" for k, v in options.items()) or "as they are"]
            cells += [f"{rate.hits} / {rate.n}", f"{rate.any_hits}", *(f"{r.hits} / {r.n}" for r in rest)]
            print(f"| {' | '.join(cells)} |", flush=True)


RUN: dict[str, Any] = {"id": "tuning", "versions": {}, "command": "tuning"}


def _settings(given: dict, study: StudyOptions, eraser: str, options: dict[str, Any]) -> Settings:
    own = _plainly(given["erasers"][eraser]) | study.instead.erasers.get(eraser, {})
    own["options"] = {**(own.get("options") or {}), **options}
    return Settings(
        model=ModelSpec.model_validate(_plainly(given["model"])),
        prompts=PromptOptions.model_validate(_plainly(study.prompts) | TUNE),
        erasers={eraser: EraserOptions.model_validate(own)},
        attacks={"unlearndiffatk": AttackOptions(method="unlearndiffatk")},  # none is made
        prune=PruneOptions.model_validate(_plainly(given["prune"])),
        neurons=NeuronOptions.model_validate(_plainly(given["neurons"])),
        draw=DrawOptions.model_validate(_plainly(study.draw)),
        never_saw={},
        silence=None,
        seed=given["seed"],
    )


def _plainly(options: Any) -> dict[str, Any]:
    return options.model_dump() if hasattr(options, "model_dump") else dict(options)


if __name__ == "__main__":
    main(*sys.argv[1:])
