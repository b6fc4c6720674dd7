"""Makes a result again from what is stored, and compares."""

from __future__ import annotations

import inspect
import json
import random
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import BaseModel, ValidationError

from excise.errors import UserError, short
from excise.provenance import File, NodeRecord, RunRecord, file_sha256, read_run
from excise.provenance.contents import lasting
from excise.provenance.records import newest_run

from .jobs import Job, open_job, runs_folder, sentence_for

if TYPE_CHECKING:
    import pandas as pd

# nodes that cost little beside what they look at
COUNTED = ("identify_model", "make_prompts", "summarise_run")
JUDGED = ("judge_concept", "judge_retain")
DRAWN = ("draw_plain", "draw_attacked")
JUDGED_TOGETHER = 64  # as ``judge_images`` has it: in another company a detection may differ in its last bits
CHANGED = "{} is not the file that was written"
SEEN = ["image_id", "label", "score", "x0", "y0", "x1", "y1", "failed"]


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count != 1 else "")


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, and what came out."""

    outcome: Literal["agrees", "differs", "unchecked"]
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:<9} {self.what}" + (f": {self.detail}" if self.detail else "")


def run_of(root: Path, what: str | None) -> str:
    """The run that somebody means: its id, a file or folder that it saved, or nothing for the newest.

    Raises:
        UserError: there is no such run.
    """
    runs = runs_folder(root)
    if what is None:
        return newest_run(runs)
    if (runs / what / "run.json").exists():
        return what
    path = (root / what).resolve()
    if not path.exists():
        raise UserError(f"There is neither a run nor a file '{what}': give a run's id or a result below data/.")
    inside = [path.name, *(p.name for p in path.parents)]
    known = {p.parent.name for p in runs.glob("*/run.json")}
    named = [name for name in inside if name in known]
    if not named and path.is_dir():  # a versioned data set: the newest version
        named = sorted(known & {p.name for p in path.iterdir()})[-1:]
    if not named:
        raise UserError(f"No run has a record of '{what}': give a result below data/, or a run's id.")
    return named[0]


def holds_rows(path: Path) -> bool:
    """Whether a file is a grid's rows, and no result of a run: by its name, since a damaged one is to be told too."""
    return path.name in ("results.json", "benchmark.json", "ablations.json", "neurons.json") or (
        path.suffix == ".json" and path.parent.name == "docs"
    )


