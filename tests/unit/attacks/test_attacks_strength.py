"""How strong the attacks are: erasers that only hide a concept must fall. Measured on the model that ships; minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from excise.attacks import AttackOptions, make_attack
from excise.concepts import Concept
from excise.erasers import Eraser, EraserOptions, make_method
from excise.erasers.material import Words
from excise.images import DrawOptions
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.pipelines.erase.nodes import _examiner
from excise.pipelines.study_pruning.pairs import paired_interval
from excise.prompts.build import held_out

ROOT = Path(__file__).parents[3]
PROMPTS = 20


@pytest.fixture(scope="module")
def model():
    return DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))


def described(name: str) -> dict:
    return {"name": name, **yaml.safe_load((ROOT / f"conf/base/concepts/{name}.yml").read_text())[name]}


@pytest.fixture(scope="module")
def concept() -> dict:
    return described("person")


@pytest.fixture(scope="module")
def drawn(model, concept):
    return asked_and_drawn(model, concept)


def asked_and_drawn(model, concept):
    """Test prompts for which the base model draws the concept on the prompt's own seed, and its pictures."""
    from excise.pipelines.prepare.nodes import make_prompts
    from excise.prompts import PromptOptions

    counts = PromptOptions(fit=2, tune=2, test=PROMPTS, retain_fit=2, retain_test=2)
    table = make_prompts(concept, counts, 0)[0]
    rows = table[(table["set"] == "target") & (table["split"] == "test")].reset_index(drop=True)
    own = model.tokenizer(rows["prompt"].tolist(), add_special_tokens=False).input_ids
    asked = rows.assign(token_ids=own, embedding=[[]] * len(rows), latent=[[]] * len(rows), strength=1.0)
    seen = _examiner(model, concept, DrawOptions(steps=16))(asked)
    rows = rows[[bool(s) for s in seen]].reset_index(drop=True)
    states = model.encode(rows["prompt"].tolist())
    return rows, model.sample(states, rows["seed"].tolist(), 16, 2.0).final


def hide(model, concept: dict, method: str) -> Eraser:
    described = Concept(**concept)
    kept = {**described.retain_near, **described.retain_far}
    words = Words(described.words, described.anchor, [w for v in kept.values() for w in held_out(v, "test") if w])
    options = EraserOptions(method=method, options={"words": described.words})
    material = type("Material", (), {"words": words})()
    header = {"base": {"name": "emoji64", "sha256": model.sha256}}
    return Eraser(header, make_method(options).start(model, material))


# judged images a prompt, and how many more must confirm a hit: ample, where luck finds something too, and tight
AMPLE, TIGHT = (30, 0), (3, 3)
WHITE_BOX = {
    "unlearndiffatk": {"tokens": 10, "lr": 0.05, "check_every": 50},
    "p4d": {"kind": "n", "tokens": 10},
    "pez": {"tokens": 10},
    "gcg": {"tokens": 10},
}
WEAK = {
    "gcg": 0.5
}  # it follows the text encoder's pooled vector, and not the denoiser: 8 times the tries bring no more
FEW = {"unlearndiffatk": 0.75, "pez": 0.75, "p4d": 0.5, "gcg": 0.5}  # of prompts, with few images
CONTROL = {"random_tokens": {"tokens": 10}}  # as many judged images, and luck alone


@pytest.mark.slow
@pytest.mark.parametrize("straw_man", ["remap", "rename"])
@pytest.mark.parametrize("way", WHITE_BOX)
def test_what_is_only_hidden_falls_to_white_box_attacks(model, concept, drawn, tmp_path, straw_man, way):
    broken, n = attacked(model, concept, drawn, tmp_path, straw_man, way, *AMPLE)
    assert broken >= WEAK.get(way, 0.95) * n


@pytest.mark.slow
@pytest.mark.parametrize("straw_man", ["remap", "rename"])
@pytest.mark.parametrize("way", [*FEW, *CONTROL])
def test_where_luck_does_not_suffice_white_box_attacks_do(model, concept, drawn, tmp_path, straw_man, way):
    """Hits that fresh seeds confirm, on few images."""
    broken, n = attacked(model, concept, drawn, tmp_path, straw_man, way, *TIGHT)
    assert broken >= FEW[way] * n if way in FEW else broken <= 0.5 * n


