"""How models stand, from rows alone: rates with intervals, the worst of each threat model, and who is told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from excise.metrics.several import holm
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.idle import is_idle
from excise.pipelines.study_pruning.naming import name_of
from excise.pipelines.study_pruning.pairs import mcnemar_p, verdict_matrix
from excise.pipelines.study_pruning.plan import NEVER_SAW, NOTHING, SILENCED, made_by
from excise.pipelines.study_pruning.trainings import OTHER, model_of, worn
from excise.reports.words import attack_label, is_control

LEVEL = 0.05
REFERENCES = (NOTHING, NEVER_SAW)  # what nothing was erased from
# who types, or gives vectors; who brings a picture or holds the weights gets the concept back from any eraser so far,
# so that a rank by those would say nothing
WORDS = ("black-box text", "white-box text", "embedding")


@dataclass(frozen=True)
class Share:
    """Hits / n with a Wilson interval, prompts being the units; seeds averaged. With several training seeds the hits of
    each stand beside it: where one effort served all prompts, these are the units."""

    hits: int
    n: int
    low: float | None
    high: float | None
    by_training: tuple[int, ...] = ()

    @property
    def rate(self) -> float | None:
        return self.hits / self.n if self.n else None


def own_rows(rows: list[dict]) -> list[dict]:
    """Without those of transfer, which may be from another training: ``OTHER`` marks them in their own table."""
    return [row for row in rows if not row.get("made_on")]


def table_of(rows: list[dict], transfer: bool = False) -> pd.DataFrame:
    """Rows as a table with the models' names and threat models; those of transfer alone, or all but those.

    Rows in which the attack had nothing to attack are marked as ``idle``: no figure of theirs is an attack's.
    """
    table = pd.DataFrame([r for r in rows if r["eraser"] != SILENCED and bool(r.get("made_on")) == transfer])
    if table.empty:
        return table
    table["name"] = [name_of(r) for r in table.to_dict("records")]
    threat = table["threat_model"] if "threat_model" in table else pd.Series(index=table.index, dtype=object)
    table["threat_model"] = threat.fillna("plain prompt")
    table["idle"] = [is_idle(r) for r in table.to_dict("records")]
    return table


def by_second_judge(table: pd.DataFrame) -> pd.DataFrame:
    """The same pictures as the second judge sees them; without the rows that have none."""
    if "second_judge" not in table:
        return table[:0]
    told = table[table["second_judge"].notna()]
    return told.assign(verdicts=told["second_verdicts"], hits=told["second_hits"], n=told["second_n"])


def share_of(cells: pd.DataFrame) -> Share:
    """The rate over all training seeds of a model under one attack."""
    from statsmodels.stats.proportion import proportion_confint

    matrix = verdict_matrix(cells)
    judged = ~np.isnan(matrix).all(0)
    low, high = None, None
    if judged.any():
        means = np.nanmean(matrix[:, judged], 0)
        low, high = map(float, proportion_confint(means.sum(), len(means), method="wilson"))
    each = tuple(map(int, cells.sort_values("seed", kind="stable")["hits"])) if len(cells) > 1 else ()
    return Share(int(cells["hits"].sum()), int(cells["n"].sum()), low, high, each)


def retained(cells: pd.DataFrame, sets: tuple[str, ...] = ("near", "far")) -> Share:
    """What must survive and is still drawn right, over all training seeds."""
    from statsmodels.stats.proportion import proportion_confint

    each = cells.drop_duplicates("seed")  # the same pictures stand beside every attack
    hits, n = (int(sum(each[f"retain_{s}{end}"].sum() for s in sets)) for end in ("", "_n"))
    if not n:
        return Share(hits, n, None, None)
    asked = int(sum(each[f"retain_{s}_n"].iloc[0] for s in sets))  # prompts; seeds draw the same ones
    low, high = map(float, proportion_confint(hits / n * asked, asked, method="wilson"))
    return Share(hits, n, low, high)


def rank_on(part: pd.DataFrame, threats: tuple[str, ...] = WORDS, controls: bool = False) -> list[str]:
    """Attacks of some threat models under which models can be ranked: all erased models that any of these was tried on
    have figures for them. Controls are luck alone and no attack: they are left out, or with ``controls`` all there is.
    """
    asked = part[(part["attack"] != PLAIN) & part["threat_model"].isin(threats) & (part["n"] > 0) & ~part["idle"]]
    asked = asked[asked["attack"].map(is_control) == controls]
    erased = asked[~asked["eraser"].isin(REFERENCES)]
    models = erased.groupby("attack", sort=False)["name"].nunique()
    return [str(attack) for attack, count in models.items() if count == erased["name"].nunique()]


def one_effort(cells: pd.DataFrame) -> bool:
    """Whether one effort of the attacker (a learned word, a change of the weights) served all prompts."""
    return "shared" in cells and any(bool(shared) for shared in cells["shared"] if pd.notna(shared))


def lacking(part: pd.DataFrame, name: str) -> list[str]:
    """Attacks that some erased model has a cell for and this one has none."""
    asked = part[part["attack"] != PLAIN]
    own = set(asked[asked["name"] == name]["attack"])
    return [a for a in asked[~asked["eraser"].isin(REFERENCES)]["attack"].unique() if a not in own]


def the_same(part: pd.DataFrame) -> list[list[str]]:
    """Attacks that found something, and the same of every model after as many steps: one by several names."""
    groups: dict[tuple, list[str]] = {}
    for attack, cells in part[(part["attack"] != PLAIN) & ~part["idle"]].groupby("attack", sort=False):
        found = cells["found"] if "found" in cells and not is_control(str(attack)) else pd.Series(dtype=object)
        if any(k > 0 for took in found if isinstance(took, list) for k in took):  # two that find nothing are not one
            told = tuple(sorted((r["name"], r["seed"], r["verdicts"], str(r["found"])) for _, r in cells.iterrows()))
            groups.setdefault(told, []).append(str(attack))
    return [attacks for attacks in groups.values() if len(attacks) > 1]


def strongest_name(found: tuple[str, Share] | None, plain: tuple[str, Share] | None) -> str:
    """What to call the strongest attack: none is that brings nothing back, or nothing that plain prompts do not."""
    if found is None:
        return ""
    attack, share = found
    if not share.hits:
        return "none of them"
    return attack_label(attack) if plain is None or share.rate > plain[1].rate else "none beyond plain prompts"


def worst(
    cells: pd.DataFrame, attacks: Sequence[str], rate: Callable[[pd.DataFrame], Share] = share_of
) -> tuple[str, Share] | None:
    """Which of some attacks brings the concept back most often, and its rate: chosen by its result, so too high."""
    cells = cells[~cells["idle"]]
    found = [(a, rate(part)) for a in attacks if len(part := cells[cells["attack"] == a])]
    found = [(attack, share) for attack, share in found if share.n]
    return max(found, key=lambda item: item[1].rate) if found else None


def told_apart(part: pd.DataFrame) -> pd.DataFrame:
    """All pairs of erased models under every attack on one concept: McNemar's exact test on the first training seed.

    All of it is one family: a reader looks for the significant ones among all of them, so that Holm's correction is for
    their number, before any is left out.

    Returns:
        attack, first, second, difference (first minus second, on [-1, 1]), p, corrected, shared (whether one effort
        served all prompts, such as one learned word: p then speaks of this effort only, which is a sample of one); one
        row a comparison, none where no prompt was judged with both.
    """
    asked = part[(part["attack"] != PLAIN) & ~part["eraser"].isin(REFERENCES) & ~part["idle"]]
    pairs = [
        pair
        for _, cells in asked.groupby("attack", sort=False)
        for pair in combinations([row for _, row in _first_seed(cells).iterrows()], 2)
    ]
    return _compared(pairs)


def asked_beforehand(part: pd.DataFrame) -> pd.DataFrame:
    """The study's questions: under every attack on one concept, is an eraser's P-X below X, and below X+?

    The questions are those of the study's bar, which was set before any row was made, and are a family of their own;
    that they are put to the benchmark's rows was decided when the first of these were known.
    Controls are luck alone and no attack: they are left out.

    Returns:
        As ``told_apart``, P-X being the second.
    """
    asked = part[(part["attack"] != PLAIN) & ~part["attack"].map(is_control) & ~part["idle"]]
    pairs = []
    for _, cells in asked.groupby(["attack", "eraser"], sort=False):
        by_variant = {row["variant"]: row for _, row in _first_seed(cells).iterrows()}
        if "learned" in by_variant:
            pairs += [(by_variant[v], by_variant["learned"]) for v in ("unpruned", "plus") if v in by_variant]
    return _compared(pairs)


def _first_seed(cells: pd.DataFrame) -> pd.DataFrame:
    return cells.sort_values("seed", kind="stable").drop_duplicates("name")


def _compared(pairs: list[tuple[pd.Series, pd.Series]]) -> pd.DataFrame:
    rows = []
    for a, b in pairs:
        x, y = (verdict_matrix(pd.DataFrame([one]))[0] for one in (a, b))
        both = ~(np.isnan(x) | np.isnan(y))
        if not both.any():
            continue
        shared = pd.notna(a.get("shared")) and bool(a["shared"])
        rows.append((a["attack"], a["name"], b["name"], (x - y)[both].mean(), mcnemar_p(x, y), shared))
    table = pd.DataFrame(rows, columns=["attack", "first", "second", "difference", "p", "shared"])
    return table.assign(corrected=holm(table["p"].tolist()))


def transfer_matrix(rows: list[dict], concept: str, attack: str) -> pd.DataFrame:
    """Attacks made on one model (row), tried on another (column); on the diagonal the adaptive attack.

    Off the diagonal prompts are left out of which the attacker saw a hit before it began: no attack was made for them,
    and what is carried over is the plain prompt.

    Returns:
        Spelled rates, model by model, and a last line: the same models plainly asked, which is what a carried attack
        has to beat; empty where nothing was carried over. ``OTHER`` marks what was tried on another training of a
        model than its own attack.
    """
    carried = table_of(rows, transfer=True)
    if carried.empty:
        return carried
    chosen = carried[(carried["concept"] == concept) & (carried["attack"] == attack)]
    own = table_of(rows)
    own = own[(own["concept"] == concept) & (own["attack"] == attack) & own["eraser"].isin(chosen["eraser"])]
    wear = {model_of(r): worn(r) for r in own.to_dict("records")}
    found: dict[str, dict[str, str]] = {}
    for made_on, name, spelled in (
        *((_other_name(part.iloc[0]), part["name"].iloc[0], _carried(part, wear)) for part in _groups(chosen)),
        *((part["name"].iloc[0], part["name"].iloc[0], _own(share_of(part))) for part in _groups(own)),
    ):
        found.setdefault(made_on, {})[name] = spelled
    if own.empty:
        return own
    names = [n for n in own["name"].unique() if n in found]
    plain = table_of(rows)
    plain = plain[(plain["concept"] == concept) & (plain["attack"] == PLAIN)]
    asked = {n: part for n, part in plain.groupby("name") if n in names}
    found["plain prompt"] = {n: _own(share_of(part)) for n, part in asked.items()}
    return pd.DataFrame(found).T.reindex(index=[*names, "plain prompt"], columns=names)


def _own(share: Share) -> str:
    return f"{share.hits} / {share.n}"


def _carried(cells: pd.DataFrame, wear: dict) -> str:
    """Hits among the prompts that an attack was made for, and how many judged ones are left out.

    Args:
        wear: model -> the eraser that it wore under its own attack.
    """
    verdicts = verdict_matrix(cells)
    plain = np.array([[took == 0 for took in row] for row in cells["found"]])
    judged = ~np.isnan(verdicts)
    kept, lost = verdicts[judged & ~plain], int((judged & plain).sum())
    other = any(wear.get(model_of(r), worn(r)) != worn(r) for r in cells.to_dict("records"))
    return f"{int(kept.sum())} / {kept.size}{OTHER if other else ''}" + (f" ({lost} left out)" if lost else "")


def _groups(table: pd.DataFrame) -> list[pd.DataFrame]:
    keys = ["eraser", "variant"] + (["made_on"] if "made_on" in table else [])
    return [part for _, part in table.groupby(keys, sort=False)]


def _other_name(row: pd.Series) -> str:
    eraser, variant = made_by(row["eraser"], row["made_on"])
    return name_of({"eraser": eraser, "variant": variant})
