"""``kedro run`` as Kedro has it, but what the user can mend is said in one sentence and without a traceback.

``EXCISE_DEBUG=1`` brings the traceback back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from excise.errors import UserError


class RunCommand(click.Command):
    """Kedro's command, with errors told in one sentence and exit code 1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with one_sentence():
            try:
                return super().parse_args(ctx, args)
            except click.UsageError as error:
                if type(error) is not click.UsageError:  # unknown options and the like are click's to explain
                    raise
                raise UserError(error.message) from None

    def invoke(self, ctx: click.Context) -> Any:
        with one_sentence():
            options = ctx.params
            if options["pipeline"] and not options["pipelines"]:  # the older spelling stays welcome: no warning
                options["pipelines"], options["pipeline"] = [options["pipeline"]], None
            check_environment(options["env"] or os.environ.get("KEDRO_ENV") or "local", conf_folder(ctx))
            check_pipelines(options["pipelines"])
            from excise.hooks.given_id import under_given_id

            with under_given_id():
                return super().invoke(ctx)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what the user can mend into a ``click.ClickException``; anything else passes with its traceback."""
    try:
        yield
    except click.ClickException:
        raise
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or os.environ.get("EXCISE_DEBUG") == "1":
            raise
        refused = click.ClickException(sentence)
        refused.exit_code = getattr(error, "exit_code", refused.exit_code)
        raise refused from error


def sentence_of(error: BaseException) -> str | None:
    """The sentence for a user, or None if this is not the user's to mend; causes are looked at too."""
    from kedro.validation import ParameterValidationError
    from omegaconf.errors import OmegaConfBaseException
    from pydantic import ValidationError
    from yaml import YAMLError

    sentences = {
        UserError: str,
        ParameterValidationError: _wrong_parameter,
        ValidationError: _wrong_value,
        OmegaConfBaseException: lambda e: f"The configuration or --params cannot be read: {_one_line(e)}",
        YAMLError: lambda e: f"A configuration file is not valid YAML: {_one_line(e)}",
    }
    while error is not None:
        for kind, say in sentences.items():
            if isinstance(error, kind):
                return say(error)
        error = error.__cause__
    return None


def conf_folder(ctx: click.Context) -> str:
    """Where configuration is read from; may be a URL or an archive."""
    from kedro.framework.project import settings

    root = ctx.obj.project_path if ctx.obj else Path.cwd()
    return ctx.params["conf_source"] or str(root / settings.CONF_SOURCE)


def check_environment(env: str, conf: str) -> None:
    """Raises UserError unless the folder for an environment exists."""
    if Path(conf).is_dir() and not (Path(conf) / env).is_dir():
        known = [folder.name for folder in Path(conf).iterdir() if folder.is_dir()]
        raise UserError(f"There is no environment '{env}', since there is no folder conf/{env}: {_hint(env, known)}")


def check_pipelines(names: Iterable[str]) -> None:
    """Raises UserError unless every name is a package in ``excise.pipelines``."""
    from importlib.resources import files

    folders = files("excise.pipelines").iterdir()
    known = [folder.name for folder in folders if (folder / "__init__.py").is_file()]
    for name in names:
        if name not in (*known, "__default__"):
            raise UserError(f"There is no pipeline '{name}': {_hint(name, known)}")


def _hint(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(known))}."


# what Kedro keeps of pydantic's error is its text
_WRONG_PARAMETER = re.compile(
    r"Parameter '(?P<key>[^']+)': .*\n(?P<loc>\S+\n)?  (?P<message>.+) "
    r"\[type=(?P<type>\w+), input_value=(?P<value>.*), input_type=\w+\]"
)
_PLAINER = {"missing": "is missing", "extra_forbidden": "does not exist; remove it or correct its name"}


def _wrong_parameter(error: Exception) -> str:
    match = _WRONG_PARAMETER.search(str(error))
    if match is None:
        return _one_line(str(error).removeprefix("Parameter validation failed:").strip().removeprefix("- "))
    name = ".".join(filter(None, [match["key"], (match["loc"] or "").strip()]))
    return _say_wrong(name, match["type"], match["value"], match["message"])


def _wrong_value(error: Any) -> str:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"])) or error.title
    return _say_wrong(name, first["type"], repr(first.get("input")), first["msg"])


def _say_wrong(name: str, kind: str, value: str, message: str) -> str:
    if kind in _PLAINER:
        return f"Parameter '{name}' {_PLAINER[kind]}."
    message = message.removeprefix("Value error, ").removesuffix(".")
    return f"Parameter '{name}' cannot be {value}: {message[0].lower()}{message[1:]}."


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


run = RunCommand("run", params=kedro_run.params, callback=kedro_run.callback, help=kedro_run.help)


@click.group(name="excise")
def cli() -> None:
    """Commands of this project."""


cli.add_command(run)


