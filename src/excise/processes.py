"""Several processes on one machine, one a GPU, that share out a node's work: accelerate tells them apart.

Each does its shard and leaves it in the cache; the process that started them puts the whole together.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from excise.errors import UserError
from excise.shards import Shard

RANKED = "accelerate"  # the value of the parameter ``shard`` with which a process takes the shard of its rank


def count_processes(asked: object) -> int:
    """How many processes share out the work.

    Args:
        asked: the parameter ``processes``: a number, or "auto" for one a GPU (one altogether where there is none).

    Raises:
        UserError: it is neither, or there are fewer GPUs.
    """
    import torch

    gpus = torch.cuda.device_count()
    if asked == "auto":
        return max(gpus, 1)
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise UserError(f"The parameter 'processes' cannot be {asked!r}: give a number from 1, or auto for one a GPU.")
    if gpus and asked > gpus:
        raise UserError(f"The parameter 'processes' is {asked}, and there are {gpus} GPUs: set it to auto.")
    return asked


def own_shard() -> Shard:
    """The shard of this process by its rank; its GPU becomes the one that ``cuda`` means."""
    import torch
    from accelerate import PartialState

    if "WORLD_SIZE" not in os.environ:
        raise UserError(
            f"The parameter 'shard' is {RANKED}, and nothing has started several processes: write it as in '2/4'."
        )
    state = PartialState(cpu=not torch.cuda.is_available())
    return Shard(state.process_index + 1, state.num_processes)


def leave_group() -> None:
    """End this process's part in the group of processes, if there is one."""
    import torch.distributed as group

    if group.is_available() and group.is_initialized():
        group.destroy_process_group()


def launch(count: int, words: Sequence[str]) -> None:
    """Run ``kedro`` with these words in so many processes, and wait for them.

    Raises:
        RuntimeError: one of them failed; what the others have done lies in the cache.
    """
    import torch

    # what `accelerate launch` runs for several GPUs, which does the same on a CPU
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    # they save nothing: what they did is recorded by the process that waits for them
    inner = {k: v for k, v in os.environ.items() if k != "EXCISE_RUN_ID"} | {"EXCISE_MLFLOW": "off"}
    inner.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # sums of other threads differ in their last bits
    done = subprocess.run([*command, "-m", "kedro", *words], env=inner)
    if done.returncode:
        raise RuntimeError(f"one of {count} processes ended with exit code {done.returncode}; its output stands above")