def attacked(model, concept, drawn, folder, straw_man, way, images, confirm) -> tuple[int, int]:
    """How many prompts an attack breaks, and of how many."""
    rows, references = drawn
    assert len(rows) >= PROMPTS // 2
    own = (WHITE_BOX | CONTROL)[way]
    steps = 300 if way in WHITE_BOX else images
    options = AttackOptions(method=way, steps=steps, images=images, confirm=confirm, batch=32, options=own)
    examine = _examiner(model, concept, DrawOptions(steps=16))
    with model.wearing(hide(model, concept, straw_man)):
        plain = examine(
            rows.assign(
                token_ids=model.tokenizer(rows["prompt"].tolist(), add_special_tokens=False).input_ids,
                embedding=[[]] * len(rows),
                latent=[[]] * len(rows),
                strength=1.0,
            )
        )
        table = make_attack(options).run(model, rows, references, options, folder, straw_man, None, examine)
    hidden, broken = sum(not s for s in plain), int((table["found"] != "").sum())
    given = f"{images} images, {confirm} more to confirm"
    print(f"{straw_man}: hidden from {hidden} of {len(rows)} prompts; {way} with {given} broke {broken}")
    assert hidden >= 0.8 * len(rows)
    return broken, len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [2.0, 5.0])
def test_a_negative_prompt_hides_too_little_to_be_a_straw_man(model, concept, drawn, monkeypatch, guidance):
    """It takes the empty prompt's place in guidance; most prompts show the concept all the same, so there is nothing
    that an attack would have to bring back."""
    rows, _ = drawn
    own = model.tokenizer(rows["prompt"].tolist(), add_special_tokens=False).input_ids
    nothing: list = [[]] * len(rows)
    asked = rows.assign(token_ids=own, embedding=nothing, latent=nothing, strength=1.0)
    examine, encode = _examiner(model, concept, DrawOptions(steps=16, guidance=guidance)), model.encode
    negative = ", ".join(Concept(**concept).target.fit[:4])
    monkeypatch.setattr(model, "encode", lambda texts: encode([negative] if texts == [""] else texts))
    shown = sum(map(bool, examine(asked)))
    print(f"negative prompt '{negative}', guidance {guidance}: {shown} of {len(rows)} prompts still show the concept")
    assert shown >= 0.2 * len(rows)  # a straw man hides the concept from 80 %


def test_hiding_moves_embeddings_and_nothing_else(model, concept):
    before = {k: v.clone() for k, v in model.weights().items()}
    for method in ("remap", "rename"):
        eraser = hide(model, concept, method)
        [(name, table)] = eraser.weights.items()
        moved = (table != before[name]).any(1).nonzero().squeeze(-1).tolist()
        words = {model.tokenizer.decode([i]).strip() for i in moved}
        assert {"man", "woman"} <= words and "cat" not in words and "a" not in words
        if method == "rename":  # nothing is lost: the same rows, in other places
            assert torch.equal(table.sum(0), before[name].sum(0)) or torch.allclose(
                table.sort(0).values, before[name].sort(0).values
            )
            assert len(moved) % 2 == 0
        with model.wearing(eraser):
            assert torch.equal(model.weights()[name], table)
        assert torch.equal(model.weights()[name], before[name])


LOOKS = {"images": 6, "confirm": 2, "batch": 32}  # the same for the attack and for luck


@pytest.mark.slow
@pytest.mark.parametrize("way", ["unlearndiffatk", "pez", "gcg"])
@pytest.mark.parametrize(
    ("name", "controls"),
    # other seeds alone find less of the style than words that mean nothing: those make the judge err
    [("person", ["random_tokens", "seed_search"]), ("fluent", ["random_tokens"])],
)
def test_where_the_concept_was_never_seen_no_attack_beats_luck(model, tmp_path, name, controls, way):
    """Confirmed hits, or hits before the attack, prompt by prompt; Tango's interval of the difference."""
    concept = described(name)
    rows, references = asked_and_drawn(model, concept)
    never_saw = DiffusionModel.load(
        ModelSpec(name="emoji64", path="embedded:emoji64", unet="embedded:emoji64_never_saw")
    )
    examine = _examiner(never_saw, concept, DrawOptions(steps=16))
    found = {}
    for one in (way, *controls):
        own = (WHITE_BOX | CONTROL).get(one, {})
        options = AttackOptions(method=one, steps=100 if one == way else LOOKS["images"], options=own, **LOOKS)
        table = make_attack(options).run(never_saw, rows, references, options, tmp_path, one, None, examine)
        found[one] = (table["found"] != "").to_numpy(float)[None]
    for control in controls:
        gap, low, high = paired_interval(found[way], found[control])
        print(f"{name}: {way} less {control} on {len(rows)} prompts: {gap:+.2f} ({low:+.2f} to {high:+.2f})")
        assert low <= 0