@cli.command()
@click.option("--env", "-e", default=None, help="Kedro environment to read parameters from.")
@click.option("--params", default="", help="Parameters that differ, as in `kedro run`.")
@click.pass_obj
def stale(metadata: Any, env: str | None, params: str) -> None:
    """Which committed results no longer match code, parameters and inputs. Nothing is run."""
    from kedro.framework.cli.utils import _split_params
    from kedro.framework.session import KedroSession

    with one_sentence():
        root = metadata.project_path if metadata else Path.cwd()
        given = _split_params(None, None, params) if params else {}
        with KedroSession.create(root, env=env, runtime_params=given) as session:
            context = session.load_context()
            for line in stale_grids(context.params, context.catalog):
                click.echo(line)


def _plain(value: Any) -> Any:
    """Parameters as they are written: Kedro hands out checked models."""
    if hasattr(value, "model_dump"):
        return value.model_dump()
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def stale_grids(params: dict[str, Any], catalog: Any) -> Iterator[str]:
    """For each grid that has committed rows, how it stands; see ``pipelines.study_pruning.stale``."""
    from excise.cache import Cache
    from excise.models import ModelSpec
    from excise.pipelines.benchmark.nodes import BenchmarkOptions
    from excise.pipelines.erase.nodes import NeuronOptions
    from excise.pipelines.study_pruning.plan import StudyOptions
    from excise.pipelines.study_pruning.stale import compare_rows, spell

    params = _plain(params)
    given = {name: params[name] for name in ("erasers", "attacks", "prune", "seed")}
    given |= {"model": ModelSpec.model_validate(params["model"])}
    given |= {"neurons": NeuronOptions.model_validate(params["neurons"])}
    given |= {"concepts": catalog["concepts"].load(), "cache": Cache("data/cache"), "run_info": {}}
    for pipeline, options, committed in (
        ("study_pruning", StudyOptions, "study.committed"),
        ("benchmark", BenchmarkOptions, "benchmark.committed"),
    ):
        rows = catalog[committed].load() if catalog[committed].exists() else []
        found = compare_rows(options.model_validate(params[options.section]), rows, **given)
        yield spell(committed.partition(".")[0], pipeline, found)


@cli.command()
@click.argument("name", required=False)
@click.option("--rollback", is_flag=True, help="Give the title back to the version that was champion before.")
@click.pass_obj
def champion(metadata: Any, name: str | None, rollback: bool) -> None:
    """Which eraser is the champion, and which versions there were; NAME is a concept or a registered model."""
    from excise.hooks.registry import MlflowRegistry, store_is_there, store_uri

    with one_sentence():
        root = metadata.project_path if metadata else Path.cwd()
        registry = MlflowRegistry(root)
        names = registry.names() if store_is_there(store_uri(root)) else []
        chosen = [n for n in names if name is None or name in (n, n.rpartition(".")[2])]
        if not chosen:
            known = f"known are {', '.join(names)}." if names else "`kedro run --pipeline=retrain` registers the first."
            raise UserError(f"There is no registered eraser{f' {name!r}' if name else ''}: {known}")
        if rollback:
            if len(chosen) > 1:
                raise UserError(f"Name what is to be rolled back: {', '.join(chosen)}.")
            back, now = registry.roll_back(chosen[0])
            click.echo(f"Champion of {chosen[0]}: version {now.number} (run {now.run}), no longer {back.number}.")
            return
        for one in chosen:
            click.echo("\n".join(history(one, registry.versions(one))))


def history(name: str, versions: Iterable[Any]) -> Iterator[str]:
    """A line a version, the champion marked with a star, and below it where its file is and what the gate said."""
    versions = list(versions)
    none = "" if any(v.champion for v in versions) else " (no champion)"
    yield f"{name}{none}"
    for version in versions:
        back = ", rolled back" if "champion.rolled_back" in version.tags else ""
        hits = ", ".join(
            f"{k.removeprefix('hits.').replace('_', ' ')} {v}"
            for k, v in sorted(version.tags.items())
            if k.startswith("hits.")
        )
        mark, eraser, gate = ("*" if version.champion else " "), version.tags.get("eraser"), version.tags.get("gate")
        yield f"{mark} {version.number:>3}  {version.run}  {eraser}  gate {gate}{back}  ({hits})"
        if version.champion:
            yield f"       MLflow run {version.mlflow_run}, file in {version.source}"
        elif version.tags.get("gate") == "failed":
            yield f"       {version.sentence}"


@cli.command()
@click.argument("id_", metavar="ID")
@click.pass_obj
def find(metadata: Any, id_: str) -> None:
    """What belongs together: give the ID of a Kedro run, an Airflow DAG run or an MLflow run."""
    from excise.hooks.finding import find_run

    with one_sentence():
        for line in find_run(metadata.project_path if metadata else Path.cwd(), id_):
            click.echo(line)
