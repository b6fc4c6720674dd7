"""Stored pictures, and some of them drawn again."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from excise.provenance import NodeRecord, RunRecord

from ..jobs import Job
from .differences import table_differences
from .finding import Finding, many
from .stored import GoneError, arguments_of, inputs_of, load_stored

DRAWN = ("draw_plain", "draw_attacked", "draw_typed")
JUDGED_TOGETHER = 64  # as ``judge_images`` has it: in another company a detection may differ in its last bits
SEEN = ["image_id", "label", "score", "x0", "y0", "x1", "y1", "failed"]


def check_pictures(record: NodeRecord, job: Job, changed: Collection[str] = ()) -> Iterator[Finding]:
    """Stored pictures are those that the manifest speaks of."""
    import hashlib

    for name, file in record.outputs.items():
        try:
            images = load_stored(job, name, file, changed)
        except GoneError as error:
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
            yield Finding("unchecked", f"{name}: {many(len(gone), 'picture')}", "they are no longer in the cache")
        if len(there) > len(gone) + len(wrong):
            yield Finding("agrees", f"{name}: {many(len(there) - len(gone) - len(wrong), 'picture')}", "as drawn")


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
        loaded = {name: load_stored(job, name, file, changed) for _, name, file in sets}
    except GoneError as error:
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
    from excise.pipelines.evaluate.typed import draw_typed, redraw_typed

    node, table = job.node(record.node), name.removesuffix("images") + "judgements"
    judged = next((r.outputs[table] for r in records if table in r.outputs), None)
    if node is None or judged is None:
        yield Finding("unchecked", f"{name}, drawn again", "its pipeline no longer has it, or it was never judged")
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            given = inputs_of(run, record, node, job, Path(folder), changed)
        stored = load_stored(job, table, judged, changed)
    except GoneError as error:
        yield Finding("unchecked", f"{name}, drawn again", str(error))
        return
    function = getattr(node.func, "__wrapped__", node.func)
    arguments = arguments_of(node, function)
    known = {arguments[data]: value for data, value in given.items()}
    concept = Concept(**known["concept"])
    again = redraw_typed if function is draw_typed else redraw
    batches = again(wanted=wanted, **{k: v for k, v in known.items() if k not in ("cache",)})
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
        yield Finding("agrees", f"{name}: {many(len(wanted) - len(other), 'picture')} drawn again", "bit for bit")
    if not concept.unsafe and not images.complete:
        yield Finding("unchecked", f"{name}: detections in pictures drawn again", "those judged beside them are gone")
        return
    seen = detections_again(concept, images, batches, wanted, JUDGED_TOGETHER)
    rows = [t[t["image_id"].isin(wanted)][SEEN].reset_index(drop=True) for t in (stored, seen)]
    different = table_differences(*rows)
    if different:
        yield Finding("differs", f"{name}: detections in pictures drawn again", different)
    else:
        yield Finding("agrees", f"{name}: {many(len(rows[0]), 'detection')} in pictures drawn again", "bit for bit")
