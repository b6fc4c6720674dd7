"""What the machine runs into is said in one sentence, however deep in Kedro's errors it lies."""

from __future__ import annotations

import click
import pytest
from kedro.io import DatasetError
from safetensors import SafetensorError

from excise.cli import one_sentence
from excise.errors import TRY_AGAIN, GateError, UserError
from excise.sentences import sentence_of


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "The disk is full"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "The disk is full",
        ),
        (OSError(122, "Disk quota exceeded"), "The disk is full"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "The GPU's memory does not suffice"),
        (RuntimeError("CUDA error: unspecified launch failure"), "The GPU failed or was lost"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            "The memory does not suffice",
        ),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_machines_troubles_are_one_sentence_that_says_what_to_do(error, said, wrapped):
    if wrapped:
        outer = DatasetError("Failed while saving data to dataset")
        outer.__cause__ = error
        error = outer
    sentence = sentence_of(error)
    assert sentence is not None and sentence.startswith(said) and "the same command again" in sentence
    assert sentence.endswith("is kept.") and "\n" not in sentence
    assert exit_code(error) == TRY_AGAIN


def exit_code(error: Exception) -> int:
    with pytest.raises(click.ClickException) as refused, one_sentence():
        raise error
    return refused.value.exit_code


def test_what_a_person_has_to_mend_is_not_to_be_tried_again():
    wrapped = DatasetError("Failed while loading data")
    wrapped.__cause__ = UserError("There is no eraser 'esdd'.")
    own = UserError("The folder cannot be written: name another.")
    own.__cause__ = OSError(28, "No space left on device")
    assert [exit_code(e) for e in (own, wrapped, GateError("y"))] == [1, 1, GateError.exit_code]
    assert TRY_AGAIN not in (0, 1, 2, GateError.exit_code)


def test_a_users_own_words_are_not_taken_for_the_machines():
    assert sentence_of(UserError("Call the file 'CUDA error' otherwise.")) == "Call the file 'CUDA error' otherwise."
    assert sentence_of(RuntimeError("a defect")) is None


@pytest.mark.parametrize(
    ("number", "why"), [(30, "written, its disk is read-only"), (13, "read or written by this user"), (1, "read or")]
)
def test_a_file_that_may_not_be_touched_is_named(number, why):
    sentence = sentence_of(OSError(number, "Operation refused", "/data/one.json"))
    assert sentence is not None and sentence.startswith(f"'/data/one.json' cannot be {why}")
    assert sentence_of(OSError(5, "Input/output error", "/data/one.json")) is None
