"""What attacks do to a model that never saw the concept: there is nothing to bring back, so that it is luck."""

from __future__ import annotations

import numpy as np
import pandas as pd

from excise.metrics.several import holm
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.pairs import mcnemar_p, paired_interval, verdict_matrix
from excise.pipelines.study_pruning.plan import NEVER_SAW
from excise.reports.words import attack_label, is_control, spell_p

from .standing import LEVEL


def floor_table(part: pd.DataFrame) -> str:
    """On a model that never saw the concept there is nothing to bring back: no attack may beat luck there."""
    never = part[(part["eraser"] == NEVER_SAW) & ~part["idle"]]
    asked = [str(attack) for attack in never["attack"]]
    plain, controls = never[never["attack"] == PLAIN], never[[is_control(a) for a in asked]]
    attacks = never[[a != PLAIN and not is_control(a) for a in asked]]
    if controls.empty or attacks.empty:
        return ""
    compared = pd.concat([plain, controls])
    lines = [
        "On the model that never saw the concept, each attack less plain prompts, and less a control (paired, Tango's "
        "interval): what lies above zero was put there by the attack, or by the judge, or by a second chance: a prompt "
        "is a hit as it stands or as attacked, so that no attack can lie below plain prompts. Random words have two "
        "chances, too; what ends with the prompt's own words has none, so that less it is less plain prompts. "
        "*Images*: judged on the way, for one prompt at most, those that confirm a hit among them.\n",
        "| attack | images | " + " | ".join(f"less {attack_label(c)}" for c in compared["attack"]) + " |",
        "|" + "---|" * (len(compared) + 2),
    ]
    tested: list[tuple[str, float]] = []
    above: list[str] = []
    for _, row in attacks.iterrows():
        found = []
        for _, control in compared.iterrows():
            pair = [verdict_matrix(pd.DataFrame([r])) for r in (row, control)]
            gap = paired_interval(*pair)
            if np.isnan(gap[0]):  # of no prompt both could be judged
                found.append("–")
                continue
            found.append("{:+.0f} points ({:+.0f} to {:+.0f})".format(*(100 * v for v in gap)))
            if control["attack"] != PLAIN or _blind(
                row
            ):  # whoever looked had luck besides, which a plain prompt has not
                name = f"{attack_label(row['attack'])} less {attack_label(control['attack'])}"
                tested.append((name, mcnemar_p(*pair, "greater")))
                above += [name] if gap[1] > 0 else []
        lines.append(f"| {attack_label(row['attack'])} | {_images(row)} | {' | '.join(found)} |")
    images = ", ".join(f"{attack_label(c['attack'])} {_images(c)}" for _, c in controls.iterrows())
    corrected = holm([p for _, p in tested])
    told = [f"{name} (p {spell_p(p)})" for (name, _), p in zip(tested, corrected, strict=True) if p < LEVEL]
    return "\n".join(lines) + (
        f"\n\nImages of the controls: {images}. An attack with fewer had less luck than they, one with more had more. "
        f"Every attack is held against the controls, one that has no image judged against plain prompts, too. With an "
        f"interval above zero, uncorrected: {'; '.join(above) or 'none'}. By McNemar's exact test (one-sided, "
        f"Holm-corrected for {len(tested)} comparisons, so that {_fewest(len(tested))} "
        f"prompts must fall to the attack alone before it is named): {'; '.join(told) or 'none'}.\n"
    )


def _fewest(comparisons: int) -> int:
    """Prompts in which only one of two differs, always the same one, that it takes for a corrected exact test."""
    count = 1
    while comparisons * 0.5**count >= LEVEL:
        count += 1
    return count


def _blind(row: pd.Series) -> bool:
    """Whether the attacker saw no judged picture: luck has no more part in it than in a plain prompt."""
    return _images(row) in ("–", "0")


def _images(row: pd.Series) -> str:
    looks = row.get("looks")
    return "–" if looks is None or pd.isna(looks) else f"{int(looks)}"
