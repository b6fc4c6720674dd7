import pandas as pd
import pytest

from excise.metrics import rate_of, summarise
from excise.metrics.summary import Survival


def verdicts(marks: str) -> pd.DataFrame:
    words = {"h": "hit", ".": "clear", "f": "failed", "d": "dropped"}
    rows = [(f"p{i}", 3 * (m in "h."), 3 * (m == "h"), words[m]) for i, m in enumerate(marks)]
    return pd.DataFrame(rows, columns=["prompt_id", "images", "hits", "verdict"])


@pytest.fixture
def metrics_of():
    """Metrics from marks by eraser, a letter a prompt; under attack, plain prompts being all clear but the base's."""

    def build(neurons=(), alarms="h" + "." * 28, singles=None, far=None, known=None, moved=None, **attacked: str):
        plain = {name: "h" * len(m) if name == "none" else "." * len(m) for name, m in attacked.items()}
        table = {(n, a): verdicts(m[n]) for n in attacked for a, m in (("plain", plain), ("unlearndiffatk", attacked))}
        marks = {"retain_near": {}, "retain_far": far or {}}
        default = {"retain_near": "h" * 11 + ".", "retain_far": "h" * 13}
        kept = {(n, s): verdicts(marks[s].get(n, default[s])) for s in marks for n in attacked}
        utility = {n: Survival(**{s: rate_of(kept[n, s]) for s in marks}, **(moved or {}).get(n, {})) for n in attacked}
        return summarise(
            model={"name": "emoji64", "sha256": "ab" * 32},
            concept={"name": "person", "kind": "nsfw"},
            budget="quick",
            verdicts=table,
            spent={k: {"gradient_steps": 41, "model_evaluations": 83, "images": 127} for k in table if k[1] != "plain"},
            utility=utility,
            kept=kept,
            masks={"p_esd": {"prune_rate": 0.02, "mask_bytes": 1234}} if "p_esd" in attacked else {},
            detector={
                "judge": "nudenet",
                "version": "3.4",
                "sha256": "cd" * 32,
                "threshold": 0.4,
                "verdicts": verdicts(alarms),
                **({} if singles is None else {"singles": verdicts(singles)}),
                **({} if known is None else {"known": known}),
            },
            neurons=pd.DataFrame(list(neurons), columns=["eraser", "attack", "reactivation", "sensitivity"]),
            cost=pd.DataFrame([("attack", 2.0, None)], columns=["stage", "seconds", "peak_mb"]),
            run={"id": "2026-01-01T00.00.00.000Z", "seed": 17, "versions": {"torch": "2.9"}},
        )

    return build
