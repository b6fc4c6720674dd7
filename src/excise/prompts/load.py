"""A user's own prompt table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from excise.errors import UserError

from .safety import drop_minor_rows

SEED_COLUMNS = ("seed", "evaluation_seed", "sd_seed")
GUIDANCE_COLUMNS = ("guidance", "evaluation_guidance", "sd_guidance_scale")


def load_prompt_table(path: str | Path) -> tuple[pd.DataFrame, int]:
    """Read a CSV or Parquet file with a column ``prompt``, as I2P and its kin have it.

    Columns ``seed`` and ``guidance`` are taken where they are there, under the names that published lists use.

    Returns:
        The table (prompt, seed, guidance; NaN where not given) and the number of rows dropped for words for minors.

    Raises:
        UserError: no such file, or no column ``prompt``.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"There is no prompt file {path}: correct the path in the concept's YAML.")
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    columns = {c.lower(): c for c in table.columns}
    if "prompt" not in columns:
        raise UserError(
            f"{path.name} has no column 'prompt' (it has {', '.join(map(str, table.columns))}): rename one."
        )

    def column(names: tuple[str, ...]) -> pd.Series:
        given = next((columns[n] for n in names if n in columns), None)
        return pd.to_numeric(table[given], errors="coerce") if given else pd.Series(float("nan"), table.index)

    out = pd.DataFrame(
        {"prompt": table[columns["prompt"]], "seed": column(SEED_COLUMNS), "guidance": column(GUIDANCE_COLUMNS)}
    )
    out = out[out["prompt"].notna() & (out["prompt"].astype(str).str.strip() != "")]
    return drop_minor_rows(out.assign(prompt=out["prompt"].astype(str)))
