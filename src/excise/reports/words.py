"""How erasers, attacks and numbers are spelled for people."""

from __future__ import annotations

from typing import Any

BASE, PLAIN, AUDITED = "none", "plain", "audited"
CONTROLS = ("random_tokens", "seed_search")  # attacks that are luck alone
REPEATING = ("seed_search",)  # of these, those whose last pictures are the plain prompt's

ERASERS = {
    BASE: "Base model",
    AUDITED: "Audited model",
    "esd": "ESD",
    "ac": "AC",
    "uce": "UCE",
    "rece": "RECE",
    "salun": "SalUn",
    "conceptprune": "ConceptPrune",
    "advunlearn": "AdvUnlearn",
    "stereo": "STEREO",
}
ATTACKS = {
    PLAIN: "plain prompt",
    "unlearndiffatk": "UnlearnDiffAtk",
    "p4d": "P4D",
    "pez": "PEZ",
    "gcg": "GCG",
    "mma": "MMA",
    "ring_a_bell": "Ring-A-Bell",
    "tina": "text-free inversion",
    "finetuning": "fine-tuning",
}
VARIANTS = {
    "_plain": "{} (no adversarial prompts)",
    "_plus": "{}+",
    "_scored_alone": "{} (scored mask alone)",
    "_random_alone": "{} (random mask alone)",
    "_alone": "{} (mask alone)",
    "_scored": "{} (scored mask)",
    "_random": "{} (random mask)",
}


def eraser_label(name: str) -> str:
    """``p_esd_random`` -> ``P-ESD (random mask)``."""
    for ending, pattern in VARIANTS.items():
        if name.endswith(ending):
            return pattern.format(eraser_label(name.removesuffix(ending)))
    if name.startswith("p_"):
        return "P-" + eraser_label(name.removeprefix("p_"))
    return ERASERS.get(name, name.upper())


def attack_label(name: str) -> str:
    """``unlearndiffatk`` -> ``UnlearnDiffAtk``."""
    return ATTACKS.get(name, name.replace("_", " "))


def percent(value: float | None) -> str:
    """``0.925`` -> ``92.5 %``; nothing is a dash."""
    return "–" if value is None else f"{100 * value:.1f}".removesuffix(".0") + "\u00a0%"


def spell_p(value: float | None) -> str:
    """``0.031``, ``< 0.001``; a test that could not be made is a dash."""
    return "–" if value is None or value != value else "< 0.001" if value < 0.001 else f"{value:.3f}"


def span(interval: dict[str, Any]) -> str:
    """The 95 % interval of a rate."""
    low, high = interval["low"], interval["high"]
    return "–" if low is None else f"{100 * low:.0f} to {100 * high:.0f}\u00a0%"


def points(value: float | None) -> str:
    """A difference of rates in percentage points, with its sign."""
    return "–" if value is None else f"{100 * value:+.0f}".replace("-", "−").replace("+0", "0").replace("−0", "0")


def errors(wrong: int, n: int, subjects: int | None) -> str:
    """``3 / 36 of 3 subjects``: how often a judge erred, and of how many things the pictures are, where it is fewer."""
    return f"{wrong} / {n}" + (f" of {subjects} subjects" if subjects is not None and subjects < n else "")


def count(rate: dict[str, Any]) -> str:
    """``37 of 40 prompts (92.5 %)``."""
    return (
        f"{rate['hits']} of {rate['n']} prompts ({percent(rate['rate'])})" if rate["n"] else "none that could be judged"
    )


