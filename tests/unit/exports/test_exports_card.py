"""The card says what the figures say, with their limits, and nothing from a file becomes markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import save_file

from excise.errors import UserError
from excise.exports import FORMATS, model_card
from excise.pipelines.export.nodes import WHAT

NASTY = "a <script>alert(1)</script> | [x](http://y) `z`\n# heading"


def rate(hits: int, n: int, **more) -> dict:
    low, high = max(0, hits / n - 0.1), min(1, hits / n + 0.1)
    return {"n": n, "hits": hits, "dropped": 1, "failed": 2, "rate": hits / n, "low": low, "high": high, **more}


def metrics_of(model) -> dict:
    def judged(plain: int, attacked: int, **more) -> dict:
        kept = {"retain_near": rate(35, 40), "retain_far": rate(36, 40)}
        return {"attacks": {"plain": rate(plain, 30), "pez": rate(attacked, 30)}, "utility": kept, **more}

    known = {"group": "other drawings", "shown": 30, "missed": 15, "miss_low": 0.33, "miss_high": 0.67}
    known |= {"others": 0, "alarms": 0, "alarm_low": None, "alarm_high": None, "failed": 0}
    return {
        "model": {"name": "tiny", "sha256": model.sha256},
        "concept": {"name": "person", "kind": "nsfw"},
        "erasers": {"none": judged(27, 28), "p_esd": judged(4, 7, prune_rate=0.1, mask_bytes=165376)},
        "detector": rate(3, 110, judge="nudenet", version="1", sha256="0", threshold=0.45, known=[known]),
        "run": {"id": "run-1", "seed": 1, "versions": {}},
    }


def files_of(*formats: str) -> list[dict]:
    return [{"format": f, "path": FORMATS[f], "bytes": 1234567, "what": WHAT[f], "note": ""} for f in formats]


@pytest.fixture
def eraser(tiny_model, make_eraser):
    return make_eraser(tiny_model)


def card_of(model, eraser, metrics=None, formats=tuple(FORMATS), erase="a person", dtype="float16", **more) -> str:
    return model_card(eraser, erase, metrics or metrics_of(model), files_of(*formats), {}, dtype, **more)


def test_it_has_a_head_that_is_yaml_and_the_figures_of_the_report(tiny_model, eraser):
    card = card_of(tiny_model, eraser)
    _, head, body = card.split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["base_model"] == "tiny" and told["license"] == "other" and "person" in told["tags"]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    assert ["P-ESD", "plain prompt", "4 / 30", "13.3\u00a0%", "3 to 23\u00a0%", "1, 2"] in rows
    assert ["P-ESD", "PEZ", "7 / 30", "23.3\u00a0%", "13 to 33\u00a0%", "1, 2"] in rows
    assert ["Base model", "plain prompt", "27 / 30", "90\u00a0%", "80 to 100\u00a0%", "1, 2"] in rows
    assert ["P-ESD", "retain far", "36 / 40", "90\u00a0%", "80 to 100\u00a0%"] in rows
    assert ["other drawings", "15 / 30 (33 to 67\u00a0%)", "none there"] in rows
    assert "3 / 110 (2.7\u00a0%" in body and eraser.sha256 in body and tiny_model.sha256 in body
    assert "10\u00a0% of the weights below it are zero; 165,376 bytes" in body
    assert "safety checker" not in body and "two runs" not in body


def test_it_shows_how_to_load_what_is_there_and_nothing_else(tiny_model, eraser):
    whole = card_of(tiny_model, eraser)
    blocks = re.findall(r"```python\n(.*?)```", whole, re.S)
    assert len(blocks) == len(FORMATS) == len(re.findall("1,234,567 bytes", whole))
    for block in blocks:
        compile(block, "card", "exec")
    alone = card_of(tiny_model, eraser, formats=("weights",))
    assert len(re.findall("```python", alone)) == 1 and "LoRA" not in alone and "checkpoint" not in alone


def test_what_it_shows_does_what_the_export_does(tiny_spec, tiny_model, eraser, tmp_path, monkeypatch, bits):
    """The card's own lines, run as they stand."""
    from excise.exports import save_folder, save_mask, save_single_file, save_weights
    from excise.models.diffusion import DiffusionModel

    save_folder(tiny_model, eraser, tmp_path / FORMATS["folder"])
    save_weights(tiny_model, eraser, tmp_path / FORMATS["weights"])
    save_single_file(tiny_model, eraser, tmp_path / FORMATS["single_file"])
    save_mask(eraser, tmp_path / FORMATS["mask"])
    monkeypatch.chdir(tmp_path)
    with tiny_model.wearing(eraser):
        expected = bits(tiny_model.pipe)
    with tiny_model.wearing(replace(eraser, weights={})):
        masked = bits(tiny_model.pipe)
    for name in ("folder", "weights", "mask", "single_file"):
        [block] = re.findall(
            r"```python\n(.*?)```", card_of(tiny_model, eraser, formats=(name,), dtype="float32"), re.S
        )
        known = {"pipe": DiffusionModel.load(tiny_spec).pipe}
        exec(block.replace('"BASE"', repr(str(tiny_spec.folder))), known)
        assert bits(known["pipe"]) == (masked if name == "mask" else expected), name
    save_file({"text_encoder.other.weight": torch.zeros(2)}, tmp_path / FORMATS["weights"])  # another version's names
    [block] = re.findall(r"```python\n(.*?)```", card_of(tiny_model, eraser, formats=("weights",)), re.S)
    with pytest.raises(AssertionError, match="other"):
        exec(block, {"pipe": DiffusionModel.load(tiny_spec).pipe})
    assert "pipe.transformer.get_parameter" in card_of(tiny_model, eraser, formats=("mask",), denoiser="transformer")


