"""What a ``metrics.json`` names (run, prompts, base model, erasers, judges) is what is stored, and what is here."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from excise.errors import UserError, short
from excise.provenance import NodeRecord, RunRecord

from .finding import Finding, many
from .stored import CHANGED


def check_names(
    root: Path, run: RunRecord, records: list[NodeRecord], changed: Collection[str] = ()
) -> Iterator[Finding]:
    """What a ``metrics.json`` of this run and the erasers name is what is stored, and what is here."""
    from excise.provenance.environment import code_sha256, lock_sha256

    for record in records:  # one that the run only read names the run and the erasers of another
        for name, file in record.outputs.items():
            if name.endswith(".metrics") and (root / file.file).exists():
                yield from _check_metrics(root, run, record, name, changed)
    for what, here in (("code", code_sha256()), ("lock", lock_sha256(root))):
        if run.environment.get(what) == here:
            yield Finding("agrees", f"the {what} here", "it is what made the run")
        else:
            yield Finding(
                "unchecked", f"the {what} that made the run", "another is here: what follows is made with that"
            )


class _Made(BaseModel):
    prompts: str | None = None
    judges: dict[str, Any]
    erasers: dict[str, str]


class _Run(BaseModel):
    id: str
    made_of: _Made | None = None


class _Model(BaseModel):
    sha256: str


class _Metrics(BaseModel):
    """What is read here of a ``metrics.json``, of whatever version."""

    run: _Run
    model: _Model


def _check_metrics(
    root: Path, run: RunRecord, record: NodeRecord, name: str, changed: Collection[str]
) -> Iterator[Finding]:
    import pandas as pd

    from excise.cache import fingerprint
    from excise.erasers import Eraser

    concept, file = name.removesuffix(".metrics"), record.outputs[name].file
    if file in changed:
        yield Finding("unchecked", f"what metrics.json of {concept} names", CHANGED.format(file))
        return
    try:
        metrics = _Metrics.model_validate_json((root / file).read_bytes())
    except ValidationError as error:
        yield Finding("differs", f"what metrics.json of {concept} names", _unread(error))
        return
    made = metrics.run.made_of
    if made is None:
        yield Finding(
            "unchecked", "what metrics.json names", "it was written before results named what they were made of"
        )
        return
    facts, stored, failed = {"run": (metrics.run.id, run.id)}, {}, False
    there = {n: f for n, f in record.inputs.items() if (root / f.file).exists()}
    for given, stands in there.items():
        kind = given.rpartition(".")[2]
        if kind not in ("prompts", "eraser", "concept"):
            continue
        if stands.file in changed:
            failed = True
            yield Finding("unchecked", f"{given}, as metrics.json names it", CHANGED.format(stands.file))
            continue
        try:
            if kind == "prompts":
                facts[kind] = (str(made.prompts), fingerprint(pd.read_parquet(root / stands.file)))
            elif kind == "eraser":
                eraser = Eraser.load(root / stands.file)
                stored[eraser.sha256] = given
                facts[f"the base model of {given}"] = (metrics.model.sha256, eraser.header["base"]["sha256"])
            else:
                yield check_judges(made.judges, json.loads((root / stands.file).read_text()))
        except (UserError, ValueError, OSError, TypeError) as error:
            failed = True
            judge_lacks = kind == "concept" and isinstance(error, UserError)  # something of this machine
            yield Finding("unchecked" if judge_lacks else "differs", given, _unread(error))
    lost = {n for n in record.inputs if n.endswith(".eraser")} - set(stored.values())
    missing = [eraser for eraser, sha256 in made.erasers.items() if sha256 not in stored]
    for eraser in missing:
        what = f"the eraser {eraser}, as metrics.json names it"
        if lost:
            yield Finding("unchecked", what, f"it may be one that cannot be read: {', '.join(sorted(lost))}")
        else:
            yield Finding("differs", what, f"no stored eraser is {made.erasers[eraser][:12]}…")
    for what, (told, found) in facts.items():
        if told != found:
            cut = (told, found) if what == "run" else (f"{told[:12]}…", f"{found[:12]}…")  # ids begin alike
            yield Finding("differs", f"{what}, as metrics.json names it", f"{cut[0]} is named, {cut[1]} is stored")
    if all(told == found for told, found in facts.values()) and not missing and not failed:
        told = f"run, prompts and base model are those stored, and so are {many(len(made.erasers), 'eraser')}"
        yield Finding("agrees", f"what metrics.json of {concept} names", told)


def _unread(error: Exception) -> str:
    """Why a file cannot be read, on one line."""
    return str(error) if isinstance(error, UserError) else f"it cannot be read: {short(str(error), 120)}"


def check_judges(named: dict[str, Any], concept: dict[str, Any]) -> Finding:
    from excise.provenance.made_of import judges_of

    here = judges_of(concept)
    told = {role: {key: value for key, value in one.items() if value is not None} for role, one in named.items()}
    same = [{key: here[role][key] for key in one} == one for role, one in told.items() if role in here]
    if here.keys() == told.keys() and all(same):  # files of earlier versions do not tell all
        return Finding("agrees", "the judges here", "they are those that metrics.json names")
    return Finding("unchecked", "the judges that metrics.json names", "others are here: those judge in what follows")
