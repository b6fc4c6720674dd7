"""A project whose configuration may be spoilt, and its command, run in this process: nothing may begin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

ROOT = Path(__file__).parents[2]
LEFT_OUT = ("pretrain_emoji64", "pretrain_never_saw", "evaluate_emoji64")  # thousands of lines that no case reads
LEAKS = ("Input should", "[type=", "errors.pydantic.dev", "For further information", "validation error")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the configuration that ships, but for long lists of words."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("base", "local", "sd14"):
        shutil.copytree(ROOT / "conf" / name, folder / "conf" / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in ("conf/logging.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "src").mkdir()
    for path in (folder / "conf/base/concepts").glob("*.yml"):
        [(name, described)] = yaml.safe_load(path.read_text()).items()
        for part in ("slots", "retain_near", "retain_far"):
            few = list(described.get(part, {}).items())[:3]
            described[part] = {label: words[:8] for label, words in few}
        path.write_text(yaml.safe_dump({name: described}))
    return folder


@pytest.fixture(scope="module")
def kedro(project: Path) -> Iterator[Callable[..., Result]]:
    """Give the project's ``kedro`` some words; that anything is computed fails the test."""
    import kedro.runner
    from kedro.framework.cli.cli import KedroCLI
    from kedro.framework.startup import bootstrap_project

    import excise.planning
    from excise.pipelines import selection

    def began(*_, **__) -> None:
        raise AssertionError("it began to compute")

    before = os.environ.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kedro.runner.AbstractRunner, "run", began)
        patch.setattr(excise.planning, "measure_seconds", began)
        patch.chdir(project)
        command = KedroCLI(project)
        yield lambda *words: CliRunner().invoke(command, list(words))
    os.environ.clear()
    os.environ.update(before)
    selection.set_selection(None, {})
    bootstrap_project(ROOT)


@pytest.fixture
def refused(kedro: Callable[..., Result], project: Path) -> Callable[..., str]:
    """The sentence that a command ends with; it must be refused, in one sentence and without a traceback."""

    def run(*words: str, writes: bool = False) -> str:
        result = kedro(*words)
        assert isinstance(result.exception, SystemExit), f"not refused in a sentence: {result.exception!r}"
        last = result.stderr.strip().splitlines()[-1]
        assert result.exit_code in (1, 2) and "Traceback" not in result.stderr
        assert last.startswith("Error: "), result.stderr
        assert not [leak for leak in LEAKS if leak in result.stderr]
        assert writes or not (project / "data").exists(), "something was written"
        return last.removeprefix("Error: ")

    return run
