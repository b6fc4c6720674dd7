"""The benchmark: a study's grid with every threat model, and pages that rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from PIL import Image
from pydantic import model_validator

from excise.cache import Cache
from excise.models import ModelSpec
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.study_pruning.nodes import run_cells
from excise.pipelines.study_pruning.plan import StudyOptions, plan_cells
from excise.reports.words import is_control, method_of


class BenchmarkOptions(StudyOptions):
    """The grid; as a study's."""

    section: ClassVar[str] = "benchmark"
    title: str = "Benchmark"
    keeps_stale: ClassVar[bool] = False

    @model_validator(mode="after")
    def _controls_by_name(self) -> BenchmarkOptions:
        """The pages know a control by its name alone, and rank by no control."""
        for name, above in self.instead.attacks.items():
            method = str(above.get("method", name))
            if is_control(name) != is_control(method):
                which = method if is_control(method) else method_of(name)
                raise ValueError(
                    f"benchmark.instead.attacks.{name}: the name must begin with '{which}' if and only if "
                    "its method is this control"
                )
        return self


def run_benchmark(
    benchmark: BenchmarkOptions,
    concepts: dict,
    model: ModelSpec,
    erasers: dict,
    attacks: dict,
    prune: dict,
    neurons: NeuronOptions,
    seed: int,
    cache: Cache,
    run_info: dict,
    committed: list,
) -> tuple[dict[str, Callable[[], dict]], list[str], str]:
    """Rows to be made, as functions; see ``run_cells``.

    Args:
        committed: rows of ``docs/benchmark.json``.
    """
    return run_cells(benchmark, concepts, model, erasers, attacks, prune, neurons, seed, cache, run_info, committed)


def write_leaderboard(rows: list[dict], benchmark: BenchmarkOptions, model: ModelSpec, run_info: dict) -> str:
    """``leaderboard.html``, from the rows alone."""
    from .leaderboard import leaderboard_page

    return leaderboard_page(rows, run_info["command"], len(plan_cells(benchmark)), model.name)


def write_summary(rows: list[dict], benchmark: BenchmarkOptions, model: ModelSpec, run_info: dict, budgets: str) -> str:
    """``docs/benchmark.md``; for the budgets see ``run_cells``."""
    from .summary import summary_page

    page = summary_page(rows, run_info["command"], len(plan_cells(benchmark)), model.name)
    return f"{benchmark.heading}\n{page}\n{budgets}"


def draw_efforts(rows: list[dict]) -> Image.Image:
    """What more gradient steps of one attack bring back."""
    from .efforts import efforts_figure

    return efforts_figure(rows)


def draw_curves(rows: list[dict]) -> Image.Image:
    """How many prompts fell after how many judged images."""
    from .curves import curves_figure

    return curves_figure(rows)
