"""The pipelines of this repository: light to list, wired to the catalog, and with parameters that fit."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline
from kedro.validation.type_extractor import TypeExtractor
from pydantic import BaseModel

from excise.attacks import AttackOptions, make_attack
from excise.concepts import load_concept
from excise.erasers import EraserOptions, make_method

ROOT = Path(__file__).parents[2]
FROM_HOOKS = {"concepts", "cache", "cost", "run_info", "registry"}
# rows of an earlier run, in docs
COMMITTED = {
    *(f"study.{rows}" for rows in ("committed", "benchmark", "strongest")),
    *(f"{kind}.committed" for kind in ("ablation", "silencing", "benchmark")),
}
ENVIRONMENTS = sorted(p.name for p in (ROOT / "conf").iterdir() if p.is_dir() and p.name != "base")


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Pipeline]:
    bootstrap_project(ROOT)
    from kedro.framework.project import pipelines

    return dict(pipelines)


@pytest.fixture(scope="module")
def types(pipelines) -> dict[str, type[BaseModel]]:
    """Parameter -> the pydantic model by which Kedro checks it."""
    return TypeExtractor(pipelines).extract_types_from_pipelines()


def configuration(env: str) -> OmegaConfigLoader:
    from excise.settings import CONFIG_LOADER_ARGS

    return OmegaConfigLoader(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)


def of_kind(loader: OmegaConfigLoader, kind: str) -> dict[str, Any]:
    try:
        return loader[kind]
    except MissingConfigException:
        return {}


def test_listing_pipelines_is_light() -> None:
    code = (
        "import sys, json\nfrom pathlib import Path\nfrom kedro.framework.cli.cli import KedroCLI\n"
        "KedroCLI(Path.cwd()).main(['registry', 'list'], standalone_mode=False)\n"
        "heavy = ('torch', 'mlflow', 'diffusers', 'transformers', 'sklearn', 'matplotlib', 'nudenet')\n"
        "print(json.dumps([m for m in heavy if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *listed, heavy = done.stdout.split("\n")[:-1]
    names = {p.name for p in (ROOT / "src/excise/pipelines").iterdir() if (p / "__init__.py").exists()}
    assert {line.removeprefix("- ") for line in listed if line} == {"__default__", *names}
    assert json.loads(heavy) == []


def test_every_dataset_has_an_entry_in_the_catalog(pipelines) -> None:
    with KedroSession.create(ROOT) as session:
        catalog = session.load_context().catalog
    assert "no such thing" not in catalog and "a.b.c.d.e" not in catalog  # there is no entry that takes everything
    for name, pipeline in pipelines.items():
        datasets = {d for d in pipeline.datasets() if not d.startswith("params:") and d not in FROM_HOOKS}
        assert datasets, name
        for dataset in datasets:
            assert dataset in catalog, f"{name}: {dataset}"
            assert type(catalog.get(dataset)).__name__ not in ("MemoryDataset", "SharedMemoryDataset"), dataset


def test_what_a_stage_reads_another_one_writes(pipelines) -> None:
    """Only parameters, what hooks give and what is committed come from outside of the whole."""
    free = pipelines["__default__"].inputs()
    assert {d for d in free if not d.startswith("params:")} == FROM_HOOKS | COMMITTED
    for job in ("erase_nsfw", "erase_style", "erase_object"):
        assert {d for d in pipelines[job].inputs() if not d.startswith("params:")} == FROM_HOOKS - {"registry"}


def test_annotations_of_nodes_can_be_read(pipelines, caplog) -> None:
    """Otherwise Kedro warns, checks nothing, and hands plain dictionaries to nodes that expect models."""
    with caplog.at_level(logging.WARNING):
        found = {n: TypeExtractor({n: p}).extract_types_from_pipelines() for n, p in pipelines.items()}
    assert not caplog.records
    assert {"world", "model", "evaluation"} <= set(found["evaluate_emoji64"])
    jobs = {"model", "prompts", "erasers.ac", "prune", "neurons", "attacks.unlearndiffatk", "draw", "fidelity"}
    assert all(set(found[job]) == jobs for job in ("erase_nsfw", "erase_style", "erase_object"))


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_parameters_of_every_environment_fit(pipelines, types, env) -> None:
    parameters = of_kind(configuration(env), "parameters")
    for name, model in types.items():
        value = parameters
        for key in name.split("."):
            value = value[key]
        model.model_validate(value)
    for described in parameters["erasers"].values():
        make_method(EraserOptions(**described))
    for described in parameters["attacks"].values():
        make_attack(AttackOptions(**described))
    used = {
        i.removeprefix("params:").split(".")[0] for i in pipelines["__default__"].inputs() if i.startswith("params:")
    }
    assert used <= set(parameters) <= used | {"concept", "eraser", "attack", "masks", "audit", "processes"}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_default_concepts_of_every_environment_are_well_described(env) -> None:
    loader = configuration(env)
    concepts = of_kind(loader, "concepts")
    for name in concepts:
        load_concept(name, concepts)
    for kind, name in of_kind(loader, "globals")["concepts"].items():
        assert load_concept(name, concepts).kind == kind
