"""``kedro run`` as Kedro has it, but what the user can mend is said in one sentence and without a traceback.

``EXCISE_DEBUG=1`` brings the traceback back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import KedroCliError

from excise.errors import TRY_AGAIN, UserError, hint, refuse_unknown, short
from excise.sentences import machine_failed, sentence_of


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
            env = options["env"] or os.environ.get("KEDRO_ENV") or "local"
            check_environment(env, conf_folder(ctx))
            tell_of_unread(env, conf_folder(ctx))
            check_pipelines(options["pipelines"])
            from excise.hooks.given_id import under_given_id

            with under_given_id():
                return super().invoke(ctx)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what the user can mend into a ``click.ClickException``; anything else passes with its traceback."""
    try:
        yield
    except KedroCliError as error:  # it would show a traceback, or the lack of one
        raise click.ClickException(error.message) from error
    except click.ClickException:
        raise
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or os.environ.get("EXCISE_DEBUG") == "1":
            raise
        refused = click.ClickException(sentence)
        refused.exit_code = getattr(error, "exit_code", TRY_AGAIN if machine_failed(error) else refused.exit_code)
        raise refused from error


def conf_folder(ctx: click.Context) -> str:
    """Where configuration is read from; may be a URL or an archive."""
    from kedro.framework.project import settings

    root = ctx.obj.project_path if ctx.obj else Path.cwd()
    return ctx.params["conf_source"] or str(root / settings.CONF_SOURCE)


def check_environment(env: str, conf: str) -> None:
    """Raises UserError unless the folder for an environment exists."""
    if not Path(conf).is_dir():
        return
    known = [folder.name for folder in Path(conf).iterdir() if folder.is_dir()]
    if env not in known:  # not whether a path exists: '..' and '/tmp' do
        raise UserError(f"There is no environment '{short(env)}', no folder of that name in conf: {hint(env, known)}")


def tell_of_unread(env: str, conf: str) -> None:
    """Name what somebody wrote into conf/local and another environment does not read."""
    local = Path(conf) / "local"
    unread = [] if env == "local" else sorted(str(p.relative_to(local)) for p in local.rglob("*") if is_config(p))
    if unread:
        click.echo(
            f"Not read with --env={env}: conf/local/{', conf/local/'.join(unread)}. What of it is meant for this run "
            f"belongs into conf/{env} or an environment of its own.",
            err=True,
        )


def is_config(path: Path) -> bool:
    """Whether it is a file that Kedro reads configuration from."""
    return path.suffix in (".yml", ".yaml", ".json") and path.is_file()


def check_pipelines(names: Iterable[str]) -> None:
    """Raises UserError unless there is a name, and every name is a package in ``excise.pipelines``."""
    known = packaged_pipelines()
    names = list(names)
    for name in names:
        refuse_unknown("pipeline", name, known)
    if not names:  # all of them together make no job
        raise UserError(f"No pipeline is named: say --pipeline=NAME; known are {', '.join(known)}.")


def packaged_pipelines() -> list[str]:
    """The packages in ``excise.pipelines``, by which pipelines are named."""
    from importlib.resources import files

    folders = files("excise.pipelines").iterdir()
    return sorted(folder.name for folder in folders if (folder / "__init__.py").is_file())


def given_parameters(text: str) -> dict[str, Any]:
    """``--params`` as `kedro run` reads them."""
    from kedro.framework.cli.utils import _split_params

    context = click.get_current_context(silent=True) or click.Context(run)
    return _split_params(context, click.Option(["--params"]), text) if text else {}


run = RunCommand("run", params=kedro_run.params, callback=kedro_run.callback, help=kedro_run.help)


@click.group(name="excise")
def cli() -> None:
    """Commands of this project."""


cli.add_command(run)