def test_nothing_from_a_file_becomes_markup(tiny_model, eraser):
    metrics = metrics_of(tiny_model)
    metrics["detector"] |= {"judge": NASTY}
    metrics["detector"]["known"][0]["group"] = NASTY
    metrics["concept"]["name"] = NASTY
    metrics["erasers"][NASTY] = metrics["erasers"].pop("p_esd")
    header = eraser.header | {"variant": NASTY, "concept": NASTY, "method": NASTY, "run_id": NASTY}
    header["base"] = {"name": NASTY, "sha256": tiny_model.sha256}
    card = card_of(tiny_model, replace(eraser, header=header), metrics, erase=NASTY)
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["base_model"] == NASTY and yaml.safe_load(head)["tags"][-1] == NASTY
    assert "<script" not in body and "](http" not in body and "\n# heading" not in body
    plain = card_of(tiny_model, eraser)
    count = [
        [len(re.findall(r"(?<!\\)\|", line)) for line in c.splitlines() if line.startswith("|")] for c in (body, plain)
    ]
    assert count[0] == count[1]  # as many cells in every row as without


def test_limits_are_those_of_what_was_written(tiny_model, eraser):
    metrics = metrics_of(tiny_model)
    metrics["run"]["id"] = "run-2"
    card = card_of(tiny_model, eraser, metrics, dtype="float32", safety_checker=True)
    assert "are of two runs" in card and "safety checker. It is not part" in card and "rounds away" not in card
    assert "No figure is of the LoRA" in card
    half = card_of(tiny_model, eraser, formats=("folder",))
    assert "hold float16; what that rounds away was not judged" in half and "No figure is of the LoRA" not in half
    told = model_card(eraser, "x", metrics_of(tiny_model), [], {"mask": "this eraser has no mask"}, "float32")
    assert "not written: mask, since this eraser has no mask." in told


def test_figures_of_something_else_are_refused(tiny_model, eraser):
    others = [{"model": {"name": "tiny", "sha256": "0"}}, {"concept": {"name": "church", "kind": "object"}}]
    for other in others:
        with pytest.raises(UserError, match="of another base model or concept"):
            card_of(tiny_model, eraser, metrics_of(tiny_model) | other)
    metrics = metrics_of(tiny_model)
    metrics["run"]["made_of"] = {"erasers": {"p_esd": eraser.sha256, "esd": "0"}}
    metrics["run"]["id"] = "run-2"  # the report was made again, of this eraser
    assert "two runs" not in card_of(tiny_model, eraser, metrics)
    metrics["run"]["made_of"]["erasers"]["p_esd"] = "0" * 64
    with pytest.raises(UserError, match=r"are of another 'p_esd' \(000000000000…\) than the newest eraser"):
        card_of(tiny_model, eraser, metrics)
    metrics = metrics_of(tiny_model)
    del metrics["erasers"]["p_esd"]
    with pytest.raises(UserError, match="do not judge 'p_esd' but none: run the whole job"):
        card_of(tiny_model, eraser, metrics)


def test_a_rate_of_nothing_is_a_dash(tiny_model, eraser):
    metrics = json.loads(json.dumps(metrics_of(tiny_model)))
    nothing = {"n": 0, "hits": 0, "dropped": 30, "failed": 0, "rate": None, "low": None, "high": None}
    metrics["erasers"]["p_esd"]["attacks"]["pez"] = nothing
    assert "| P-ESD | PEZ | 0 / 0 | – | – | 30, 0 |" in card_of(tiny_model, eraser, metrics)