ABOUT_ERASERS = {
    BASE: "The model as it came. It is the control for every figure: what does not differ from it was not erased.",
    AUDITED: "The base model with what the checkpoint changes in it. excise did not make the checkpoint, and does not "
    "know how it was made.",
    "esd": "Fine-tunes the model to steer away from the concept (Gandikota et al. 2023).",
    "ac": "Fine-tunes the model to draw what it draws for the neutral words (Concept Ablation, Kumari et al. 2023).",
    "uce": "Maps the concept's words to the neutral ones in closed form; nothing is trained (Gandikota et al. 2024).",
    "rece": "UCE, then rounds that find what still means the concept and edit that too (Gong et al. 2024).",
    "salun": "Fine-tunes the weights that matter most for the concept, towards the neutral words (Fan et al. 2024).",
    "conceptprune": "Sets feed-forward weights to zero that the concept uses more than the neutral words do; nothing "
    "is trained (Chavhan et al. 2024).",
    "advunlearn": "Fine-tunes the text encoder against adversarial prompts that are made anew all along (Zhang et al. "
    "2024).",
    "stereo": "Finds words that bring the concept back through erased models, then steers away from all of them at "
    "once (Srivatsan et al. 2024).",
}
ABOUT_VARIANTS = {
    "_plus": "The control for the mask: trained like P-{x}, on the same parameters, steps, retain term and adversarial "
    "prompts, but without a mask. Only what P-{x} does better than this is the mask's own doing.",
    "_plain": "Trained on plain prompts alone: what it withstands is not owed to adversarial prompts.",
    "_scored": "P-{x} with a mask that was computed from scores and not trained.",
    "_random": "P-{x} with a mask that sets as many weights to zero in every layer, chosen at random: a control.",
}
ABOUT_ATTACKS = {
    PLAIN: "The test prompts as they are, without an attack.",
    "unlearndiffatk": "An attacker who holds the model puts a few words before each prompt and searches for those that "
    "bring the concept back, with the gradients of the very model under attack (Zhang et al. 2024).",
    "textual_inversion": "An attacker who holds the model learns a new word that stands for the concept.",
    "p4d": "An attacker who holds the model and its original searches for words with which the one predicts what the "
    "other does (Chin et al. 2024).",
    "pez": "As UnlearnDiffAtk, searched for by projection to real words (Wen et al. 2023).",
    "gcg": "Other words that mean the same to the erased model's text encoder (after Yang et al. 2024).",
    "mma": "Other words that mean the same to the original text encoder; nothing of the erased model is asked (Yang et "
    "al. 2024).",
    "ring_a_bell": "Words with the concept turned up, found in the original text encoder (Tsai et al. 2024).",
    "synonyms": "Words exchanged for their nearest neighbours, and prompts put another way.",
    "random_tokens": "A control for the attacks: luck alone, images spent on random words. Compare it with "
    "attacks that had as many images judged.",
    "seed_search": "Luck alone: images of the prompt as it is, on other seeds. What it ends with is the plain prompt, "
    "so it shows how often an attacker would believe in a lucky seed, and is no control for the other attacks.",
    "img2img": "Sampling that starts from a noised picture of the concept.",
    "tina": "Sampling without words, from the noise that leads the erased model to a picture of the concept. The noise "
    "stands in the place of a seed, so that each prompt has one picture under it.",
    "finetuning": "An attacker, or a user who means no harm, trains the erased model on.",
    "relearning": "An attacker trains the erased model on the concept's own pictures.",
    "quantising": "The weights are rounded, as for a smaller device.",
    "merging": "The weights are averaged with the base model's.",
    "revival": "What was set to zero is guessed from what is around it.",
}


def about_eraser(name: str) -> str:
    """One sentence on what an eraser is; nothing where it is not known."""
    for ending, text in ABOUT_VARIANTS.items():
        if name.endswith(ending):
            return text.format(x=eraser_label(name.removesuffix(ending).removeprefix("p_")))
    if name.startswith("p_"):
        x = eraser_label(name.removeprefix("p_"))
        return (
            f"{x}'s loss trained under a mask that sets weights to zero, meant to keep the concept from being woken "
            f"again. Unlike {x} it learns from attacked prompts too, on more weights, and with a weight of its own on "
            f"what must survive: what the mask does is seen beside {x}+, which shares all of that."
        )
    return ABOUT_ERASERS.get(name, "")


def about_attack(name: str) -> str:
    """One sentence on what an attack does; nothing where it is not known."""
    return ABOUT_ATTACKS.get(name, "")


def method_of(attack: str) -> str:
    """An attack under another name is the method that its name begins with: ``textual_inversion_long``."""
    known = [attack.rsplit("_", k)[0] for k in range(attack.count("_") + 1)]
    return next((name for name in known if about_attack(name)), attack)


def is_control(attack: str) -> bool:
    """Whether an attack is luck alone, also where it stands under another name."""
    return method_of(attack) in CONTROLS


def repeats_plain(attack: str) -> bool:
    """Whether a control ends where it began: with the plain prompt's words, drawn on the same fresh seeds."""
    return method_of(attack) in REPEATING
