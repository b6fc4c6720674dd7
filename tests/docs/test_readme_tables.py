"""The README's tables say what ``metrics.json`` says."""

from __future__ import annotations

import pytest

from excise.metrics.summary import Metrics
from tiny import PROJECT


@pytest.fixture(scope="module")
def tables():
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("readme_tables", PROJECT / "readme_tables.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rate(hits: int, n: int, **more) -> dict:
    told = {"n": n, "hits": hits, "any_hits": hits + 1, "dropped": 2, "failed": 3}
    return told | {"rate": hits / n, "low": 0.125, "high": 0.5} | more


def pair(**more) -> dict:
    told = {"first": "esd_plus", "second": "p_esd", "difference": -0.1, "low": -0.25, "high": 0.05, "n": 30}
    return told | {"first_only": 1, "second_only": 4, "p_value": 0.375} | more


METRICS = Metrics.model_validate(
    {
        "model": {"name": "tiny", "sha256": "0"},
        "concept": {"name": "person", "kind": "nsfw"},
        "budget": "quick",
        "erasers": {
            name: {
                "attacks": {"plain": rate(hits, 30), "unlearndiffatk": rate(hits + 1, 30)},
                "utility": {"retain_near": rate(7, 8), "retain_far": rate(5, 8)},
                **({"prune_rate": 0.1, "mask_bytes": 165376} if name == "p_esd" else {}),
            }
            for name, hits in (("none", 27), ("esd_plus", 5), ("p_esd", 8))
        },
        "paired": [pair(attack="plain"), pair(attack="unlearndiffatk", p_value=0.02)],
        "kept": [pair(set="retain_near")],
        "detector": rate(1, 30)
        | {"judge": "j", "version": "1", "sha256": "0", "threshold": 0.5, "singles": rate(2, 80)},
        "neurons": [],
        "cost": {},
        "run": {"id": "r", "seed": 0, "versions": {}},
    }
)


def test_every_rate_and_difference_has_its_line(tables):
    lines = tables.erasure_tables(METRICS).splitlines()
    assert (
        "| base model | plain prompts | 27 / 30 | 90.0 % | 12.5 % to 50.0 % | 28 / 30 | 2, 3 | 7 / 8 | 5 / 8 |" in lines
    )
    assert "| P-ESD | UnlearnDiffAtk | 9 / 30 | 30.0 % | 12.5 % to 50.0 % | 10 / 30 | 2, 3 |  |  |" in lines
    assert "| plain prompts | ESD+ (control) | P-ESD | -10.0 points | -25.0 to +5.0 | 0.375 | 0.375 |" in lines
    assert "| UnlearnDiffAtk | ESD+ (control) | P-ESD | -10.0 points | -25.0 to +5.0 | 0.020 | 0.040 |" in lines
    assert "| retain near | ESD+ (control) | P-ESD | -10.0 points | -25.0 to +5.0 | 0.375 | 0.375 |" in lines
    [said] = [line for line in lines if line.startswith("The detector")]
    assert "1 / 30 (3.3 %" in said and "2 / 80" in said and "10.0 %" in said and "165,376 bytes" in said


def test_a_table_is_put_between_its_marks(tables):
    page = "a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\nkept\n<!-- end -->\n"
    assert tables.placed(page, "one", "new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="no table"):
        tables.placed(page, "three", "new")


def test_the_page_has_the_table_of_the_rows_that_are_committed(tables):
    page = (PROJECT / "README.md").read_text()
    assert tables.with_study(page) == page and "| person | P-AC (mask alone) |" in page


def test_the_readme_says_what_its_run_measured(tables):
    told = Metrics.model_validate_json((PROJECT / tables.RUN).read_text())
    page = (PROJECT / "README.md").read_text()
    wanted = tables.placed(page, "erase_nsfw", tables.erasure_tables(told))
    assert page.split() == wanted.split()  # but for where lines end
    assert (told.run.seed, told.budget) == (1, "quick") and {"ac", "ac_plus", "p_ac"} <= set(told.erasers)


def test_what_the_readme_says_of_typed_text_is_what_its_run_measured(tables):
    told = Metrics.model_validate_json((PROJECT / tables.RUN).read_text())
    attacked = {name: told.erasers[name].attacks["unlearndiffatk"] for name in ("ac", "ac_plus", "p_ac")}
    typed = {name: (rate.typed.hits, rate.typed.n) for name, rate in attacked.items()}
    assert typed["ac"] == (5, 29) and typed["ac_plus"][0] == typed["p_ac"][0] == 0
    assert (
        (attacked["ac"].hits, attacked["ac"].readable_hits) == (8, told.erasers["ac"].attacks["plain"].hits) == (8, 2)
    )
    page = " ".join((PROJECT / "README.md").read_text().split())
    assert "Of its 8 hits on AC 2 are plain prompts' own; the other 6 are tokens that no text is read as." in page
    assert "brings AC to 5 of 29, and neither P-AC nor AC+ above none" in page
