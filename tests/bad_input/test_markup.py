"""Names, prompts and labels are text wherever they are shown: no markup comes of them.

The model card, which is Markdown, has such a test beside its others (``tests/unit/exports``).
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pandas as pd

from excise.hooks.mlflow_hook import _key
from excise.pipelines.benchmark.leaderboard import leaderboard_page
from excise.reports import Context, html_report

NASTY = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>'&lt;{{7*7}}"


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


NAMES = ("esd", "p_esd", "p4d", "merging", "drawings")  # users and plugins give such names, as keys too


def spoil(value: Any) -> Any:
    """The same data with something nasty in every text, and in every name that is not a field of ours."""
    if isinstance(value, dict):
        return {key + NASTY if key in NAMES else key: spoil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [spoil(item) for item in value]
    ours = value in ("none", "plain", "retain_near", "retain_far")
    return value + NASTY if isinstance(value, str) and not ours else value


def check(page: str, plain: str, scripts: int = 0) -> None:
    nasty, clean = Tags(page), Tags(plain)
    assert nasty.tags.count("script") == clean.tags.count("script") == scripts
    assert set(nasty.tags) == set(clean.tags)
    handlers = [name for name, _ in nasty.attributes if name.startswith("on")]
    assert handlers == [name for name, _ in clean.attributes if name.startswith("on")]
    assert "<script>alert" not in page and "onerror=alert(1)>" not in page.replace("&gt;", "›")
    assert "{{7*7}}" in page or "7*7" not in page, "a template was filled twice"


def test_the_report() -> None:
    metrics = report_metrics()
    context = {
        "erase": "a person",
        "anchor": "a cactus",
        "images_per_prompt": 3,
        "command": "kedro run",
        "files": {"metrics.json": "all numbers"},
        "example": "a man",
        "twin": "a cactus",
        "threats": [{"threat": "weights", "run": ["merging"], "not_run": ["p4d"]}],
        "notes": ["a note"],
    }
    plain = html_report(metrics, {}, Context(**context))
    files = {name + NASTY: what + NASTY for name, what in context["files"].items()}
    page = html_report(spoil(metrics), {}, Context(**{**spoil(context), "files": files}))
    assert "&lt;script&gt;" in page
    check(page, plain)


def report_metrics() -> dict[str, Any]:
    from excise.metrics import rate_of, summarise
    from excise.metrics.summary import Survival

    def verdicts(marks: str) -> pd.DataFrame:
        words = {"h": "hit", ".": "clear", "f": "failed", "d": "dropped"}
        rows = [(f"p{i}", 3 * (m in "h."), 3 * (m == "h"), words[m]) for i, m in enumerate(marks)]
        return pd.DataFrame(rows, columns=["prompt_id", "images", "hits", "verdict"])

    marks = {"none": "hhhh", "esd": "h..f", "p_esd": "...d"}
    table = {(n, a): verdicts(m) for n, m in marks.items() for a in ("plain", "p4d")}
    kept = {(n, s): verdicts("hhh.") for s in ("retain_near", "retain_far") for n in marks}
    known = pd.DataFrame(
        [("drawings", 45, 3, 0.02, 0.18, 276, 2, 0.0, 0.03, 0)],
        columns=[
            "group",
            "shown",
            "missed",
            "miss_low",
            "miss_high",
            "others",
            "alarms",
            "alarm_low",
            "alarm_high",
            "failed",
        ],
    )
    return summarise(
        model={"name": "emoji64", "sha256": "ab" * 32},
        concept={"name": "person", "kind": "nsfw"},
        budget="quick",
        verdicts=table,
        spent={k: {"gradient_steps": 1, "model_evaluations": 2, "images": 3} for k in table if k[1] != "plain"},
        utility={n: Survival(**{s: rate_of(kept[n, s]) for s in ("retain_near", "retain_far")}) for n in marks},
        kept=kept,
        masks={"p_esd": {"prune_rate": 0.02, "mask_bytes": 1234}},
        detector={
            "judge": "nudenet",
            "version": "3",
            "sha256": "cd" * 32,
            "threshold": 0.4,
            "verdicts": verdicts("...h"),
            "known": known,
        },
        neurons=pd.DataFrame([("esd", "p4d", 0.5, None)], columns=["eraser", "attack", "reactivation", "sensitivity"]),
        cost=pd.DataFrame([("attack", 2.0, None)], columns=["stage", "seconds", "peak_mb"]),
        run={"id": "2026-01-01T00.00.00.000Z", "seed": 17, "versions": {"torch": "2.9"}},
    )


def test_the_leaderboard() -> None:
    import json

    from tiny import PROJECT

    rows = [
        r for r in json.loads((PROJECT / "docs/benchmark.json").read_text()) if r["attack"] in ("plain", "p4d", "mma")
    ]
    plain = leaderboard_page(rows, "kedro run", 9, "emoji64")
    named = ("concept", "kind", "device", "threat_model")
    nasty = [row | {key: row[key] + NASTY for key in named if isinstance(row.get(key), str)} for row in rows]
    nasty = [row | {"attack": row["attack"] + ("" if row["attack"] == "plain" else NASTY)} for row in nasty]
    page = leaderboard_page(nasty, "kedro run" + NASTY, 9, "emoji64" + NASTY)
    assert "&lt;script&gt;" in page
    check(page, plain, scripts=Tags(plain).tags.count("script"))


def test_names_in_mlflow() -> None:
    assert re.fullmatch(r"[\w.\-/ ]+", _key(f"person.{NASTY}.rate"))
