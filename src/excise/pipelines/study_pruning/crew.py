"""Several processes that make a study's rows side by side; what shares an eraser stays together."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from excise.errors import UserError

from .plan import Cell, is_carried_across
from .rows import made_once
from .shops import Shops

ACROSS = ""  # in the place of an eraser's name


@dataclass
class Crew:
    """Makes the missing rows of a study, each once and into the cache.

    Args:
        size: how many processes; each gets its share of the processor's cores.
        shops: who makes a cell; each group opens its own.
        marks: cell -> fingerprint, of the cells to make, in the plan's order.
        end: when no further row is begun, on the monotonic clock, which all processes share.
    """

    size: int
    shops: Shops
    marks: dict[Cell, str]
    end: float
    _futures: dict[tuple, Future] = field(default_factory=dict)
    _pool: ProcessPoolExecutor | None = None
    _stop: Any = None

    def wait_for(self, cell: Cell) -> None:
        """Until the cell's group is done; the first call sets all to work.

        Raises:
            Exception: whatever stopped the group.
        """
        if self._pool is None:
            self._start()
        try:
            if group_of(cell) not in self._futures:
                self._submit(lambda group: group == group_of(cell))
            self._futures[group_of(cell)].result()
        except BrokenProcessPool:
            self.dismiss()
            raise UserError(
                "A process of the study was killed, most likely for want of memory: set study.workers lower. What is "
                "finished is kept."
            ) from None
        except BaseException:
            self.dismiss()
            raise

    def dismiss(self) -> None:
        """Begin no further row; those that are being made are finished."""
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        spawn = get_context("spawn")
        self._stop = spawn.Event()
        given = (max(1, cores() // self.size), self._stop)
        self._pool = ProcessPoolExecutor(self.size, spawn, initializer=_settle, initargs=given)
        self._submit(lambda group: group[1] != ACROSS)  # what is carried over needs the erasers that these make

    def _submit(self, wanted: Callable[[tuple], bool]) -> None:
        groups: dict[tuple, list[Cell]] = {}
        for cell in self.marks:
            if wanted(group_of(cell)):
                groups.setdefault(group_of(cell), []).append(cell)
        # the longest first: none of them is left to be begun when all others have finished
        for key, cells in sorted(groups.items(), key=lambda item: -len(item[1])):
            shops = Shops(self.shops.settings, self.shops.concepts, self.shops.cache, self.shops.run_info)
            marks = {cell: self.marks[cell] for cell in cells}
            self._futures[key] = self._pool.submit(make_group, shops, marks, self.end)


def group_of(cell: Cell) -> tuple[str, str, int]:
    """Cells of one concept, eraser and training seed share X and the attack on it; those of attacks that are carried
    over from one eraser to another need several, and are a group of their own."""
    return cell.concept, ACROSS if is_carried_across(cell) else cell.eraser, cell.seed


def make_group(shops: Shops, marks: dict[Cell, str], end: float) -> None:
    """The rows of a group, one after the other, as far as the time allows."""
    for cell, mark in marks.items():
        if _stopped is not None and _stopped.is_set():
            return
        made_once(shops.cache, "cell", mark, end, lambda cell=cell: shops.row(cell))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_stopped: Any = None  # in a worker: whether the crew was dismissed


def _settle(threads: int, stopped: Any) -> None:
    """In a new process: its share of the cores, and no progress bars, which would write over each other."""
    global _stopped
    _stopped = stopped
    from excise.plugins import load_plugins

    load_plugins()
    os.environ["TQDM_DISABLE"] = "1"
    import torch

    torch.set_num_threads(threads)
