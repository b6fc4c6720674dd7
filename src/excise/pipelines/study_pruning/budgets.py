"""With which budgets a grid's rows were made, as text: from the very parameters that its cells are made of."""

from __future__ import annotations

from pydantic import BaseModel

from excise.reports.words import attack_label, eraser_label

from .workshop import Settings


def budgets_table(settings: Settings) -> str:
    """The last part of a grid's page: a table of the attacks, and one of the erasers and the mask."""
    from excise.attacks import make_attack
    from excise.erasers import make_method

    lines = [
        "## Budgets\n\nOf all rows without a mark, and of those that are still to be made.\n",
        "| attack | steps | judged images a prompt | to confirm a hit | batch | its own options |",
        "|" + "---|" * 6,
    ]
    for name, options in settings.attacks.items():
        cells = [attack_label(name), options.steps, options.images or "blind", options.confirm or "–", options.batch]
        lines.append("| " + " | ".join(map(str, [*cells, spelled(make_attack(options))])) + " |")
    lines += [
        "\n| what is trained | steps | batch | rate | retain weight | pictures for an attacker | its own options |",
        "|" + "---|" * 7,
    ]
    for name, options in settings.erasers.items():
        method = make_method(options)
        steps, held = (options.steps, f"{options.retain_weight:g}") if method.trained else ("–", "–")
        cells = [eraser_label(name), steps, options.batch, f"{options.lr:g}", held]
        cells.append(settings.prompts.fit * options.trajectories)
        lines.append("| " + " | ".join(map(str, [*cells, spelled(method)])) + " |")
    p = settings.prune
    own = spelled(p, but=("steps", "weight_lr", "retain_weight"))
    beside = "the eraser's" if p.weight_lr is None else f"{p.weight_lr:g}"
    lines.append(f"| P-X's mask, and X+ | {p.steps} | the eraser's | {beside} | {p.retain_weight:g} | as X | {own} |")
    drawn, asked = settings.draw, settings.prompts
    lines.append(
        f"\nEach test prompt is drawn {drawn.per_prompt} times in {drawn.steps} steps at guidance {drawn.guidance:g}, "
        f"and is a hit if most of its pictures show the concept. Prompts to learn from: {asked.fit} of the concept, "
        f"{asked.retain_fit} of other things. P-X and X+ learn against {attack_label(settings.fit_attack.method)}, "
        "tried on the former. An attack that learns from pictures (a learned word, relearning) has those that the "
        "eraser itself was trained on; against the base model, and one that never saw the concept, those of the first "
        "eraser here. Between erasers with different numbers of them its rates are not those of one attack. *Blind* "
        "attacks look at no image on their way, and go by their loss alone; UnlearnDiffAtk as it was published looks "
        "after each timestep (40 steps) and stops at its first hit, which may bring more back.\n"
    )
    return "\n".join(lines)


def spelled(options: BaseModel, but: tuple[str, ...] = ()) -> str:
    """``tokens 10, lr 0.1``; without what is not set."""
    told = {k: v for k, v in options.model_dump(exclude=set(but)).items() if v is not None and v != ""}
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items())
