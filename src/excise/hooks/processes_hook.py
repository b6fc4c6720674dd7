"""``processes: N``: before a node that draws, attacks or judges, N processes share out its work."""

from __future__ import annotations

from typing import Any

from kedro.framework.hooks import hook_impl

from excise.shards import WHOLE


class ProcessesHook:
    """Starts them; the node then finds all of its work done in the cache."""

    def __init__(self) -> None:
        self._asked: Any = 1
        self._count = 1
        self._words: list[str] = []
        self._source: list[str] = []

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Note what is asked."""
        from .account import other_source

        self._asked = context.params.get("processes", 1)
        self._source = other_source(context)

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        """Note with which parameters others would do this run."""
        self._count = 1
        if self._asked == 1 or catalog["cache"].load().shard != WHOLE:
            return
        from excise.processes import RANKED, count_processes

        from .account import flat, spelled

        self._count = count_processes(self._asked)
        names = run_params.get("pipeline_names") or ["__default__"]
        params = {k: v for k, v in flat(run_params.get("runtime_params") or {}) if k != "processes"}
        given = ",".join(f"{k}={spelled(v)}" for k, v in (params | {"shard": RANKED, "processes": 1}).items())
        self._words = ["run", f"--pipelines={','.join(names)}", f"--params={given}"]
        self._words += [f"--env={run_params['env']}"] if run_params.get("env") else []
        self._words += self._source

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Any, catalog: Any) -> None:
        """Have the node's shards done."""
        from excise.pipelines.names import SHARDED

        if self._count == 1 or not node.tags & set(SHARDED.values()):
            return
        from excise.processes import launch

        versioned = {
            name: catalog[name] for name in node.inputs if getattr(catalog[name], "_version", None) is not None
        }
        loads = ",".join(f"{name}:{one.resolve_load_version()}" for name, one in sorted(versioned.items()))
        _make_room()
        launch(self._count, [*self._words, f"--nodes={node.name}", f"--load-versions={loads}"])


def _make_room() -> None:
    """Let go of the model that this process keeps: another one takes its place on the GPU."""
    import gc

    import torch

    from excise.pipelines.erase.nodes import forget_model

    forget_model()
    gc.collect()
    torch.cuda.empty_cache()
