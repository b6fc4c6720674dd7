"""An erased model that others made, beside its base model: the same attacks, judges and report; nothing is erased."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.erase.nodes import no_eraser
from excise.pipelines.evaluate.pipeline import attack_cell, plain_cell
from excise.pipelines.names import audited_attacks, comparing
from excise.pipelines.prepare.pipeline import create_pipeline as prepare
from excise.pipelines.report.pipeline import report_on
from excise.pipelines.selection import selected_concept

from .nodes import read_audited, sample_references


def create_pipeline(concept: str | None = None, **_) -> Pipeline:
    c = concept or selected_concept("nsfw")
    home, base, other = f"{c}.audit", f"{c}.audit_base", f"{c}.audited"
    attacks = audited_attacks(c)
    below = [name for name in attacks if not comparing(name)]  # the base model has none beneath it
    read = Pipeline(
        [
            Node(
                no_eraser,
                [f"{home}.concept", f"{home}.model", "run_info"],
                f"{base}.eraser",
                name="no_eraser",
                namespace=base,
            ),
            Node(
                read_audited,
                [f"{home}.concept", f"{home}.model", "params:checkpoint", "run_info"],
                [f"{other}.eraser", f"{home}.checkpoint"],
                name="read_audited",
                namespace=home,
            ),
            Node(
                sample_references,
                [f"{home}.model", f"{home}.prompts", f"{home}.checkpoint", "params:draw", "cache"],
                f"{home}.trajectories",
                name="sample_references",
                namespace=home,
            ),
        ]
    )
    cells = [plain_cell(home, base), plain_cell(home, other)]
    cells += [attack_cell(home, base, name) for name in below] + [attack_cell(home, other, name) for name in attacks]
    report = report_on(home, {"none": (base, below), "audited": (other, attacks)}, f"{home}.checkpoint")
    return sum(cells, prepare(concept=c, home=home) + read + report)
