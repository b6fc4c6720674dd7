"""Tasks hold every node once, wait for what they read, and never for each other."""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from excise.errors import TRY_AGAIN, UserError
from excise.scheduling import DagOptions, NodeInfo, dag_source, plan_tasks, read_options
from excise.scheduling.options import Shards


def info(name: str, inputs: str = "", outputs: str | None = None, namespace: str = "", shards: int = 1) -> NodeInfo:
    made = frozenset((name + ".out" if outputs is None else outputs).split())
    return NodeInfo(name, frozenset(inputs.split()), made, namespace, shards)


def random_nodes(seed: int) -> list[NodeInfo]:
    """A graph in an order in which it can run."""
    rng, nodes = random.Random(seed), []
    for i in range(rng.randint(1, 40)):
        inputs = " ".join(f"n{j}.out" for j in range(i) if rng.random() < 2 / (i + 1))
        nodes.append(info(f"n{i}", inputs, namespace=rng.choice("abc"), shards=rng.choice([1, 1, 1, 3])))
    return nodes


@pytest.mark.parametrize("seed", range(40))
def test_any_graph_becomes_tasks_that_can_run_one_after_the_other(seed):
    nodes = random_nodes(seed)
    persisted = {name for node in nodes for name in node.outputs}
    tasks = plan_tasks(nodes, persisted)
    assert sorted(n for task in tasks for n in task.nodes) == sorted(n.name for n in nodes)
    assert len({task.id for task in tasks}) == len(tasks)
    by_name = {node.name: node for node in nodes}
    ready: set[str] = set()
    ended: set[str] = set()
    for task in tasks:  # in the order in which they are listed
        assert set(task.after) <= ended
        # what it reads of others is there, and said; and inside it nodes run in order
        own: set[str] = set()
        for name in task.nodes:
            assert by_name[name].inputs <= ready | own
            own |= by_name[name].outputs
        read = {i for name in task.nodes for i in by_name[name].inputs}
        assert set(task.loads) == read & ready - own
        # exactly the tasks that make something it reads
        makers = {t.id for t in tasks for n in t.nodes if by_name[n].outputs & read} - {task.id}
        assert set(task.after) == makers
        ready |= own
        ended.add(task.id)
    for task in tasks:
        assert task.shards == 1 or len(task.nodes) == 1


def test_nodes_of_a_namespace_go_together_around_work_that_is_cut():
    nodes = [
        info("a.first", namespace="a"),
        info("a.second", "a.first.out", namespace="a"),
        info("a.cut", "a.second.out", namespace="a", shards=4),
        info("a.last", "a.cut.out a.first.out", namespace="a"),
    ]
    persisted = {name for node in nodes for name in node.outputs}
    first, cut, last = plan_tasks(nodes, persisted)
    assert first.nodes == ("a.first", "a.second") and first.loads == ()
    assert (cut.id, cut.shards, cut.after) == ("a.cut", 4, ("a",))
    assert last.loads == ("a.cut.out", "a.first.out") and set(last.after) == {"a", "a.cut"}


def test_what_lives_in_memory_is_handed_over_by_no_task():
    nodes = [info("one", namespace="a"), info("two", "one.out", namespace="b")]
    with pytest.raises(UserError, match=r"'one.out' is not in the catalog"):
        plan_tasks(nodes, set())
    assert len(plan_tasks([nodes[0], info("two", "one.out", namespace="a")], set())) == 1


def test_options_are_the_files_laid_over_the_default():
    config = {
        "default": {"retries": 7, "shards": {"draw": 2}},
        "erase": {"schedule": "@daily"},
        "style": {"pipeline": "erase", "params": {"concept": "fluent"}},
    }
    found = read_options(config, ["erase", "report"])
    assert sorted(found) == ["erase", "report", "style"]
    assert found["style"].pipeline == "erase" and found["report"].retries == 7
    assert found["erase"].schedule == "@daily" and found["erase"].shards == Shards(draw=2)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"weekly": {"pipeline": "eraze"}}, "did you mean 'erase'"),
        ({"wekly": {}}, "runs 'wekly', and there is none"),
        ({"erase": {"schedul": "@daily"}}, r"erase.schedul: does not exist"),
        ({"erase": {"shards": {"draw": 0}}}, r"erase.shards.draw: "),
        ({"../up": {"pipeline": "erase"}}, "cannot name a DAG"),
        ({"erase": {"params": {"concept": "a,b"}}}, "cannot be given on a command line"),
        ({"erase": {"params": {"shard": "1/2"}}}, "'shard' is not for a DAG"),
        ({"erase": {"retry_minutes": float("inf")}}, "erase.retry_minutes: "),
        ({"erase": {"schedule": "every friday"}}, "is neither five fields of cron nor one of"),
        ({"erase": {"schedule": "* * * *"}}, "is neither five fields of cron nor one of"),
        ({"erase": {"schedule": "@continuous", "max_active_runs": 5}}, "@continuous allows one run at a time"),
        ({"erase": {"tags": ["a" * 101]}}, "erase.tags.0: "),
        ({"erase": {"start_date": "0001-01-01"}}, "erase.start_date: "),
        ({"default": 5}, "'default' must have options below it, and it is 5"),
        ({"erase": "weekly"}, "'erase' must have options below it"),
    ],
)
def test_wrong_options_are_refused(config, sentence):
    with pytest.raises(UserError, match=sentence):
        read_options(config, ["erase", "report"])


def test_a_file_is_python_whatever_the_names(tmp_path):
    options = DagOptions(pipeline="erase", params={"concept": 'o\'brien "x"'}, tags=["a'b"], schedule="0 3 * * 1")
    tasks = plan_tasks([info("one", namespace="it's")], set())
    source = dag_source("erase", options, tasks, tmp_path / "it's", tmp_path / "python")
    compile(source, "dag.py", "exec")
    assert str(tmp_path) in source


class StoppedError(Exception):
    """Stands for Airflow's own, after which nothing is tried again."""


@pytest.mark.parametrize(
    ("prints", "code", "raised"),
    [
        ("Error: There is no eraser 'esdd'.", 1, StoppedError),
        ("Error: The gate is not passed.", 3, StoppedError),
        ("Error: The GPU failed or was lost.", TRY_AGAIN, RuntimeError),
        ("Traceback (most recent call last):", 1, RuntimeError),
        ("all is well", 0, None),
    ],
)
def test_a_task_is_tried_again_where_that_may_help(tmp_path, monkeypatch, prints, code, raised):
    """The file itself, with a program in the place of kedro, and of Airflow no more than the names it imports."""
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\necho "{prints}"\nexit {code}\n')
    program.chmod(0o755)
    due = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    run = SimpleNamespace(run_after=due, logical_date=due, run_id="by hand")
    sdk = ModuleType("airflow.sdk")
    sdk.dag, sdk.task, sdk.get_current_context = lambda **_: lambda build: lambda: None, None, lambda: {"dag_run": run}
    exceptions = ModuleType("airflow.sdk.exceptions")
    exceptions.AirflowFailException = StoppedError
    for module in (ModuleType("airflow"), sdk, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    made: dict[str, Any] = {"__name__": "dag"}
    tasks = plan_tasks([info("one")], set())
    exec(dag_source("erase", DagOptions(pipeline="erase"), tasks, tmp_path, program), made)
    if raised is None:
        assert made["kedro_run"](["one"], []).startswith("2026-01-31T09.30.00.")
    else:
        with pytest.raises(raised):
            made["kedro_run"](["one"], [])
