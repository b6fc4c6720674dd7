"""RECE: its rounds, solved a second time in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from excise.erasers import EraserOptions, make_method

pytestmark = pytest.mark.usefixtures("base_model_is_untouched")
START = {"damping": 0.4, "erase_scale": 1.3, "preserve_scale": 0.6}
ROUNDS = {"strength": 0.25, "round_damping": 0.15, "round_preserve": 0.35}


def states_of(model, words: list[str]) -> np.ndarray:
    """(n, L, d)."""
    return model.encode(words).double().numpy()


def last_states(model, words: list[str]) -> np.ndarray:
    """Of the last token before the end, (n, d)."""
    ends = [row.index(model.tokenizer.eos_token_id) for row in model.tokenize(words).tolist()]
    return np.stack([states[end - 1] for states, end in zip(states_of(model, words), ends, strict=True)])


def uce(weight, erase, anchor, keep, damping, erase_scale, preserve_scale) -> np.ndarray:
    """(λ W + Σ s_e (W a) cᵀ + Σ s_p (W k) kᵀ) (λ I + Σ s_e c cᵀ + Σ s_p k kᵀ)⁻¹, one state after the other."""
    left, right = damping * weight, damping * np.eye(weight.shape[1])
    for c, a in zip(erase, anchor, strict=True):
        left, right = left + erase_scale * np.outer(weight @ a, c), right + erase_scale * np.outer(c, c)
    for k in keep:
        left, right = left + preserve_scale * np.outer(weight @ k, k), right + preserve_scale * np.outer(k, k)
    return left @ np.linalg.inv(right)


def ridge(edited: list[np.ndarray], original: list[np.ndarray], concept: np.ndarray, strength: float) -> np.ndarray:
    """For every c the c' of least Σ ‖W c' − W0 c‖² + α ‖c'‖²: least squares with rows of √α for the last term."""
    d = concept.shape[1]
    rows = np.concatenate([*edited, strength**0.5 * np.eye(d)])
    wanted = np.concatenate([np.concatenate(original) @ concept.T, np.zeros((d, len(concept)))])
    return np.linalg.lstsq(rows, wanted, rcond=None)[0].T


@pytest.mark.parametrize("rounds", [1, 2])
def test_every_round_of_rece_maps_what_still_means_the_concept_to_the_anchor(model, material, rounds):
    """All key and value projections: UCE on last words, then rounds on the states of all positions."""
    chosen = EraserOptions(method="rece", options={**START, **ROUNDS, "rounds": rounds})
    found = make_method(chosen).start(model, material)
    unet, words = model.denoiser, material.words
    layers = [f"{n}.attn2.{part}" for n, m in unet.named_modules() if hasattr(m, "attn2") for part in ("to_k", "to_v")]
    original = [unet.get_submodule(n).weight.detach().double().numpy() for n in layers]
    last = [last_states(model, w) for w in (words.erase, [words.anchor] * len(words.erase), words.retain)]
    edited = [uce(w, *last, START["damping"], START["erase_scale"], START["preserve_scale"]) for w in original]
    concept, anchor, keep = (
        np.concatenate(states_of(model, w)) for w in (words.erase, [words.anchor] * len(words.erase), words.retain)
    )
    for _ in range(rounds):
        meant = ridge(edited, original, concept, ROUNDS["strength"])
        assert np.abs(meant - concept).max() > 0.1  # c' is not c
        scales = ROUNDS["round_damping"], START["erase_scale"], ROUNDS["round_preserve"]
        edited = [uce(w, meant, anchor, keep, *scales) for w in edited]
    assert list(found) == [f"{n}.weight" for n in layers]
    for name, expected in zip(layers, edited, strict=True):
        np.testing.assert_allclose(found[f"{name}.weight"].numpy(), expected, rtol=1e-4, atol=1e-5, err_msg=name)
