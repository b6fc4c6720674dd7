"""Runs the tiny job again and again, and stops it at a chosen write: a program of its own, asked on stdin, in JSON.

It runs the job once without interruption, so that all is imported and loaded, and forks a process for each run after
that. Every file below ``data/`` gets there by ``os.replace``, so the writes are counted there; that this is so is part
of the answer.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

REPLACE, FSYNC = os.replace, os.fsync


class Interruption:
    """Stops this process at its n-th write.

    Args:
        mode: ``before``: killed while the file is half written; ``after``: killed when it has its place; ``full``: the
            disk is full.
        at: which write, from 0; -1 for none.
    """

    def __init__(self, project: Path, mode: str = "", at: int = -1):
        self.project, self.mode, self.at = project, mode, at
        self.written: list[str] = []

    def __enter__(self) -> Interruption:
        os.replace, os.fsync = self.replace, self.fsync
        return self

    def __exit__(self, *_: Any) -> None:
        os.replace, os.fsync = REPLACE, FSYNC

    def now(self, mode: str) -> bool:
        return self.mode == mode and len(self.written) == self.at

    def fsync(self, handle: int) -> None:
        if self.now("full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        FSYNC(handle)

    def replace(self, draft: Any, path: Any) -> None:
        place = Path(path).resolve()
        if self.project.resolve() not in place.parents:
            REPLACE(draft, path)
            return
        if self.now("before"):
            if Path(draft).is_file():
                os.truncate(draft, Path(draft).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        REPLACE(draft, path)
        if self.now("after"):
            os.kill(os.getpid(), signal.SIGKILL)
        self.written.append(place.relative_to(self.project.resolve()).as_posix())


def run(project: Path, wanted: list[str], mode: str = "", at: int = -1) -> list[str]:
    """The job as far as some data sets need it; what it wrote, in order."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.runner import SequentialRunner

    from excise.hooks.given_id import under_given_id

    bootstrap_project(project)
    stop = Interruption(project, mode, at)
    with stop, under_given_id(), KedroSession.create(project) as session:
        session.run(pipeline_names=["erase_nsfw"], to_outputs=wanted, runner=SequentialRunner())
    return stop.written


def result(project: Path) -> dict[str, Any]:
    """What must be the same: the newest metrics less cost and run, and what the newest erasers change."""
    from excise.erasers import Eraser
    from excise.provenance.contents import lasting

    metrics = max(project.glob("data/08_reporting/emoji64/person/metrics.json/*/metrics.json"))
    bases = sorted({path.parents[1] for path in project.glob("data/06_models/**/eraser.safetensors/*/*.safetensors")})
    erasers = {base.parent.name: Eraser.load(max(base.glob("*/*.safetensors"))).sha256 for base in bases}
    return {"metrics": lasting(json.loads(metrics.read_text())), "erasers": erasers, "run": metrics.parent.name}


def fork(work: Any) -> int:
    """Run something in a child; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        from excise.cli import one_sentence

        with one_sentence():
            work()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        (Path.cwd() / f"{os.getpid()}.error").write_text(getattr(error, "message", str(error)))
    finally:
        os._exit(code)


def ended(child: int) -> dict[str, Any]:
    """How a child ended: its signal or exit code, and the sentence of a refused run."""
    _, status = os.waitpid(child, 0)
    told = Path.cwd() / f"{child}.error"
    sentence = told.read_text() if told.exists() else ""
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return {"signal": killed, "code": 0 if killed else os.WEXITSTATUS(status), "sentence": sentence}


def fresh(first: Path, number: int) -> Path:
    project = first.parent / f"{first.name}-{number}"
    shutil.copytree(first, project, ignore=shutil.ignore_patterns("data"))
    return project


def damage(project: Path) -> list[str]:
    """Cut one file of every kind in the cache short, and remove what was made of it."""
    cut = {}
    for path in sorted((project / "data/cache").glob("*/**/*")):
        if path.is_file() and not path.name.startswith("."):
            cut.setdefault((path.parent.name.partition("-")[0], path.suffix), path)
    for path in cut.values():
        os.truncate(path, path.stat().st_size - 5)
    return sorted(path.relative_to(project).as_posix() for path in cut.values())


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    first, wanted = Path(asked["project"]), asked["wanted"]
    written = run(first, wanted)
    reference, cases = result(first), []
    there = {p.relative_to(first).as_posix() for p in first.glob("data/**/*") if p.is_file()}
    for number, case in enumerate(asked["cases"]):
        project, began = fresh(first, number), time.monotonic()
        told: dict[str, Any] = dict(case)
        if case["mode"] == "two":
            children = [fork(lambda project=project: run(project, wanted)) for _ in range(2)]
            told["ends"] = [ended(child) for child in children]
        elif case["mode"] == "damaged":
            shutil.copytree(first / "data", project / "data")
            told["cut"] = damage(project)
        else:
            at = next(k for k, place in enumerate(written) if case["place"] in place) + case.get("more", 0)
            told |= {"at": at, "written": written[at]}
            if case.get("id"):
                os.environ["EXCISE_RUN_ID"] = case["id"]
            told["ends"] = [ended(fork(lambda project=project, at=at, c=case: run(project, wanted, c["mode"], at)))]
            kept = [p for p in project.glob("data/**/*") if p.is_file()]
            told["drafts"] = [p.name for p in kept if p.name.startswith(".")]
        if case["mode"] != "two":
            told["again"] = ended(fork(lambda project=project: run(project, wanted)))
        os.environ.pop("EXCISE_RUN_ID", None)
        told |= {"result": result(project), "seconds": time.monotonic() - began}
        cases.append(told)
    return {"reference": reference, "written": written, "there": sorted(there), "cases": cases}


if __name__ == "__main__":
    import tqdm

    tqdm.tqdm.monitor_interval = 0  # no thread when it forks
    asked = json.load(sys.stdin)
    for module, name, value in asked.get("settings", []):
        model = getattr(__import__(module, fromlist=[name.partition(".")[0]]), name.partition(".")[0])
        model.model_fields[name.partition(".")[2]].default = value
        model.model_rebuild(force=True)
    told = answer(asked)
    print(json.dumps(told))
