"""Which nodes make a task.

Nodes of one namespace go together as far as no other task lies between them: starting a process and loading a model
takes seconds. Work that is cut into shards stands alone, with its shards before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from excise.errors import UserError


@dataclass(frozen=True)
class NodeInfo:
    """A node of a pipeline, in whatever order.

    Attributes:
        shards: into how many its work is cut.
    """

    name: str
    inputs: frozenset[str]
    outputs: frozenset[str]
    namespace: str = ""
    shards: int = 1


@dataclass(frozen=True)
class Task:
    """What one process runs.

    Attributes:
        id: unique in its DAG.
        nodes: their names, in the order in which they run.
        loads: what it reads of other tasks of the same run.
        after: the tasks that must have ended.
        shards: how many processes share the work out before it.
    """

    id: str
    nodes: tuple[str, ...]
    loads: tuple[str, ...]
    after: tuple[str, ...]
    shards: int = 1


def plan_tasks(nodes: Sequence[NodeInfo], persisted: Iterable[str]) -> list[Task]:
    """Tasks, each after those that it waits for.

    Args:
        nodes: all of a pipeline, in an order in which they can run.
        persisted: data sets that outlive a process.

    Raises:
        UserError: something would have to travel in memory from one process to another.
    """
    if not nodes:
        return []
    makers = {output: i for i, node in enumerate(nodes) for output in node.outputs}
    before = [sorted({makers[name] for name in node.inputs if name in makers}) for node in nodes]
    groups = _grouped(nodes, before)
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    waits = {g: {groups[j] for i in rows for j in before[i]} - {g} for g, rows in members.items()}
    ids: dict[int, str] = {}
    tasks = []
    for group in _in_order(waits):
        rows = members[group]
        own = {name for i in rows for name in nodes[i].outputs}
        loads = {name for i in rows for name in nodes[i].inputs if name in makers} - own
        if lost := sorted(loads - set(persisted)):
            raise UserError(
                f"'{lost[0]}' is not in the catalog, so it cannot go from one task to another: add an entry for it."
            )
        ids[group] = _name([nodes[i] for i in rows], set(ids.values()))
        tasks.append(
            Task(
                ids[group],
                tuple(nodes[i].name for i in rows),
                tuple(sorted(loads)),
                tuple(sorted(ids[g] for g in waits[group])),
                nodes[rows[0]].shards,
            )
        )
    return tasks


def _grouped(nodes: Sequence[NodeInfo], before: list[list[int]]) -> list[int]:
    """A number for each node, the same for those that go together; no two groups wait for each other."""
    groups: list[int] = []
    ancestors: list[set[int]] = []  # of a group: the groups that it waits for, directly or not
    own: dict[str, list[int]] = {}  # the groups of a namespace, the latest last
    for i, node in enumerate(nodes):
        waits = {groups[j] for j in before[i]}
        behind = waits.union(*(ancestors[g] for g in waits))
        # a group that the node waits for through others cannot take it in: it would wait for itself
        fits = [g for g in own.get(node.namespace, []) if not any(g in ancestors[w] for w in waits - {g})]
        if node.shards > 1 or not fits:
            group = len(ancestors)
            ancestors.append(behind)
            if node.shards == 1:
                own.setdefault(node.namespace, []).append(group)
        else:
            group = fits[-1]
            new = behind - {group}
            for others in [ancestors[group], *(a for a in ancestors if group in a)]:
                others |= new
        groups.append(group)
    return groups


def _in_order(waits: dict[int, set[int]]) -> list[int]:
    from graphlib import TopologicalSorter

    return list(TopologicalSorter({g: sorted(waits[g]) for g in waits}).static_order())


def _name(nodes: list[NodeInfo], taken: set[str]) -> str:
    """A node's own name, or the namespace that nodes share; Airflow allows letters, digits, and - . _"""
    spaces = sorted({node.namespace for node in nodes}, key=lambda s: (s.count("."), s))
    name = nodes[0].name if len(nodes) == 1 else spaces[0] or "all"
    name = re.sub(r"[^\w.-]", "_", name)
    return name if name not in taken else next(n for k in range(2, 10_000) if (n := f"{name}-{k}") not in taken)