def verify_rows(path: Path) -> Iterator[Finding]:
    """Counts of committed rows, from their verdicts.

    Raises:
        UserError: there is no such file, or it holds no rows.
    """
    from excise.provenance.rows import wrong_row

    if not path.is_file():
        raise UserError(f"There is no file '{path}': give docs/results.json, docs/benchmark.json or docs/neurons.json.")
    try:
        rows = _rows(path)
        if rows and all("variation" in row for row in rows):
            counts = "rows of ablations are not counted again; those of earlier versions keep no verdicts"
            yield Finding("unchecked", f"{len(rows)} rows", counts)
            return
        wrong = {
            ".".join(str(row[k]) for k in ("concept", "eraser", "variant", "attack", "seed")): wrong_row(row)
            for row in rows
        }
    except (KeyError, TypeError, AttributeError, ValueError):
        sentence = f"'{path}' is damaged or no table of committed rows: take it from version control again."
        raise UserError(sentence) from None
    for name, reasons in wrong.items():
        if reasons:
            yield Finding("differs", name, "; ".join(reasons))
    right = sum(not reasons for reasons in wrong.values())
    if right:
        yield Finding("agrees", f"{right} rows", "counts follow from the verdicts")
    made = "kedro stale tells whether code and parameters are still those"
    yield Finding(
        "unchecked", "judgements and pictures of rows", f"they lie in data/ of the machine that made them; {made}"
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = json.loads(path.read_text())
    if not isinstance(rows, list):
        raise ValueError(f"{path} is no list")
    return rows


def verify_run(root: Path, run_id: str, rejudge: bool = True, redraw: int = 0) -> Iterator[Finding]:
    """All checks of one run, the cheap ones first.

    Args:
        rejudge: judge stored pictures again.
        redraw: how many pictures to draw again, on the device that drew them.
    """
    run, records = read_run(runs_folder(root), run_id)
    changed = changed_files(root, records)
    yield from check_files(root, records, changed)
    yield from check_names(root, run, records, changed)
    try:
        with open_job(root, run) as job:
            yield from _check_job(run, records, job, rejudge, redraw, changed)
    except Exception as error:  # parameters of then may be none of today's
        yield Finding("unchecked", "what is counted and judged", sentence_for(error))


def _check_job(
    run: RunRecord, records: list[NodeRecord], job: Job, rejudge: bool, redraw: int, changed: Collection[str]
) -> Iterator[Finding]:
    for record in records:
        name = record.node.rpartition(".")[2]
        if name not in (*COUNTED, *JUDGED):
            continue
        if name in JUDGED and not rejudge:
            continue
        yield from check_node(run, record, job, changed)
    if not rejudge:
        yield Finding("unchecked", "judgements", "nobody asked: --no-rejudge")
    drawn = [record for record in records if record.node.rpartition(".")[2] in DRAWN]
    for record in drawn:
        yield from check_pictures(record, job, changed)
    if redraw:
        yield from check_redrawn(run, records, job, redraw, changed)
    elif drawn:
        yield Finding("unchecked", "whether the same pictures are drawn again", "nobody asked: --redraw N")


# stored files -------------------------------------------------------------------------------------------------------
def _files(records: list[NodeRecord]) -> dict[str, File]:
    return {f.file: f for record in records for f in (*record.inputs.values(), *record.outputs.values())}


def changed_files(root: Path, records: list[NodeRecord]) -> set[str]:
    """Places of files that hold other bytes than were noted: nothing that is read from them counts."""
    files = _files(records).values()
    return {f.file for f in files if (root / f.file).exists() and file_sha256(root / f.file) != f.sha256}


def check_files(root: Path, records: list[NodeRecord], changed: Collection[str] | None = None) -> Iterator[Finding]:
    """Every file that the run read or wrote has the bytes that were noted.

    Args:
        changed: ``changed_files``, where they are known: each file is read once.
    """
    changed = changed_files(root, records) if changed is None else changed
    files = _files(records)
    gone = [place for place in files if not (root / place).exists()]
    for place in files:
        if place in changed:
            yield Finding("differs", place, "it is not the file that was written: its hash is another")
    for place in gone:
        yield Finding("unchecked", place, "it is gone")
    if len(files) > len(changed) + len(gone):
        yield Finding("agrees", f"{len(files) - len(changed) - len(gone)} files", "their hashes are those noted")


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
                yield _check_judges(made.judges, json.loads((root / stands.file).read_text()))
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
        told = f"run, prompts and base model are those stored, and so are {_many(len(made.erasers), 'eraser')}"
        yield Finding("agrees", f"what metrics.json of {concept} names", told)


def _unread(error: Exception) -> str:
    """Why a file cannot be read, on one line."""
    return str(error) if isinstance(error, UserError) else f"it cannot be read: {short(str(error), 120)}"


def _check_judges(named: dict[str, Any], concept: dict[str, Any]) -> Finding:
    from excise.provenance.made_of import judges_of

    here = judges_of(concept)
    told = {role: {key: value for key, value in one.items() if value is not None} for role, one in named.items()}
    same = [{key: here[role][key] for key in one} == one for role, one in told.items() if role in here]
    if here.keys() == told.keys() and all(same):  # files of earlier versions do not tell all
        return Finding("agrees", "the judges here", "they are those that metrics.json names")
    return Finding("unchecked", "the judges that metrics.json names", "others are here: those judge in what follows")


# nodes --------------------------------------------------------------------------------------------------------------
def check_node(run: RunRecord, record: NodeRecord, job: Job, changed: Collection[str] = ()) -> Iterator[Finding]:
    """A cheap node, done again on its stored inputs.

    Args:
        changed: files that hold other bytes than were noted: on those nothing is made again.
    """
    from excise.images import ImageSet, judged_while_drawn

    node = job.node(record.node)
    if node is None:
        yield Finding("unchecked", record.node, "its pipeline no longer has it")
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            given = _inputs(run, record, node, job, Path(folder), changed)
        except _GoneError as error:
            yield Finding(error.outcome, record.node, str(error))
            return
        for images in (v for v in given.values() if isinstance(v, ImageSet)):
            if not images.complete:
                yield Finding("unchecked", record.node, "its pictures are no longer in the cache")
                return
            if judged_while_drawn(images) is not None:
                yield Finding("unchecked", record.node, "of an unsafe concept only coarse pictures are kept")
                return
        try:
            made = node.run(given)
        except Exception as error:  # whatever it is: the other checks are made all the same
            told = f"it cannot be made again: {type(error).__name__}: {short(str(error), 120)}"
            yield Finding("unchecked", record.node, told)
            return
    for name, data in made.items():
        try:
            stored = _load(job, name, record.outputs[name], changed, compared=True)
        except _GoneError as error:
            yield Finding(error.outcome, f"{name}, made again from what is stored", str(error))
            continue
        different = differences(stored, data)
        if different:
            yield Finding("differs", f"{name}, made again from what is stored", different)
        else:
            yield Finding("agrees", f"{name}, made again from what is stored")


class _GoneError(Exception):
    """A stored input is no longer there, or no longer what was stored.

    Attributes:
        outcome: of what was to be checked with it: what has the bytes that were noted and is no such file differs.
    """

    def __init__(self, told: str, outcome: Literal["differs", "unchecked"] = "unchecked") -> None:
        super().__init__(told)
        self.outcome = outcome


def _load(job: Job, name: str, file: File, changed: Collection[str] = (), compared: bool = False) -> Any:
    """A stored data set, in the version that a record names.

    Args:
        compared: it is what something is compared with, so that a changed one is read, too, to tell how it differs.
    """
    if file.file in changed and not compared:
        raise _GoneError(CHANGED.format(file.file))
    dataset, version = job.catalog.get(name), Path(file.file).parent.name
    place = Path(str(dataset._filepath)) if hasattr(dataset, "_filepath") else None
    try:
        return job.catalog.load(name, version=version)
    except Exception as error:  # libraries have many words for a damaged file
        there = place is not None and (place / version / place.name).exists() and file.file not in changed
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise _GoneError(f"'{name}' cannot be read: {cause}", "differs" if there else "unchecked") from None


def _inputs(
    run: RunRecord, record: NodeRecord, node: Any, job: Job, scratch: Path, changed: Collection[str] = ()
) -> dict[str, Any]:
    """What a node read: stored files in the version that it read, parameters as they were."""
    from pydantic import BaseModel

    from excise.cache import Cache

    info = {"id": run.id, "versions": run.versions, "command": "", "environment": run.environment}
    given = {"cache": Cache(scratch), "cost": [], "run_info": info, "concepts": job.concepts}
    function = getattr(node.func, "__wrapped__", node.func)
    hints, arguments = get_type_hints(function), _arguments(node, function)
    for name in node.inputs:
        if name in record.inputs:
            given[name] = _load(job, name, record.inputs[name], changed)
        elif name in record.parameters:
            hint, value = hints.get(arguments.get(name, "")), record.parameters[name]
            if name == "params:model":
                value = _settled(value, record, job, changed)
            checked = inspect.isclass(hint) and issubclass(hint, BaseModel)
            try:
                given[name] = hint.model_validate(value) if checked else value
            except ValidationError as error:
                raise _GoneError(f"its '{name}' is no longer valid: {short(str(error), 120)}") from None
    lacking = [name for name in node.inputs if name not in given]
    if lacking:
        raise _GoneError(f"today it reads '{lacking[0]}' too, which it did not then")
    return {name: given[name] for name in node.inputs}


def _settled(model: dict[str, Any], record: NodeRecord, job: Job, changed: Collection[str]) -> dict[str, Any]:
    """The base model's parameters, with what ``auto`` became when they were read: it stands in what was stored."""
    stored = next((_load(job, n, f, changed) for n, f in record.outputs.items() if n.endswith(".model")), {})
    return {
        key: stored.get(key, value) if value == "auto" and key != "device" else value for key, value in model.items()
    }


def _arguments(node: Any, function: Any) -> dict[str, str]:
    """Data set -> the argument that it is given as."""
    if isinstance(node._inputs, dict):
        return {data: argument for argument, data in node._inputs.items()}
    names = [node._inputs] if isinstance(node._inputs, str) else node._inputs
    return dict(zip(names, inspect.signature(function).parameters, strict=False))


def differences(stored: Any, made: Any) -> str:
    """In a few words how two results differ, or nothing; what differs from run to run does not count."""
    import pandas as pd

    if isinstance(stored, pd.DataFrame):
        return _table_differences(stored, made)
    was, is_ = (dict(_leaves(json.loads(json.dumps(lasting(value))))) for value in (stored, made))
    other = sorted(key for key in {*was, *is_} if was.get(key) != is_.get(key))
    told = [f"{key} is {was.get(key)} and comes out as {is_.get(key)}" for key in other[:3]]
    return "; ".join(told) + (f"; and {len(other) - 3} more" if len(other) > 3 else "")


def _table_differences(stored: pd.DataFrame, made: pd.DataFrame) -> str:
    """Scores may differ in their last digits, as they do with another number of threads; whatever follows may not."""
    import numpy as np

    from excise.cache import fingerprint

    if list(stored.columns) != list(made.columns):
        return "it has other columns"
    if len(stored) != len(made):
        return f"it has {len(stored)} rows, and comes out with {len(made)}"
    scores = list(stored.select_dtypes("float").columns.intersection(made.select_dtypes("float").columns))
    rest = [table.drop(columns=scores) for table in (stored, made)]
    marks = [[fingerprint(row.to_frame().T.astype(str)) for _, row in table.iterrows()] for table in rest]
    close = np.isclose(stored[scores], made[scores], rtol=1e-4, atol=1e-6, equal_nan=True).all(axis=1)
    other = sum(a != b or not near for a, b, near in zip(*marks, close, strict=True))
    return f"{other} of {len(stored)} rows are others" if other else ""


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield name, value
        return
    for key, item in items:
        yield from _leaves(item, f"{name}.{key}" if name else str(key))


# pictures -----------------------------------------------------------------------------------------------------------
def check_pictures(record: NodeRecord, job: Job, changed: Collection[str] = ()) -> Iterator[Finding]:
    """Stored pictures are those that the manifest speaks of."""
    import hashlib

    for name, file in record.outputs.items():
        try:
            images = _load(job, name, file, changed)
        except _GoneError as error:
            yield Finding(error.outcome, name, str(error))
            continue
        there = [
            (images.folder / f, sha256) for f, sha256 in images.manifest[["file", "sha256"]].itertuples(index=False)
        ]
        gone = [path for path, _ in there if not path.exists()]
        wrong = [p for p, sha256 in there if p.exists() and hashlib.sha256(p.read_bytes()).hexdigest() != sha256]
        for path in wrong:
            yield Finding("differs", f"{name}: {path.name}", "it is not the picture that was drawn")
        if gone:
            yield Finding("unchecked", f"{name}: {_many(len(gone), 'picture')}", "they are no longer in the cache")
        if len(there) > len(gone) + len(wrong):
            yield Finding("agrees", f"{name}: {_many(len(there) - len(gone) - len(wrong), 'picture')}", "as drawn")


def check_redrawn(
    run: RunRecord, records: list[NodeRecord], job: Job, count: int, changed: Collection[str] = ()
) -> Iterator[Finding]:
    """Some pictures of all sets, drawn again; they and what the judge sees in them are compared bit for bit.

    A picture is drawn in the batch that it was drawn in, and judged in the company that it was judged in: in others its
    last bits may differ.
    """
    from excise.models.spec import ModelSpec
    from excise.provenance.environment import device_of

    sets = [(r, n, f) for r in records if r.node.rpartition(".")[2] in DRAWN for n, f in r.outputs.items()]
    was = run.environment.get("device")
    raw = next((r.parameters["params:model"] for r in records if "params:model" in r.parameters), None)
    if not sets or was is None or raw is None:
        yield Finding("unchecked", "drawing again", "the run drew nothing, or does not say on what")
        return
    here = device_of(ModelSpec.model_validate(raw))
    if any(here[part] != was[part] for part in ("type", "name")):
        told = f"made on {was['name']}, and this is {here['name']}: on another device the bits differ"
        yield Finding("unchecked", "drawing again", told)
        return
    try:
        loaded = {name: _load(job, name, file, changed) for _, name, file in sets}
    except _GoneError as error:
        yield Finding("unchecked", "drawing again", str(error))
        return
    everything = [(name, image) for name, images in loaded.items() for image in images.manifest["image_id"]]
    chosen = random.Random(run.id).sample(everything, min(count, len(everything)))
    with _threads(int(was["threads"])):
        for record, name, _ in sets:
            wanted = [image for of, image in chosen if of == name]
            if wanted:
                yield from _redraw_set(run, record, records, name, loaded[name], wanted, job, changed)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _redraw_set(
    run: RunRecord,
    record: NodeRecord,
    records: list[NodeRecord],
    name: str,
    images: Any,
    wanted: list[str],
    job: Job,
    changed: Collection[str],
) -> Iterator[Finding]:
    import hashlib

    from excise.concepts import Concept
    from excise.images.image_set import png_of
    from excise.pipelines.evaluate.nodes import detections_again, redraw

    node, table = job.node(record.node), name.removesuffix("images") + "judgements"
    judged = next((r.outputs[table] for r in records if table in r.outputs), None)
    if node is None or judged is None:
        yield Finding("unchecked", f"{name}, drawn again", "its pipeline no longer has it, or it was never judged")
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            given = _inputs(run, record, node, job, Path(folder), changed)
        stored = _load(job, table, judged, changed)
    except _GoneError as error:
        yield Finding("unchecked", f"{name}, drawn again", str(error))
        return
    arguments = _arguments(node, getattr(node.func, "__wrapped__", node.func))
    known = {arguments[data]: value for data, value in given.items()}
    concept = Concept(**known["concept"])
    batches = redraw(wanted=wanted, **{k: v for k, v in known.items() if k not in ("cache",)})
    drawn = {
        i: picture for batch in batches for i, picture in zip(batch.manifest["image_id"], batch.pictures, strict=True)
    }
    sha256 = images.manifest.set_index("image_id")["sha256"]
    if concept.unsafe:
        from excise.reports import pixelate

        kept = {i: pixelate(drawn[i]) for i in wanted}
    else:
        kept = drawn
    other = [i for i in wanted if hashlib.sha256(png_of(kept[i])).hexdigest() != sha256[i]]
    for image in other:
        yield Finding("differs", f"{name}: {image}, drawn again", "it is another picture")
    if len(other) < len(wanted):
        yield Finding("agrees", f"{name}: {_many(len(wanted) - len(other), 'picture')} drawn again", "bit for bit")
    if not concept.unsafe and not images.complete:
        yield Finding("unchecked", f"{name}: detections in pictures drawn again", "those judged beside them are gone")
        return
    seen = detections_again(concept, images, batches, wanted, JUDGED_TOGETHER)
    rows = [t[t["image_id"].isin(wanted)][SEEN].reset_index(drop=True) for t in (stored, seen)]
    different = _table_differences(*rows)
    if different:
        yield Finding("differs", f"{name}: detections in pictures drawn again", different)
    else:
        yield Finding("agrees", f"{name}: {_many(len(rows[0]), 'detection')} in pictures drawn again", "bit for bit")