@cli.command()
@click.option("--env", "-e", default=None, help="Kedro environment to read the grids' parameters from.")
@click.option("--params", default="", help="The grids' parameters that differ, as in `kedro run`.")
@click.option("--run", "again", is_flag=True, help="Make again what is stale in data/, and nothing else.")
@click.pass_obj
def stale(metadata: Any, env: str | None, params: str, again: bool) -> None:
    """Which results no longer match code, parameters and inputs: those in data/, and the committed grids' rows."""
    with one_sentence():
        from excise.commands.stale import find_stale, run_stale, spell_stale

        root = metadata.project_path if metadata else Path.cwd()
        if again and (env or params):
            raise UserError(
                "With --run neither --env nor --params is taken: every command is run again as it was given; change "
                "the configuration, or give `kedro run` the parameters."
            )
        from kedro.framework.project import settings

        check_environment(env or os.environ.get("KEDRO_ENV") or "local", str(root / settings.CONF_SOURCE))
        given_parameters(params)  # what cannot be read is refused before anything is listed
        states, untold = find_stale(root)
        for line in spell_stale(states, untold):
            click.echo(line)
        if again:
            for line in run_stale(root, states):
                click.echo(line)
            return
        with _context(root, env, params) as context:
            typed = "".join(f" --{name}={value}" for name, value in (("env", env), ("params", params)) if value)
            for line in stale_grids(context.params, context.catalog, typed):
                click.echo(line)


@cli.command()
@click.argument("what", required=False)
@click.option("--no-rejudge", is_flag=True, help="Leave stored pictures unjudged.")
@click.option("--redraw", default=0, type=click.IntRange(min=0), help="Draw so many pictures again, and compare bits.")
@click.pass_obj
def verify(metadata: Any, what: str | None, no_rejudge: bool, redraw: int) -> None:
    """Make a result again from what is stored, and compare; exit code 1 where something differs.

    WHAT is a run's id, a file below data/ that a run saved, or the rows of a grid (docs/results.json,
    docs/benchmark.json, docs/neurons.json, an environment's in docs/<env>); unless given, the newest run.
    """
    with one_sentence():
        from excise.commands.verify import holds_rows, run_of, verify_rows, verify_run

        root = metadata.project_path if metadata else Path.cwd()
        if what and holds_rows(root / what):
            findings = verify_rows(root / what)
        else:
            run = run_of(root, what)
            click.echo(f"Run {run}")
            findings = verify_run(root, run, not no_rejudge, redraw)
        counts = dict.fromkeys(("agrees", "differs", "unchecked"), 0)
        for finding in findings:
            counts[finding.outcome] += 1
            click.echo(str(finding))
        told = f"{counts['agrees']} checks agree, {counts['differs']} differ, {counts['unchecked']} could not be made."
        click.echo(told)
        if counts["differs"]:
            raise click.exceptions.Exit(1)


def _plain(value: Any) -> Any:
    """Parameters as they are written: Kedro hands out checked models."""
    if hasattr(value, "model_dump"):
        return value.model_dump()
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def stale_grids(params: dict[str, Any], catalog: Any, typed: str = "") -> Iterator[str]:
    """For each grid that has committed rows, how it stands; see ``pipelines.study_pruning.stale``.

    Args:
        typed: options that the command which mends it takes, too.
    """
    from excise.cache import Cache
    from excise.models import ModelSpec
    from excise.pipelines.benchmark.nodes import BenchmarkOptions
    from excise.pipelines.erase.nodes import NeuronOptions
    from excise.pipelines.silence_neurons.nodes import plan_benches
    from excise.pipelines.silence_neurons.plan import SilencingOptions
    from excise.pipelines.study_pruning.plan import StudyOptions
    from excise.pipelines.study_pruning.stale import compare_cells, compare_rows, spell

    params = _plain(params)
    given = {name: params[name] for name in ("erasers", "attacks", "prune", "seed")}
    given |= {"model": ModelSpec.model_validate(params["model"])}
    given |= {"neurons": NeuronOptions.model_validate(params["neurons"])}
    given |= {"concepts": catalog["concepts"].load(), "cache": Cache("data/cache"), "run_info": {}}
    for pipeline, options, committed in (
        ("study_pruning", StudyOptions, "study.committed"),
        ("benchmark", BenchmarkOptions, "benchmark.committed"),
    ):
        rows = catalog[committed].load()
        if not rows:
            yield f"{committed.partition('.')[0]}: no rows are committed."
            continue
        found = compare_rows(options.model_validate(params[options.section]), rows, **given)
        yield spell(committed.partition(".")[0], pipeline + typed, found)
    if rows := catalog["silencing.committed"].load():
        plan = SilencingOptions.model_validate(params["silencing"])
        cells, benches = plan_benches(plan, *(given[n] for n in ("concepts", "model", "seed", "cache", "run_info")))
        yield spell("silencing", "silence_neurons" + typed, compare_cells(cells, benches, rows))


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
        if version.tags.get("gate") == "failed":
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


