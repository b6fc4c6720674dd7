"""A study: every cell one JSON, made when it is missing; then tables and figures."""

from __future__ import annotations

import logging
from collections.abc import Callable

from PIL import Image
from pydantic import BaseModel

from excise.attacks import AttackOptions
from excise.cache import Cache
from excise.erasers import EraserOptions
from excise.errors import UserError, checked, refuse_no_name, refuse_unknown
from excise.masks import PruneOptions
from excise.models import ModelSpec, find_folder
from excise.pipelines.controls import refuse_no_control
from excise.pipelines.erase.nodes import NeuronOptions

from .budgets import budgets_table
from .committed import rows_by_cell, tell_left_out
from .crew import Crew
from .idle import flag_idle, refuse_other_habits
from .plan import ALONE, Cell, StudyOptions, plan_cells
from .rows import deadline, made_once
from .shops import Shops, named
from .trainings import several_trainings
from .workshop import Settings

logger = logging.getLogger(__name__)
SHIPPED = "embedded:"  # begins the paths of models that come with the package


def run_cells(
    study: StudyOptions,
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
    """Rows to be made, as functions: they are called one by one while they are saved, so that a stop loses one row.

    Args:
        committed: rows of ``docs/results.json``: one whose fingerprint still fits is not made again; one of a cell that
            there is no time to make stays as it is, marked ``stale``, where the grid keeps such rows.

    Returns:
        Cell -> function that makes its row; the names of all cells in the order of the tables; with which budgets rows
        are made, as text.
    """
    cells, settings, shops = plan_shops(study, concepts, model, erasers, attacks, prune, neurons, seed, cache, run_info)
    prints = {cell: shops.fingerprint(cell) for cell in cells}
    by_cell = rows_by_cell(committed, f"{study.section}.committed")
    tell_left_out(by_cell, cells)
    known = {row["fingerprint"]: row for row in committed}
    done = {cell: known[prints[cell]] for cell in cells if prints[cell] in known}
    older = by_cell if study.keeps_stale else {}
    progress = _Progress(len(cells) - len(done))
    end = deadline(study.hours)
    logger.info(
        "There are %d cells, %d of them are committed already. %s",
        len(cells),
        len(done),
        _forecast(study, settings, concepts, [c for c in cells if c not in done]),
    )

    todo = {cell: mark for cell, mark in prints.items() if cell not in done}
    crew = Crew(study.workers, shops, todo, end) if study.workers > 1 else None

    def maker(cell: Cell) -> Callable[[], dict]:
        def make() -> dict:
            if cell in done:
                return named({key: value for key, value in done[cell].items() if key != "stale"}, cell)
            if crew:
                crew.wait_for(cell)
            row = made_once(cache, "cell", prints[cell], end, lambda: shops.row(cell))
            if "missing" not in row:
                progress.step(cell)
            elif cell in older and _same_prompts(older[cell], shops, cell):
                return older[cell] | {"stale": True}
            return row if "missing" in row else named(row, cell)

        return make

    # partitions are saved in the order of their names: the number keeps them in the plan's
    names = [f"{number:04d}-{cell.id}" for number, cell in enumerate(cells)]
    return {name: maker(cell) for name, cell in zip(names, cells, strict=True)}, names, budgets_table(settings)


def _same_prompts(row: dict, shops: Shops, cell: Cell) -> bool:
    """Whether an older row was asked what this study asks: tables compare prompt by prompt. An early row does not say
    what it was made of, but how many prompts it had."""
    if "made_of" in row:
        return row["made_of"].get("prompts") == shops.parts(cell)["prompts"]
    return len(row["verdicts"]) == shops.settings.prompts.test


def plan_shops(
    study: StudyOptions,
    concepts: dict,
    model: ModelSpec,
    erasers: dict,
    attacks: dict,
    prune: dict,
    neurons: NeuronOptions,
    seed: int,
    cache: Cache,
    run_info: dict,
) -> tuple[list[Cell], Settings, Shops]:
    """The cells of a study, its settings, and who makes them; nothing is made."""
    for name in study.never_saw:  # of a smaller study's concepts it may name more
        refuse_unknown(f"concept of {study.section}.never_saw:", name, concepts)
    settings = settings_of(study, model, erasers, attacks, prune, neurons, seed)
    return plan_cells(study), settings, Shops(settings, concepts, cache, run_info)


def collect(cells: dict[str, Callable[[], dict]], order: list[str]) -> list[dict]:
    """``docs/results.json``: one row a cell, as far as the study has come.

    Raises:
        UserError: not a single cell was finished in time.
    """
    rows = [flag_idle(row) for row in (cells[name]() for name in order) if "missing" not in row]
    if not rows:
        raise UserError("Not a single cell was finished in the time given: give it more hours.")
    left = len(order) - sum(not row.get("stale") for row in rows)
    if left:
        logger.warning("%d of %d cells are still missing or stale: run the study again.", left, len(order))
    for model, counts in several_trainings(rows).items():
        logger.warning(
            "Rows of %s wear erasers that were trained apart (%s rows): one machine's seed is not another's. Take them "
            "out of the committed file to have all of them made here.",
            ".".join(map(str, model)),
            " and ".join(map(str, counts)),
        )
    return rows


def write_results(
    rows: list[dict],
    study: StudyOptions,
    model: ModelSpec,
    run_info: dict,
    benchmark: list,
    strongest: list,
    budgets: str,
) -> str:
    """``docs/results.md``.

    Args:
        benchmark: the benchmark's committed rows, of other attacks on fewer prompts.
        strongest: the committed rows of this study under the attacks that did most there.
        budgets: see ``run_cells``.
    """
    from .tables import results_page

    page = results_page(rows, run_info["command"], len(plan_cells(study)), model.name, benchmark, strongest)
    return f"{study.heading}\n{page}\n{budgets}"


def draw_results(rows: list[dict]) -> Image.Image:
    """Every rate under every attack, a dot a training seed."""
    from .tables import results_figure

    return results_figure(rows)


def settings_of(study, model, erasers, attacks, prune, neurons, seed) -> Settings:
    """The parameters, checked before anything runs."""
    from excise.attacks import ATTACKS, by_words, make_attack
    from excise.erasers import ERASERS, make_method

    over, here = study.instead, study.section
    for what, names in (("an eraser", study.studied), ("an attack", [*study.attacks, *over.attacks])):
        for name in names:
            refuse_no_name(what, name)  # a row's file is called by it
    for name in study.studied:
        refuse_unknown("eraser", name, ERASERS)
    for name in over.erasers:
        refuse_unknown(f"entry of {here}.instead.erasers:", name, erasers)
    for name, above in over.attacks.items():
        if "method" not in above:
            refuse_unknown(f"entry of {here}.instead.attacks:", name, attacks)
    wanted = dict.fromkeys([*study.attacks, *filter(None, [study.learns_against])])
    described = {
        n: laid_over(attacks.get(n, attacks.get(over.attacks.get(n, {}).get("method"), {})), over.attacks.get(n, {}))
        for n in wanted
    }
    for name, options in described.items():
        if not options:
            raise UserError(f"There are no options for the attack '{name}': add attacks.{name}.")
        options.setdefault("method", name)
        refuse_unknown("attack", options["method"], ATTACKS)
    named = dict.fromkeys([*list(study.erasers)[:1], *study.studied])  # an attack on the base model learns as the first
    for name in named:
        refuse_unknown("entry of erasers:", name, erasers)
    chosen = {
        n: checked(
            EraserOptions,
            laid_over(erasers[n], over.erasers.get(n, {})),
            f"erasers.{n}" + (f" with {here}.instead.erasers.{n} over it" if n in over.erasers else ""),
        )
        for n in named
    }
    if not study.attacks:
        raise UserError(f"{here}.attacks is empty: name at least one attack.")
    tried = {
        n: checked(
            AttackOptions,
            options,
            f"attacks.{n}" + (f" with {here}.instead.attacks.{n} over it" if n in over.attacks else ""),
        )
        for n, options in described.items()
    }
    for name, options in chosen.items():
        if options.method != name:
            raise UserError(f"erasers.{name}.method is '{options.method}': it must be the name that it stands under.")
        make_method(options)
    made = {name: make_attack(options) for name, options in tried.items()}
    for name, options in tried.items():
        refuse_other_habits(name, options.method)
    learned = study.learns_against or study.attacks[0]
    if not by_words(made[learned]):
        raise UserError(
            f"'{learned}' changes no words for P-X to learn against: name another attack in {here}.learns_against."
        )
    for name in study.transfer:
        if not by_words(made[name]):
            raise UserError(f"{here}.transfer names '{name}', and only attacks by words are tried on another model.")
    for concept, path in study.never_saw.items():
        if not find_folder(path).is_dir():
            raise UserError(f"{here}.never_saw.{concept} is '{path}', which is no folder: make the model first.")
        if path.startswith(SHIPPED) and not str(model.path).startswith(SHIPPED):
            raise UserError(
                f"{here}.never_saw.{concept} is '{path}', a model that ships, and the model in '{model.path}' is none: "
                "set it to null, or to a folder of your own."
            )
    pruning = checked(PruneOptions, laid_over(prune, over.prune), f"prune with {here}.instead.prune over it")
    refuse_no_control(
        pruning, (v.removesuffix(ALONE) for how in study.studied.values() for v in (*how.variants, *how.once))
    )
    asked = {name: tried[name] for name in study.attacks}
    learning = tried[learned]
    last = (study.never_saw, study.silence, seed, learning)
    return Settings(model, study.prompts, chosen, asked, pruning, neurons, study.draw, *last)


def laid_over(below: dict | BaseModel, above: dict) -> dict:
    """Plain data with other values in some places, at any depth; below may be checked options, as Kedro hands them out
    where another pipeline of the command reads them."""
    below = below.model_dump() if isinstance(below, BaseModel) else below
    inner = {
        k: laid_over(below[k], v) for k, v in above.items() if isinstance(v, dict) and isinstance(below.get(k), dict)
    }
    return {**below, **above, **inner}


def _forecast(study: StudyOptions, settings: Settings, concepts: dict, missing: list[Cell]) -> str:
    """How long the missing cells take here."""
    from excise.concepts import load_concept
    from excise.planning import measure_seconds, sum_work

    if not missing:
        return "Nothing is left to do."
    work = sum_work(_work(settings, missing))
    concept = load_concept(missing[0].concept, concepts)
    hours = measure_seconds(work, settings.model, concept) / 3600
    return f"The other {len(missing)} take about {hours:.1f} hours here, less what an earlier run left in the cache."


def _work(s: Settings, missing: list[Cell]):
    """The work of cells, what they share counted once."""
    from excise.attacks import make_attack
    from excise.erasers import make_method
    from excise.planning import Work, typed

    first_attack = s.fit_attack
    shown = s.prompts.test * s.draw.per_prompt
    seen: set = set()
    for cell in missing:
        if cell.eraser in s.erasers:
            options = s.erasers[cell.eraser]
            kind, alone = cell.variant.removesuffix(ALONE), cell.variant.endswith(ALONE)
            counted = "learned" + ALONE * alone  # as many zeros as this one has
            for variant in {"unpruned", cell.variant, *([counted] if kind in ("scored", "random") else [])}:
                key = (cell.concept, cell.eraser, variant, cell.seed)
                fixed = variant.removesuffix(ALONE) in ("scored", "random")
                if key in seen or (fixed and (alone or not s.prune.rate_of_weights(options.lr))):
                    continue  # over frozen weights such a mask is written down, and nothing is trained
                seen.add(key)
                if variant == "unpruned":  # X, and the attack that P-X learns against
                    training = make_method(options).work(options)
                    yield Work(0, training + make_attack(first_attack).work(first_attack, s.prompts.fit), 0)
                else:
                    yield Work(0, s.prune.steps * options.batch * (2 if s.prune.retain_weight > 0 else 1), 0)
        plain = (cell.concept, cell.eraser, cell.variant, cell.seed, "plain")
        if plain not in seen:  # what every attack of a model is compared with
            seen.add(plain)
            retain = s.prompts.retain_test * s.draw.per_retain_prompt
            yield Work(2 * s.draw.steps * (shown + retain), 0, shown + 2 * retain)
        if cell.attack in s.attacks:
            options = s.attacks[cell.attack]
            tried = options.images * s.prompts.test  # at most: a prompt stops at its first hit
            work = make_attack(options).work(options, s.prompts.test)
            if cell.made_on:  # the attack is another cell's
                tried, work = 0, 0
            drawn = (1 + typed(options)) * shown + tried
            yield Work(2 * s.draw.steps * drawn, work, drawn)


class _Progress:
    """Says after every cell how many are left."""

    def __init__(self, total: int):
        self.total, self.made = total, 0

    def step(self, cell: Cell) -> None:
        self.made += 1
        logger.info("%d of %d: %s", self.made, self.total, cell.id)
