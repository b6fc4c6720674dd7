"""A mask keeps exactly what it was given, in as few bytes as its two forms allow."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from excise.errors import UserError
from excise.masks import Mask

SHAPE = (37, 53)
BITS = (SHAPE[0] * SHAPE[1] + 7) // 8


def random_mask(rate: float, seed: int = 0, names: tuple[str, ...] = ("a.weight", "b.weight")) -> Mask:
    generator = torch.Generator().manual_seed(seed)
    return Mask({n: torch.rand(SHAPE, generator=generator) < rate for n in names}, {"support": "ffn"})


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("rate", [0.0, 0.0005, 0.01, 0.03, 0.0312, 0.04, 0.2, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_packed_round_trips_and_is_the_smaller_of_both_forms(rate, seed):
    mask = random_mask(rate, seed)
    packed = mask.packed()
    assert equal(Mask.unpack(packed, mask.shapes(), {}).pruned, mask.pruned)
    for name, pruned in mask.pruned.items():
        [stored] = [t for key, t in packed.items() if key.rsplit("|", 1)[0] == name]
        assert stored.numel() * stored.element_size() == min(BITS, 4 * int(pruned.sum()))
    assert mask.nbytes == sum(min(BITS, 4 * int(p.sum())) for p in mask.pruned.values())


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.5])
def test_file_keeps_mask_and_header(tmp_path, rate):
    mask, path = random_mask(rate), tmp_path / "mask.safetensors"
    mask.save(path)
    back = Mask.load(path)
    assert equal(back.pruned, mask.pruned)
    assert back.header["support"] == "ffn"
    assert back.header["prune_rate"] == mask.prune_rate and back.header["pruned"] == mask.count
    assert sum(t.numel() * t.element_size() for t in load_file(path).values()) == mask.nbytes


def test_prune_rate_counts():
    mask = random_mask(0.3)
    pruned = sum(p.tolist().count(True) for m in mask.pruned.values() for p in m)
    assert (mask.count, mask.size) == (pruned, 2 * SHAPE[0] * SHAPE[1])
    assert mask.prune_rate == pruned / mask.size
    assert Mask({}, {}).prune_rate == 0.0


def test_masks_of_two_models_are_not_united():
    """Shapes that would spread over each other are not the same."""
    one, other = (Mask({"a": torch.ones(shape, dtype=torch.bool)}, {}) for shape in ((4, 1), (4, 4)))
    with pytest.raises(ValueError, match="a has another shape"):
        one.union(other)


def test_union_prunes_what_either_prunes():
    first, second = random_mask(0.1, 1, ("a", "b")), random_mask(0.2, 2, ("b", "c"))
    union = first.union(second)
    assert set(union.pruned) == {"a", "b", "c"}
    assert torch.equal(union.pruned["a"], first.pruned["a"]) and torch.equal(union.pruned["c"], second.pruned["c"])
    assert torch.equal(union.pruned["b"], torch.logical_or(first.pruned["b"], second.pruned["b"]))
    assert equal(union.pruned, second.union(first).pruned)
    assert equal(first.union(first).pruned, first.pruned)


def _damaged(path, mask):
    """Ways in which a file is not a mask: name -> a function that writes it."""
    header = {"shapes": mask.shapes()}
    short = {k: t[:-1] for k, t in mask.packed().items()}
    return {
        "missing": lambda: None,
        "text": lambda: path.write_text("no tensors in here"),
        "empty": lambda: path.write_bytes(b""),
        "cut": lambda: path.write_bytes(path.read_bytes()[:-5]),
        "folder": lambda: (path.unlink(), path.mkdir()),
        "plain": lambda: save_file({"w": torch.zeros(3)}, path),
        "no_json": lambda: save_file(mask.packed(), path, {"excise_mask": "{"}),
        "no_shapes": lambda: save_file(mask.packed(), path, {"excise_mask": "{}"}),
        "other_names": lambda: save_file({"w": torch.zeros(3)}, path, {"excise_mask": json.dumps(header)}),
        "short": lambda: save_file(short, path, {"excise_mask": json.dumps(header)}),
        "too_far": lambda: save_file(
            {"a|indices": torch.tensor([10], dtype=torch.int32)},
            path,
            {"excise_mask": json.dumps({"shapes": {"a": [3, 3]}})},
        ),
    }


@pytest.mark.parametrize(
    "how",
    ["missing", "text", "empty", "cut", "folder", "plain", "no_json", "no_shapes", "other_names", "short", "too_far"],
)
def test_a_foreign_or_damaged_file_is_refused(tmp_path, how):
    mask, path = random_mask(0.5), tmp_path / "mask.safetensors"
    if how != "missing":
        mask.save(path)
    _damaged(path, mask)[how]()
    with pytest.raises(UserError, match=r"mask\.safetensors is not a mask file of excise"):
        Mask.load(path)
