"""What a scheduler has to know of a pipeline."""

from __future__ import annotations

from typing import Any

from excise.pipelines.names import SHARDED
from excise.scheduling.plan import NodeInfo


def describe_nodes(pipeline: Any, shards: dict[str, int]) -> list[NodeInfo]:
    """A Kedro pipeline's nodes, in an order in which they can run.

    Args:
        shards: kind of work -> into how many tasks it is cut.
    """
    cuts = {tag: shards[kind] for kind, tag in SHARDED.items()}
    return [
        NodeInfo(
            node.name,
            frozenset(node.inputs),
            frozenset(node.outputs),
            node.namespace or "",
            max((cuts[tag] for tag in node.tags & set(cuts)), default=1),
        )
        for node in pipeline.nodes
    ]


def kept_on_disk(catalog: Any, names: set[str]) -> set[str]:
    """Those data sets that outlive a process."""
    from kedro.io import MemoryDataset

    return {name for name in names if name in catalog and not isinstance(catalog[name], MemoryDataset)}
