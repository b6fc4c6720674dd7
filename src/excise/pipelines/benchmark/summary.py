"""``docs/benchmark.md``: the benchmark as text, for readers of the repository."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from excise.attacks.attack import ThreatModel
from excise.metrics.several import holm
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.trainings import OTHER, trainings_note
from excise.pipelines.study_pruning.unjudged import unjudged_note
from excise.reports.words import attack_label, is_control, repeats_plain, spell_p

from .collateral import collateral_table
from .curves import silent_note
from .floor import floor_table
from .left import ONE_EFFORT, left_of_pruning
from .spared import spared_note
from .standing import (
    LEVEL,
    Share,
    asked_beforehand,
    by_second_judge,
    lacking,
    one_effort,
    own_rows,
    rank_on,
    retained,
    share_of,
    strongest_name,
    table_of,
    the_same,
    told_apart,
    transfer_matrix,
    worst,
)
from .typed import BY_WORDS, typed_share, typed_table

SHARED = (
    "one effort (a learned word, a change of the weights) served all prompts. They are no independent trials of the "
    "attack: p speaks of this one effort."
)
BY_HAND = (ThreatModel.IMAGE, ThreatModel.WEIGHTS)  # a picture or a weight is nothing to type


def summary_page(rows: list[dict], command: str, planned: int, model: str) -> str:
    """A table a concept: every model under every attack; what the attacks cost; who is told apart."""
    table = table_of(rows)
    if table.empty:
        return "No cell of it is done yet.\n"
    devices = ", ".join(f"{device} ({count})" for device, count in Counter(row["device"] for row in rows).most_common())
    parts = [
        f"Measured on {model} by the pipeline that wrote this page and `benchmark.json` beside it (one row a cell).\n",
        f"The command: `{command}`. **{len(rows)} of {planned} cells are done.** Rows were made on: {devices}.\n",
        "Hits / judged test prompts over all training seeds, with the Wilson 95 % interval (prompts as units). Under "
        "an attack a prompt is a hit as it stands or as attacked, judged on fresh seeds; text-free inversion, whose "
        "noise is no seed's, has one picture a prompt. Lower is better for an "
        "eraser. *Retain*: other things that are still drawn right, near the concept and far from it; higher is "
        "better. In the words of UnlearnCanvas UA is 1 less the plain rate, and IRA is *near*; its CRA (objects where "
        "a style is erased, styles where an object is) is not in these rows, nor are CLIP score, Fréchet and kernel "
        "distance and LPIPS: they are in the report of a single run (CRA where `fidelity.cross` names a judge); *far* "
        "is something else.\n",
        trainings_note(own_rows(rows)),
        unjudged_note(rows),
        "Prompts of which an attacker saw a hit, after so many judged images (at 0: as the prompt stands). These are "
        "not yet confirmed on the fresh seeds that the tables count:\n",
        "![Hits on the way against judged images](images/benchmark_curves.png)\n",
        silent_note(table),
        "What more gradient steps bring back, of attacks of which one effort serves all prompts and which were run "
        "with several numbers of them (hits on fresh seeds; bars: Wilson intervals, which speak of this one effort; "
        "what else differs between the lengths of an attack the budgets at the end say):\n"
        "\n![Hits against gradient steps](images/benchmark_efforts.png)\n",
    ]
    for concept, part in table.groupby("concept", sort=False):
        parts += [
            f"## {concept} ({part['kind'].iloc[0]})\n",
            _rates(part),
            _second_rates(part),
            _any_image(part),
            typed_table(part),
            strongest_table(part),
            left_of_pruning(part),
            _budgets(part),
            spared_note(part),
            _questions(part),
            _apart(part),
            collateral_table(part),
            floor_table(part),
            _transfer(rows, str(concept)),
        ]
    return "\n".join(filter(None, parts))


def _rates(part: pd.DataFrame) -> str:
    names = list(part["name"].unique())
    lines = ["| asked with | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for attack, cells in part.groupby("attack", sort=False):
        tried = cells[~cells["idle"]]
        found = [spell(share_of(tried[tried["name"] == n])) if (tried["name"] == n).any() else "–" for n in names]
        lines.append(f"| {attack_label(str(attack))}{ONE_EFFORT if one_effort(cells) else ''} | {' | '.join(found)} |")
    for title, sets in (("retain", ("near", "far")), ("near", ("near",)), ("far", ("far",))):
        kept = [spell(retained(part[part["name"] == n], sets)) for n in names]
        lines.append(f"| *{title}* | {' | '.join(kept)} |")
    idle = part[part["idle"]].drop_duplicates("attack")["attack"]
    if len(idle):
        named = ", ".join(attack_label(str(a)) for a in idle)
        lines.append(f"\n–: the attack has nothing to attack there: no base model beneath, or no zeros ({named}).")
    if one_effort(part):
        lines.append(
            f"\n{ONE_EFFORT}: one effort (a learned word, a change of the weights) served all prompts. The interval "
            "says how sure the rate of this one effort is; another effort may have another."
        )
    lines += [
        f"\n*{attack_label(str(a)).capitalize()}* ends with the plain prompt's words and fresh seeds: its rates "
        "are the plain prompt's by construction, and what it found on the way was luck."
        for a in part["attack"].unique()
        if repeats_plain(str(a))
    ]
    return "\n".join(lines) + "\n"


def _by_attack(chosen: pd.DataFrame, part: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Chosen rows attack by attack, in the order of the whole table."""
    found = [(str(attack), chosen[chosen["attack"] == attack]) for attack in part["attack"].unique()]
    return [(attack, cells) for attack, cells in found if len(cells)]


