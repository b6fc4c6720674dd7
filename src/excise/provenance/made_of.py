"""What a result names of that which made it, in the result itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JudgeIdentity(Strict):
    """``preprocessing``: what happens to an image first; missing in files of earlier versions."""

    name: str
    version: str
    sha256: str
    preprocessing: str | None = None


class Device(Strict):
    """``threads`` are torch's on the processor."""

    type: str
    name: str
    dtype: str
    threads: int


class MadeOf(Strict):
    """Beside the base model's hash, the seed, the versions and the run's id, which results name themselves.

    ``None`` where it is not known: a node that was called by hand knows no lock file.

    Attributes:
        prompts: fingerprint of the prompt table (``excise.cache.fingerprint``).
        judges: by role: concept, second, retain.
        code: of the package's Python files.
        lock: of ``constraints.txt``.
        erasers: ``Eraser.sha256`` by name, in ``metrics.json``.
    """

    prompts: str | None = None
    judges: dict[str, JudgeIdentity] = {}
    code: str | None = None
    lock: str | None = None
    device: Device | None = None
    erasers: dict[str, str] = {}


def made_of(
    run_info: Mapping[str, Any],
    concept: Mapping[str, Any],
    prompts: str | None,
    erasers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The block ``made_of`` of a result.

    Args:
        run_info: of the run, with ``environment`` (``describe_environment``) where the run knows it.
        concept: its description; its judges are named.
        prompts: fingerprint of the prompt table.
    """
    environment = run_info.get("environment") or {}
    judged = {"judges": judges_of(concept), "erasers": dict(erasers or {})}
    return MadeOf(prompts=prompts, **environment, **judged).model_dump(mode="json")


def judges_of(concept: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Name, version, hash and preprocessing of a concept's judges, by role."""
    from excise.concepts import Concept
    from excise.judges import make_judge

    described = Concept(**concept)
    roles = {"concept": described.judge, "second": described.second_judge, "retain": described.retain_judge}
    made = {role: make_judge(spec) for role, spec in roles.items() if spec is not None}
    return {r: {key: getattr(j, key) for key in JudgeIdentity.model_fields} for r, j in made.items()}
