"""From a run's figures to a verdict, and from the verdict to the champion."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd

from excise.attacks import AttackOptions
from excise.cache import fingerprint
from excise.erasers import Eraser
from excise.gate import GateOptions
from excise.images import DrawOptions

logger = logging.getLogger(__name__)


def find_champion(metrics: dict, registry: Any) -> dict:
    """The present champion: version, run and its ``gate.json``; an empty dict where there is none."""
    return registry.champion(metrics["model"]["name"], metrics["concept"]["name"]) or {}


def judge_run(
    concept: dict,
    metrics: dict,
    prompts: pd.DataFrame,
    eraser: Eraser,
    gate: GateOptions,
    draw: DrawOptions,
    attack_options: AttackOptions,
    champion: dict,
    asked: tuple[str, ...],
) -> tuple[dict, str]:
    """``gate.json`` and ``gate.md``.

    Args:
        asked: the attacks that the run tries, plain prompts among them.
    """
    from excise.gate import gate_page, judge

    test = prompts[prompts["split"] == "test"]
    detector = {k: metrics["detector"][k] for k in ("judge", "version", "sha256", "threshold")}
    conditions = {
        "model": metrics["model"]["sha256"],
        "prompts": fingerprint(test[["prompt_id", "set", "prompt", "seed"]]),
        "draw": fingerprint(draw),
        "judge": fingerprint([detector, concept["judge"]]),
        "retain_judge": fingerprint(concept["retain_judge"]),
        f"attack.{attack_options.method}": fingerprint(attack_options),
    }
    verdict = judge(
        metrics,
        eraser.header["variant"],
        asked,
        gate,
        made_by=eraser.header.get("run_id"),
        conditions=conditions,
        champion=champion or None,
    )
    for check in verdict.checks:
        if not check.passed:
            logger.warning("Gate: %s", check.sentence)
    for note in verdict.notes:
        logger.info("Gate: %s", note)
    logger.info("Gate %s for %s: %s", "passed" if verdict.passed else "FAILED", verdict.eraser, verdict.sentence)
    return verdict.model_dump(mode="json"), gate_page(verdict)


def promote(gate: dict, eraser: Eraser, report: str, registry: Any) -> dict:
    """Register the eraser; where the gate is passed, and no newer run is champion, it becomes the champion.

    Args:
        report: not read; nothing moves before it is written.
    """
    promotion = registry.record(gate, eraser.sha256, eraser.save)
    logger.info(promotion["sentence"])
    return promotion
