"""Every command of README and docs/ is run, or it is said why not; and all of them resolve."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented import ROOT, blocks, commands, fragments, has_placeholder, pages

from excise.attacks import ATTACKS, AttackOptions, make_attack
from excise.erasers import ERASERS, EraserOptions, make_method
from tiny import BUDGET

TABLE = yaml.safe_load((ROOT / "tests/docs/commands.yml").read_text())
HERE = {"quick": TABLE["quick"], "slow": TABLE["slow"], "elsewhere": list(TABLE["elsewhere"])}
LISTED = [command for part in HERE.values() for command in part]
FOUND = {command: where for command, where in commands().items() if not has_placeholder(command)}
TYPED = [*commands(), *fragments()]
CHOICES = ("concept", "eraser", "attack", "masks")


def test_every_command_is_run_or_it_is_said_why_not() -> None:
    missing = {command: where for command, where in FOUND.items() if command not in LISTED}
    assert not missing, "name them in tests/docs/commands.yml"


def test_nothing_is_listed_that_no_page_has() -> None:
    assert not [command for command in LISTED if command not in FOUND]
    assert len(set(LISTED)) == len(LISTED)


@pytest.mark.parametrize("command", TABLE["elsewhere"])
def test_a_reason_that_names_a_test_names_one_that_is_there(command: str) -> None:
    reason = TABLE["elsewhere"][command]
    assert len(reason) > 10
    for path in re.findall(r"tests/[\w/]+\.py", f"{command} {reason}"):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_make_has_the_target(command: str) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(command.split()[1:]) <= set(targets)


# kedro run resolves ------------------------------------------------------------------------------------------------
@cache
def configuration(env: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and concepts of an environment, with the example's."""
    from kedro.config import OmegaConfigLoader

    from excise.settings import CONFIG_LOADER_ARGS

    loader = OmegaConfigLoader(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)
    plugin = ROOT / "examples/plugin/conf"
    boat = yaml.safe_load((plugin / "parameters_boat.yml").read_text())
    parameters = loader["parameters"]
    for what in ("erasers", "attacks"):
        parameters[what] |= boat[what]
    return parameters, loader["concepts"] | yaml.safe_load((plugin / "concepts/boat.yml").read_text())


def options_of(command: str) -> dict[str, str]:
    """The long options of a command."""
    words = shlex.split(command)
    return dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)


def given(text: str) -> dict[str, str]:
    """``a=1,b.c=2``."""
    return dict(item.split("=", 1) for item in text.split(","))


def check_parameter(name: str, value: str, env: str) -> None:
    """A parameter that is there takes the value; what the reader fills in is not looked at."""
    parameters, concepts = configuration(env)
    known = {
        "concept": concepts,
        "eraser": parameters["erasers"],
        "attack": parameters["attacks"],
        "masks": ("learned", "all"),
    }
    open_ = has_placeholder(value) or value.endswith(("@", "…")) or value.startswith("/path/to")
    if name in CHOICES:
        assert open_ or value in known[name], value
        return
    first, *inner = name.split(".")
    assert first in parameters, f"there is no parameter '{first}'"
    if any(part in ("NAME", "…") for part in inner) or (open_ and not inner):
        return
    changed = laid(parameters[first], inner, None if open_ else yaml.safe_load(value))
    if first in ("erasers", "attacks"):
        assert inner[0] in changed and inner[0] in {**ERASERS, **ATTACKS, **known["eraser"], **known["attack"]}
        if inner[0] in {**ERASERS, **ATTACKS}:
            kind, make = (EraserOptions, make_method) if first == "erasers" else (AttackOptions, make_attack)
            make(kind.model_validate(changed[inner[0]]))
        return
    model = models().get(first)
    if model is not None and not open_:
        model.model_validate(changed)
    elif inner:  # no model to ask: the place itself must be there
        place = parameters[first]
        for part in inner:
            assert part in place, name
            place = place[part]


def laid(below: Any, inner: list[str], value: Any) -> Any:
    """Data with another value in one place."""
    if not inner:
        return value
    return {**below, inner[0]: laid(below.get(inner[0], {}), inner[1:], value)}


