"""A row's peak memory is its own."""

from __future__ import annotations

import numpy as np
import pytest

from excise.pipelines.study_pruning.memory import FORGET, forget_peak
from excise.pipelines.study_pruning.workshop import peak_mb


@pytest.mark.skipif(not FORGET.exists(), reason="only Linux lets a process forget its peak")
def test_what_was_taken_before_is_no_part_of_a_row() -> None:
    forget_peak()
    before = peak_mb()
    np.ones(2**25)  # 256 MiB, and given back
    assert peak_mb() > before + 200
    forget_peak()
    assert peak_mb() < before + 100
    np.ones(2**24)
    assert before + 100 < peak_mb() < before + 200
