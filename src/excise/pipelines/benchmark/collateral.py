"""Collateral damage: what was lost near the concept and far from it."""

from __future__ import annotations

import pandas as pd

from excise.pipelines.names import PLAIN

THIRDS = ("nearest third", "middle", "farthest")
FEW = 6  # things; of fewer each stands for itself


def collateral_table(part: pd.DataFrame) -> str:
    """What must survive and is still drawn right, in thirds by distance from the concept; thing by thing where there
    are few."""
    if "collateral" not in part:
        return ""
    plain = part[(part["attack"] == PLAIN) & part["collateral"].map(lambda c: isinstance(c, list))]
    if plain.empty:
        return ""
    parts = [pd.DataFrame(cell["collateral"]).assign(name=cell["name"]) for cell in plain.to_dict("records")]
    things = pd.concat(parts, ignore_index=True)
    apart = things.drop_duplicates("label").set_index("label")["distance"].sort_values(kind="stable")
    if len(apart) < FEW:
        group, order = things["label"], list(apart.index)
    else:
        ranks = apart.rank(pct=True)
        group = things["label"].map(
            lambda label: THIRDS[0 if ranks[label] <= 1 / 3 else 2 if ranks[label] > 2 / 3 else 1]
        )
        order = [third for third in THIRDS if (group == third).any()]
    names = list(part["name"].unique())
    lines = [
        "Collateral damage by distance from the concept (1 less the cosine of their words in the base model's text "
        "encoder), right / drawn:\n",
        "| things | distance | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 2),
    ]
    for title in order:
        chosen = things[group == title]
        counts = chosen.groupby("name")[["right", "n"]].sum()
        cells = [f"{counts.loc[n, 'right']} / {counts.loc[n, 'n']}" if n in counts.index else "–" for n in names]
        low, high = f"{chosen['distance'].min():.2f}", f"{chosen['distance'].max():.2f}"
        lines.append(f"| {title} | {low if low == high else f'{low} to {high}'} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
