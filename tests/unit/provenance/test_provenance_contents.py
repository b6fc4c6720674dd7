"""Two runs that make the same say the same, whatever their ids are."""

from __future__ import annotations

import json

import pytest
import torch

from excise.erasers import Eraser
from excise.errors import UserError
from excise.provenance import content_of, file_sha256, read_run
from excise.provenance.rows import wrong_row

HEADER = {"method": "esd", "base": {"name": "m", "sha256": "a"}, "versions": {"torch": "1"}, "run_id": "one"}


def saved(path, **header):
    Eraser({**HEADER, **header}, {"w": torch.arange(4.0)}, {"w": torch.tensor([True, False, False, True])}).save(path)
    return path


def test_an_eraser_made_again_says_the_same(tmp_path):
    one = saved(tmp_path / "one.safetensors")
    again = saved(tmp_path / "two.safetensors", run_id="two", versions={"torch": "2"}, made_of={"code": "b"})
    assert content_of(one) == content_of(again) and file_sha256(one) != file_sha256(again)
    assert content_of(one) != content_of(saved(tmp_path / "three.safetensors", method="ac"))
    data = bytearray(one.read_bytes())
    data[-1] ^= 1
    one.write_bytes(data)
    assert content_of(one) != content_of(again)


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 40, b"\x02" + b"\0" * 7 + b"[]", b"\x14" + b"\0" * 7 + b'{"__metadata__": 1}  ']
)
def test_what_is_no_safetensors_file_says_nothing(tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"safetensors|Expecting"):
        content_of(path)


def test_metrics_count_without_cost_and_run(tmp_path):
    def metrics(**over):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(json.dumps({"erasers": {"none": 1}, "cost": {"a": 1}, "run": {"id": "one"}} | over))
        return content_of(path)

    assert metrics() == metrics(cost={}, run={"id": "two"}) != metrics(erasers={"none": 2})


def test_a_folder_counts_with_its_files_and_their_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in/x").write_text("x")
    assert file_sha256(tmp_path / "a") == file_sha256(tmp_path / "b")
    (tmp_path / "b/in/x").rename(tmp_path / "b/in/y")
    assert file_sha256(tmp_path / "a") != file_sha256(tmp_path / "b")


def test_a_run_without_records_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no records of a run 'x'.*no run has left any"):
        read_run(tmp_path, "x")


@pytest.mark.parametrize("change", [{"hits": 2}, {"n": 4}, {"failed": 0}, {"retain_near": 3}, {"any_hits": 0}])
def test_a_row_that_its_verdicts_contradict_is_found(change):
    row = {"verdicts": "h.f.", "n": 3, "hits": 1, "any_hits": 2, "failed": 1, "dropped": 0, "attack": "plain"}
    row |= {"retain_verdicts": "hh.f", "retain_near": 1, "retain_far": 1, "retain_n": 3}
    assert wrong_row(row) == [] and wrong_row(row | change) != []