@cache
def models() -> dict[str, Any]:
    """The models of parameters, by their first name: those that nodes ask for, as Kedro finds them."""
    from kedro.framework.project import pipelines
    from kedro.framework.startup import bootstrap_project
    from pydantic import BaseModel

    bootstrap_project(ROOT)
    found = {}
    for pipeline in dict(pipelines).values():
        for node in pipeline.nodes:
            import inspect
            import typing

            function = inspect.unwrap(getattr(node.func, "func", node.func))
            hints = typing.get_type_hints(function)
            inputs = node._inputs
            bound = (
                inputs
                if isinstance(inputs, dict)
                else dict(
                    zip(
                        inspect.signature(function).parameters,
                        [inputs] if isinstance(inputs, str) else inputs or [],
                        strict=False,
                    )
                )
            )
            for argument, name in bound.items():
                kind = hints.get(argument)
                if str(name).startswith("params:") and isinstance(kind, type) and issubclass(kind, BaseModel):
                    found[name.removeprefix("params:")] = kind
    return found


@pytest.mark.parametrize("command", [c for c in TYPED if c.startswith(("kedro run", "--"))])
def test_it_resolves(command: str) -> None:
    options = options_of(command)
    env = options.get("env", "local")
    env = "local" if has_placeholder(env) else env
    assert (ROOT / "conf" / env).is_dir()
    for name in filter(None, [options.get("pipeline"), options.get("pipelines")]):
        assert has_placeholder(name) or (ROOT / "src/excise/pipelines" / name / "__init__.py").is_file()
    for name, value in given(options["params"]).items() if "params" in options else ():
        check_parameter(name, value, env)


@pytest.mark.parametrize(
    "wrong",
    [
        "kedro run --pipeline=erase_nswf",
        "kedro run --pipeline=erase_nsfw --env=sd41",
        "--params=eraser=esdd",
        "--params=concept=nobody",
        "--params=erasers.ac.stepz=3",
        "--params=erasers.ac.options.x=3",
        "--params=attacks.p4d.steps=0",
        "--params=exports.rank=3",
        "--params=export.rang=3",
        "--params=study.workers=0",
        "--params=prompts.fit=one",
    ],
)
def test_what_is_wrong_does_not_resolve(wrong: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        test_it_resolves(wrong)


# servers listen on this machine only -------------------------------------------------------------------------------
def test_servers_listen_on_this_machine_only() -> None:
    """Kedro-viz, MLflow and mkdocs have no login."""
    text = {page: page.read_text() for page in [*pages(), ROOT / "Makefile"]}
    served = [
        (str(page), line)
        for page, source in text.items()
        for line in re.findall(r"(?:kedro viz run|mlflow (?:ui|server)|mkdocs serve|http\.server)[^`\n]*", source)
    ]
    assert len(served) >= 3
    assert not [(page, line) for page, line in served if not re.search(r"127\.0\.0\.1|localhost", line)]
    assert yaml.safe_load(re.sub(r"!!\S+", "", (ROOT / "mkdocs.yml").read_text()))["dev_addr"].startswith("127.0.0.1")


# they run ----------------------------------------------------------------------------------------------------------
def make_project(folder: Path) -> Path:
    """The project with emoji64 and tiny budgets, as somebody has it who cloned it."""
    for name in ("conf", "docs", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    (folder / "src").mkdir()
    (folder / "src/excise").symlink_to(ROOT / "src/excise")
    budget = {**BUDGET, "known_pictures": "embedded:known"}
    (folder / "conf/local").mkdir(exist_ok=True)
    (folder / "conf/local/parameters.yml").write_text(yaml.safe_dump(budget))
    return folder


def type_(command: str, project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as it stands, with this Python's programs first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {"PYTHONPATH": str(ROOT / "src"), "EXCISE_MLFLOW": "off", "PATH": path}
    return subprocess.run(
        command,
        shell=True,
        cwd=project,
        env={**os.environ, **known, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize("command", TABLE["quick"])
def test_it_runs_quickly(command: str, project: Path) -> None:
    done = type_(command, project)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("command", TABLE["slow"])
def test_it_runs(command: str, project: Path) -> None:
    done = type_(command, project)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr


# code --------------------------------------------------------------------------------------------------------------
RUN = {  # pages whose Python runs after the commands above, and from where
    "README.md": ".",
    "docs/quickstart.md": ".",
    "docs/embedded-model.md": ".",
    "docs/exporting.md": "data/06_models/emoji64/person/p_ac/export",
}
NOT_RUN = {  # page -> what a block of it holds -> why
    "docs/exporting.md": {"load_lora_weights": "needs the package peft"},
}


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_python_runs(page: str, project: Path) -> None:
    folder = project / RUN[page]
    if (folder / "README.md").exists() is False and page == "docs/exporting.md":
        folder = max(folder.glob("*/*/README.md")).parent  # the newest version
    skipped = NOT_RUN.get(page, {})
    code = "\n\n".join(
        b.text for b in blocks(ROOT / page) if b.language == "python" and not any(s in b.text for s in skipped)
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