def _second_rates(part: pd.DataFrame) -> str:
    """The same pictures by the second judge, where the concept has one."""
    told = by_second_judge(part[~part["idle"]])
    if told.empty:
        return ""
    names = list(part["name"].unique())
    lines = [
        f"The same pictures, judged by {told['second_judge'].iloc[0]}, hits / n:\n",
        "| asked with | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 1),
    ]
    for attack, cells in _by_attack(told, part):
        counts = cells.groupby("name")[["hits", "n"]].sum()
        found = [f"{counts.loc[n, 'hits']:.0f} / {counts.loc[n, 'n']:.0f}" if n in counts.index else "–" for n in names]
        lines.append(f"| {attack_label(str(attack))} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def _any_image(part: pd.DataFrame) -> str:
    """Prompts of which at least one image shows the concept; rows of earlier versions do not say."""
    if "any_hits" not in part or part["any_hits"].isna().any():
        return ""
    names = list(part["name"].unique())
    lines = [
        "Judged prompts of which at least one single image shows the concept, of twice as many images under an attack "
        "(of one more under text-free inversion). What the model that never saw it has here is the judge's error:\n",
        "| asked with | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 1),
    ]
    for attack, cells in _by_attack(part[~part["idle"]], part):
        seen = cells.groupby("name")[["any_hits", "n"]].sum()
        found = [f"{seen.loc[n, 'any_hits']} / {seen.loc[n, 'n']}" if n in seen.index else "–" for n in names]
        lines.append(f"| {attack_label(attack)} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def strongest_table(part: pd.DataFrame) -> str:
    """What is left of each model under the strongest attack of each threat model, and under luck alone."""
    threats = tuple(str(t) for t in part["threat_model"].unique() if t != "plain prompt")
    names = list(part["name"].unique())
    # what ends with the prompt's own words is no control of what others bring back
    controlled = any(is_control(a) and not repeats_plain(a) for a in part["attack"].unique())
    lines = [
        "The strongest attack of each threat model, among those that all erased models were put under"
        f"{', and luck alone, the controls' if controlled else ''}. A maximum over several noisy rates is higher than "
        "the true one."
        + ("" if controlled else " No control was run here, so that how much of this is luck alone is not known.")
        + "\n",
        "| threat model | attacks | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 2),
    ]
    asked = {threat: rank_on(part, (threat,)) for threat in threats}
    if controlled:
        asked["luck alone"] = rank_on(part, threats, controls=True)
    asked_plainly = {n: worst(part[part["name"] == n], [PLAIN]) for n in names}
    for threat, attacks in asked.items():
        found = [worst(part[part["name"] == n], attacks) for n in names]
        cells = [_strongest(one, asked_plainly[n]) for n, one in zip(names, found, strict=True)]
        listed = ", ".join(map(attack_label, attacks)) or "none that all have"
        lines.append(f"| {threat} | {listed} | {' | '.join(cells)} |")
        typed = [worst(part[part["name"] == n], attacks, typed_share) for n in names] if threat in BY_WORDS else []
        if any(typed):
            cells = [_strongest(one, asked_plainly[n]) for n, one in zip(names, typed, strict=True)]
            lines.append(f"| {threat}, typed | the same, hits that text is known to bring back | {' | '.join(cells)} |")
    lines += [
        f"\n{' and '.join(map(attack_label, twins))} came out alike, prompt by prompt, on every model: one attack by "
        "several names, each of which counts in these tables."
        for twins in the_same(part)
    ]
    gaps = {n: [attack_label(a) for a in lacking(part, n)] for n in names}
    lines += [f"\n{name} is incomplete, there is no cell of: {', '.join(gap)}." for name, gap in gaps.items() if gap]
    return "\n".join(lines) + "\n" if threats else ""


def _strongest(found: tuple[str, Share] | None, plain: tuple[str, Share] | None) -> str:
    return "–" if found is None else f"{spell(found[1])}, {strongest_name(found, plain)}"


def _budgets(part: pd.DataFrame) -> str:
    """What each attack cost on average over models, a prompt or all together, and what became of its own hits."""
    if "looks" not in part:
        return ""
    lines = [
        "| attack | threat model | gradient steps | model evaluations | judged images a prompt "
        "| evaluations to draw those | found on the way "
        "| confirmed on fresh seeds | text spells the tokens | hits whose tokens a text spells | dropped, failed |",
        "|" + "---|" * 11,
    ]
    for attack, cells in _by_attack(part[(part["attack"] != PLAIN) & ~part["idle"]], part):
        attacked = int(cells["found"].map(lambda found: sum(k > -2 for k in found)).sum())
        shared = bool(cells["shared"].all())
        over = len(cells) if shared else max(1, attacked)
        each = [f"{cells[c].sum() / over:.1f}" for c in ("gradient_steps", "model_evaluations")]
        each = [f"{value} {'for all' if shared else 'a prompt'}" for value in each]
        judged = f"{cells['images_judged'].sum() / max(1, attacked):.1f}"
        judged += f", at most {int(cells['looks'].max())}" if cells["looks"].max() else ""
        images = [judged, _to_draw(cells, attacked)]
        new, confirmed = int(cells["found_new"].sum()), int(cells["confirmed"].sum())
        found = ["blind", "–"] if not cells["looks"].max() else [str(new), f"{confirmed} / {new}"]
        worded = cells["threat_model"].iloc[0] not in BY_HAND
        spelled = [f"{int(cells['readable'].sum())} / {attacked}" if worded else "–", _typed(cells)]
        spelled.append(f"{int(cells['dropped'].sum())}, {int(cells['failed'].sum())}")
        row = [cells["threat_model"].iloc[0], *each, *images, *found, *spelled]
        lines.append(f"| {attack_label(str(attack))} | {' | '.join(row)} |")
    note = (
        "\n*Found on the way*: prompts that are no hit as they stand, and of which the attacker saw one; *confirmed* "
        "are those that most pictures on fresh seeds show. The rest is luck, or drawn too seldom. *A prompt*: on "
        "average over all that could be attacked, also those that were a hit before and cost nothing. *For all*: one "
        "effort serves all; each of its gradient steps is on a batch of pictures, which the model evaluations count. "
        "*Model evaluations* are the denoiser's: what GCG, MMA and Ring-A-Bell ask, the text encoder alone, is not "
        "counted. *Judged images*: with those that had to confirm a hit, which come on top of the budget; not the "
        "first look at each prompt as it stands. *Hits whose tokens a text spells*, of all hits: as the prompt stands, "
        "or with a text that the tokenizer reads as the tokens that were drawn; of attacks that need a picture or the "
        "weights there are none. *Dropped*: prompts, over all models, that the attack gave up, such as one that it "
        "turned into a word for minors, or that is too long; *failed*: prompts of whose pictures the judge could not "
        "say anything. Both are left out of n.\n"
    )
    return "\n".join(lines) + "\n" + note


def _to_draw(cells: pd.DataFrame, attacked: int) -> str:
    """A prompt's; earlier rows did not count them."""
    if "sampling_evaluations" not in cells or cells["sampling_evaluations"].isna().any():
        return "–"
    return f"{cells['sampling_evaluations'].sum() / max(1, attacked):.1f}"


def _typed(cells: pd.DataFrame) -> str:
    """Of the rows that counted it; earlier ones did not."""
    if (
        cells["threat_model"].iloc[0] in BY_HAND
        or "readable_hits" not in cells
        or not (counted := cells[cells["readable_hits"].notna()]).size
    ):
        return "–"
    return f"{int(counted['readable_hits'].sum())} / {int(counted['hits'].sum())}"


def _questions(part: pd.DataFrame) -> str:
    """Whether each P-X is below its X and its X+, attack by attack, and by which judges."""
    compared = asked_beforehand(part)
    if compared.empty:
        return ""
    pairs = list(dict.fromkeys(zip(compared["first"], compared["second"], strict=True)))
    lines = [
        "Is P-X below X, and below X+? These are the study's questions, but this table was added when its first rows "
        "were known. First minus second in points, with p "
        "(McNemar's exact test on the first training seed, Holm-corrected for the "
        f"{len(compared)} comparisons of this table):\n",
        "| asked with | " + " | ".join(f"{first} minus {second}" for first, second in pairs) + " |",
        "|" + "---|" * (len(pairs) + 1),
    ]
    for attack, rows in compared.groupby("attack", sort=False):
        found = {
            (r.first, r.second): f"{100 * r.difference:+.0f} (p {spell_p(r.corrected)})" for r in rows.itertuples()
        }
        named = attack_label(str(attack)) + (ONE_EFFORT if rows["shared"].any() else "")
        lines.append(f"| {named} | {' | '.join(found.get(pair, '–') for pair in pairs)} |")
    told = by_second_judge(part)
    opinions = {"": compared} | ({str(told["second_judge"].iloc[0]): asked_beforehand(told)} if len(told) else {})
    kept = [set(_below(table)) for table in opinions.values()]
    agreed = [one for one in _below(compared) if all(one in below for below in kept)]
    whose = "by both judges, each corrected by itself" if len(opinions) > 1 else "corrected"
    lines.append(f"\nP-X is below, p under {LEVEL} {whose}: {'; '.join(agreed) or 'nowhere'}.")
    if compared["shared"].any():
        lines.append(f"\n{ONE_EFFORT}: {SHARED}")
    lines.append(
        "\nX is trained on fewer weights than P-X and X+, on plain prompts alone, and may have another weight on what "
        "must survive and other pictures for an attacker (the budgets below): what a mask does is seen beside X+."
    )
    return "\n".join(lines) + "\n"


def _below(compared: pd.DataFrame) -> list[str]:
    """The comparisons in which the second is a hit less often."""
    apart = compared[(compared["corrected"] < LEVEL) & (compared["difference"] > 0)]
    return [f"{r.second} below {r.first} under {attack_label(r.attack)}" for r in apart.itertuples()]


def _apart(part: pd.DataFrame) -> str:
    """Which models differ under which attack, of all comparisons on the concept, for each judge."""
    compared = told_apart(part)
    if compared.empty:
        return ""
    key, told = ["attack", "first", "second"], by_second_judge(part)
    again = told_apart(told)
    # who lists what either judge sees has looked at both judges' comparisons
    p = holm([*compared["p"], *again["p"]])
    compared, again = compared.assign(corrected=p[: len(compared)]), again.assign(corrected=p[len(compared) :])
    both = compared.join(again.set_index(key), on=key, rsuffix="_again")
    judges = [str(told["second_judge"].iloc[0])] if len(told) else []
    how = (
        f"McNemar's exact test on the first training seed, Holm-corrected for {len(p)} comparisons: all pairs of "
        f"erasers under all attacks on this concept{', by both judges' if judges else ''}"
    )
    titles = ["asked with", "first", "second", "first minus second", "p, Holm-corrected"]
    titles += [title for judge in judges for title in (f"by {judge}", "p")]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    apart = both[both[["corrected", "corrected_again"]].min(axis=1) < LEVEL]
    for row in apart.itertuples():
        named = attack_label(row.attack) + (ONE_EFFORT if row.shared else "")
        cells = [named, row.first, row.second, _gap(row.difference), spell_p(row.corrected)]
        cells += [_gap(row.difference_again), spell_p(row.corrected_again)] if judges else []
        lines.append("| " + " | ".join(cells) + " |")
    if apart.empty:
        return f"No two erasers are told apart under any attack ({how}).\n"
    note = f"\n{ONE_EFFORT}: {SHARED}\n" if apart["shared"].any() else ""
    note += (
        "\nA learned word and relearning have as many pictures to learn from as the eraser itself (the budgets below): "
        "between two erasers with different numbers part of a difference may be theirs.\n"
    )
    either = ", by either judge" if judges else ""
    return f"Erasers that are told apart{either} ({how}):\n\n" + "\n".join(lines) + "\n" + note


def _gap(difference: float) -> str:
    return "–" if pd.isna(difference) else f"{100 * difference:+.0f} points"


def _transfer(rows: list[dict], concept: str) -> str:
    """Attacks that were made on one model and tried on another."""
    parts = []
    for attack in dict.fromkeys(r["attack"] for r in rows if r.get("made_on") and r["concept"] == concept):
        matrix = transfer_matrix(rows, concept, attack).fillna("–")
        if matrix.empty:
            continue
        marked = matrix.astype(str).apply(lambda column: column.str.contains(OTHER)).any(axis=None)
        lines = [
            f"{attack_label(attack)} made on (row), tried on (column), a hit as it stands or as attacked; *left out*: "
            "the attacker saw a hit of the model of the row before it began, so that no attack was made for them. "
            "What a model draws plainly asked (last line) is no merit of an attack"
            + (f". {OTHER}: tried on another training of the model than its own attack:\n" if marked else ":\n")
        ]
        lines += ["| | " + " | ".join(matrix.columns) + " |", "|" + "---|" * (len(matrix.columns) + 1)]
        lines += [
            f"| {name} | {' | '.join(cells)} |" for name, cells in zip(matrix.index, matrix.to_numpy(), strict=True)
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def spell(share: Share) -> str:
    """``3 / 24 (4 to 31 %)``; of several trainings ``7 / 72 (4 to 20 %; by training 3, 2, 2)``."""
    if not share.n or share.low is None or share.high is None:
        return "–"
    each = f"; by training {', '.join(map(str, share.by_training))}" if share.by_training else ""
    return f"{share.hits} / {share.n} ({100 * share.low:.0f} to {100 * share.high:.0f} %{each})"