@cli.command()
@click.option("--to", "folder", default="dags", show_default=True, help="Folder that Airflow reads.")
@click.option("--env", "-e", default=None, help="Kedro environment to read airflow.yml from.")
@click.argument("names", nargs=-1)
@click.pass_obj
def dags(metadata: Any, folder: str, env: str | None, names: tuple[str, ...]) -> None:
    """Write a file for Airflow for each DAG in airflow.yml, or for those that are named."""
    with one_sentence():
        for line in write_dags(metadata.project_path if metadata else Path.cwd(), Path(folder), env, names):
            click.echo(line)


def write_dags(root: Path, folder: Path, env: str | None, names: Iterable[str]) -> Iterator[str]:
    """A DAG file for each name (all, if there is none); what they hold is said line by line."""
    import sys

    from excise.cache import write_atomically
    from excise.errors import refuse_unknown
    from excise.scheduling import dag_source, plan_tasks, read_options

    env = env or os.environ.get("KEDRO_ENV")  # an Airflow worker need not have the variable
    with _context(root, env) as context:
        known = read_options(context.config_loader["airflow"], packaged_pipelines())
    for name in names:
        refuse_unknown("DAG", name, known)
    if folder == Path():
        raise UserError("There is no folder to write to: leave out --to, or name one.")
    folder = root / folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or known:
        options = known[name]
        from excise.hooks.parameters import parameters_are_known
        from excise.pipelines.tasks import describe_nodes, kept_on_disk

        params = ",".join(f"{key}={value}" for key, value in options.params.items())
        with _context(root, options.env or env, params) as context:
            from kedro.framework.project import pipelines

            pipeline = pipelines[options.pipeline]
            nodes = describe_nodes(pipeline, options.shards.model_dump())
            given = given_parameters(params)
            parameters_are_known({"runtime_params": given}, context.catalog, pipeline)
            tasks = plan_tasks(nodes, kept_on_disk(context.catalog, pipeline.all_outputs()))
        path = folder / f"excise_{name}.py"
        source = dag_source(name, options.model_copy(update={"env": options.env or env}), tasks, root, sys.executable)
        write_atomically(path, lambda draft, source=source: draft.write_text(source))
        shards = sum(task.shards for task in tasks if task.shards > 1)
        cut = f" and {shards} shards" if shards else ""
        yield f"excise.{name}: {len(tasks)} tasks{cut}, {options.schedule or 'started by hand'}; {path}"


@contextmanager
def _context(root: Path, env: str | None, params: str = "") -> Iterator[Any]:
    """The project's context, with the pipelines that these parameters choose."""
    from kedro.framework.project import settings
    from kedro.framework.session import KedroSession

    check_environment(env or os.environ.get("KEDRO_ENV") or "local", str(root / settings.CONF_SOURCE))
    given = given_parameters(params)
    with KedroSession.create(root, env=env, runtime_params=given) as session:
        yield session.load_context()
