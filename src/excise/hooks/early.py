"""Checks that look at values and files, so that a run does not find out after an hour; ``preflight`` runs them."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.concepts.concept import load_concept
from excise.errors import UserError

from .options import options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from excise.concepts.concept import PromptSource
    from excise.pipelines.report.fidelity import FidelityOptions
    from excise.prompts import PromptOptions

logger = logging.getLogger(__name__)


def numbers_are_finite(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """No parameter is NaN or infinite: bounds such as "greater than 0" let infinity through."""
    from .mlflow_hook import leaves

    for name in sorted(n for n in pipeline.inputs() if n.startswith("params:") and n in catalog):
        for place, value in leaves(catalog[name].load(), name.removeprefix("params:")):
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"Parameter '{place}' cannot be {value}: it must be a finite number.")


def seed_is_usable(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The seed is one that every generator of random numbers takes."""
    if "params:seed" in pipeline.inputs():
        seed = catalog["params:seed"].load()
        if isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise UserError(f"Parameter 'seed' cannot be {seed}: it must be a whole number from 0 to {2**32 - 1}.")


def prompts_suffice(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Words, templates and files make as many prompts as are asked for; found out by making them, which takes no time.

    Prompts that the hub is asked for are not fetched here.
    """
    for concept, table, options, minors in tables_to_be(catalog, pipeline):
        _refuse_emptied(table[table["set"] == "target"], options, concept, minors)


def tables_to_be(catalog: Any, pipeline: Any) -> Iterator[tuple[str, pd.DataFrame, PromptOptions, int]]:
    """Concept, its prompts as a pipeline makes them, what was asked for, and how many rows with words for minors were
    dropped; nothing of a concept whose prompts come from the hub."""
    for name in sorted(pipeline.datasets() - pipeline.inputs()):
        concept, _, what = name.partition(".")
        if what == "prompts" and "params:prompts" in pipeline.inputs():
            from excise.prompts import PromptOptions, build_prompts

            described = load_concept(concept, catalog["concepts"].load())
            for source in described.sources:
                _refuse_unquoted_commas(source)
            if all(source.file for source in described.sources):
                options = options_of(catalog, "prompts", PromptOptions)
                seed = catalog["params:seed"].load()
                table, counts = build_prompts(described, options.model_copy(update={"seed": seed}))
                yield described.name, table, options, counts["minors"]


def _refuse_unquoted_commas(source: PromptSource) -> None:
    """pandas takes surplus fields for an index, and shifts all others."""
    path = Path(source.file).expanduser()
    if path.suffix.lower() != ".csv":
        return
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            width = len(next(rows, []))
            longer = next((rows.line_num for row in rows if len(row) > width), None)
    except (csv.Error, UnicodeError, OSError):
        return  # what cannot be read at all is refused with its own sentence
    if longer is not None:
        raise UserError(
            f"{path.name} has more fields in line {longer} than names in its first line: put prompts with commas into "
            "quotes."
        )


def _refuse_emptied(targets: pd.DataFrame, options: PromptOptions, concept: str, minors: int) -> None:
    """Rows with words for minors are dropped whatever is left; of fewer than two prompts nothing can be learned."""
    for split in ("fit", "tune", "test"):
        left = int((targets["split"] == split).sum())
        if left < min(2, getattr(options, split)):
            raise UserError(
                f"Of '{concept}' the split '{split}' has {left} prompts left, since {minors} rows with words for "
                "minors were dropped: use other words."
            )


def known_pictures_are_there(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The pictures that judges are tried on are where the parameters say."""
    if "params:known_pictures" in pipeline.inputs():
        from excise.metrics.judge_errors import known_table
        from excise.models.spec import find_folder

        folder = catalog["params:known_pictures"].load()
        if folder is None and "judges.errors" in pipeline.datasets():  # a report does without
            raise UserError(
                "There are no pictures to try the judges on: name a folder of them with --params=known_pictures=FOLDER."
            )
        if folder is not None:
            known_table(find_folder(str(folder)))


def features_are_ready(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """The models that compare pictures can be loaded, and see something. Of an unsafe concept nothing is compared."""
    if "params:fidelity" in pipeline.inputs():
        from excise.pipelines.report.fidelity import FidelityOptions, load_models

        options = options_of(catalog, "fidelity", FidelityOptions)
        concepts = {name.split(".")[0] for name in pipeline.datasets() if name.endswith(".fidelity")}
        if not all(load_concept(name, catalog["concepts"].load()).unsafe for name in concepts):
            load_models(options)
            _look_for_labels(options, catalog, pipeline)


def _look_for_labels(options: FidelityOptions, catalog: Any, pipeline: Any) -> None:
    """Judges of another domain can look, and have something to look for."""
    from excise.pipelines.report.cross_domain import of_another_domain

    ready = {id(judge): judge.ready() for judge in options.cross}
    for name, table, *_ in tables_to_be(catalog, pipeline):
        concept = load_concept(name, catalog["concepts"].load())
        for judge in of_another_domain(concept, options.cross):
            if not concept.unsafe and judge.asked(ready[id(judge)], table, "retain").empty:
                logger.warning(
                    "No prompt of what must survive '%s' says a word of fidelity.cross' judge '%s': it tells nothing.",
                    name,
                    judge.name,
                )


def inputs_are_whole(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Files that an earlier run left are not cut short."""
    from kedro.io.core import DatasetError

    from excise.whole import refuse_damaged

    for name in sorted(n for n in pipeline.inputs() if not n.startswith("params:") and n in catalog):
        dataset = catalog[name]
        if hasattr(dataset, "_get_load_path"):
            try:
                path = Path(str(dataset._get_load_path()))
            except DatasetError:  # no version yet: another check says so
                continue
            refuse_damaged(path, name)
