"""Errors of the configuration, of Kedro and of its commands, each told in one sentence."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable
from typing import Any

import click

from excise.errors import UserError, first_wrong, hint, short, what_is_wrong


def sentence_of(error: BaseException) -> str | None:
    """The sentence for a user, or None if this is not the user's to mend; causes are looked at too."""
    from kedro.validation import ParameterValidationError
    from omegaconf.errors import OmegaConfBaseException
    from pydantic import ValidationError
    from yaml import YAMLError

    sentences: dict[type[BaseException], Callable[[Any], str | None]] = {
        UserError: str,
        ParameterValidationError: _wrong_parameter,
        ValidationError: _wrong_value,
        OmegaConfBaseException: lambda e: f"The configuration or --params cannot be read: {_one_line(e)}",
        YAMLError: _not_yaml,
        UnicodeDecodeError: _not_text,
        OSError: _not_allowed,
        AttributeError: _no_mapping,
    }
    outer = None  # Kedro's own words are taken where no cause has better ones
    link: BaseException | None = error
    while link is not None:
        if told := _machine_says(link):
            return told
        for kind, say in sentences.items():
            if isinstance(link, kind) and (said := say(link)):
                return said
        outer = outer or _kedro_says(link)
        link = link.__cause__
    return outer


# the machine's own troubles, as Python, safetensors, Arrow and torch tell them
_MACHINE = {
    r"No space left on device|Disk quota exceeded": (
        "The disk is full: make room (data/cache may be deleted, which costs time), and run the same command again; "
        "what is finished is kept."
    ),
    r"DefaultCPUAllocator: can't allocate memory|Cannot allocate memory|^MemoryError": (
        "The memory does not suffice: set a smaller batch, and run the same command again; what is finished is kept."
    ),
    r"CUDA out of memory": (
        "The GPU's memory does not suffice: set model.offload and model.gradient_checkpointing to auto, or a smaller "
        "batch, and run the same command again; what is finished is kept."
    ),
    r"CUDA error|CUDA driver|NCCL error|AcceleratorError": (
        "The GPU failed or was lost: see that `nvidia-smi` finds it, and run the same command again; what is finished "
        "is kept."
    ),
}


def machine_failed(error: BaseException | None) -> bool:
    """Whether it is the machine's trouble, which may be over when the same is tried again."""
    while error is not None and not isinstance(error, UserError):
        if _machine_says(error):
            return True
        error = error.__cause__
    return False


def _machine_says(error: BaseException) -> str | None:
    if isinstance(error, UserError):
        return None
    text = f"{type(error).__name__}: {error}"
    return next((sentence for pattern, sentence in _MACHINE.items() if re.search(pattern, text)), None)


# what Kedro keeps of pydantic's error is its text
_WRONG_PARAMETER = re.compile(
    r"Parameter '(?P<key>[^']+)': .*?\n(?P<loc>\S+\n)?  (?P<message>[^\n]+) "
    r"\[type=(?P<type>\w+), input_value=(?P<value>[^\n]*), input_type=\w+\]",
    re.S,
)


def _wrong_parameter(error: Exception) -> str:
    match = _WRONG_PARAMETER.search(str(error))
    if match is None and (empty := re.search(r"Parameter '([^']+)': value is None", str(error))):
        return f"Parameter '{empty[1]}' is empty: give it a value, or remove it."
    if match is None:
        return _one_line(str(error).removeprefix("Parameter validation failed:").strip().removeprefix("- "))
    name = ".".join(filter(None, [match["key"], (match["loc"] or "").strip()]))
    return f"Parameter '{name}' {what_is_wrong(match['type'], match['value'], match['message'])}."


def _wrong_value(error: Any) -> str:
    place, wrong = first_wrong(error)
    return f"Parameter '{place or error.title}' {wrong}."


def _not_yaml(error: Exception) -> str:
    """Kedro names the file, and counts lines from 0; without it the error is of a value of ``--params``."""
    match = re.search(r"Invalid YAML or JSON file (.+), unable to read line (\d+)", str(error))
    if match is None:
        return f"A configuration file or a value of --params is not valid YAML: {_one_line(error)}"
    why = getattr(error.__cause__, "problem", None)
    place = f"look at line {int(match[2]) + 1} and the one before it"
    return f"{match[1]} is not valid YAML: {place}{f' ({why})' if why else ''}."


def _not_text(error: UnicodeDecodeError) -> str | None:
    """Of configuration; elsewhere it would be a defect of ours, which shows itself."""
    if not _raised_in(error, "kedro.config"):
        return None
    return f"A configuration file is not text in UTF-8 ({error.reason} at byte {error.start}): save it anew in UTF-8."


def _not_allowed(error: OSError) -> str | None:
    """Of any other trouble with a file nothing is known that a sentence could say."""
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not error.filename:
        return None
    if error.errno == errno.EROFS:
        return f"'{error.filename}' cannot be written, its disk is read-only: work in another folder."
    return f"'{error.filename}' cannot be read or written by this user: change its rights, or work in another folder."


def _no_mapping(error: AttributeError) -> str | None:
    """Of configuration, as above; Kedro takes every file for a mapping."""
    if not _raised_in(error, "kedro.config"):
        return None
    return "A configuration file is a list, or a single value: write names with values, as `seed: 1`."


def _raised_in(error: BaseException, package: str) -> bool:
    """Whether a traceback goes through a package."""
    trace = error.__traceback__
    while trace is not None:
        if f"{trace.tb_frame.f_globals.get('__name__', '')}.".startswith(f"{package}."):
            return True
        trace = trace.tb_next
    return False


def _kedro_says(error: BaseException) -> str | None:
    if not _raised_in(error, "kedro"):
        return None
    text = _one_line(error)
    for pattern, say in _KEDRO.items():
        match = re.search(pattern, text)
        if match:
            return say(*match.groups())
    return None


def _quoted(listed: str) -> str:
    """The first name of a list as Python prints it."""
    match = re.search(r"""['"]([^'"]*)['"]""", listed)
    return short(match[1] if match else listed)


def _unknown(kind: str, option: str, known: Callable[[Any], Iterable[str]]) -> Callable[[str], str]:
    def say(listed: str) -> str:
        from kedro.framework.project import pipelines

        name, context = _quoted(listed), click.get_current_context(silent=True)
        asked = (context.params.get("pipelines") or []) if context else []
        there = {one for pipeline in asked if pipeline in pipelines for one in known(pipelines[pipeline])}
        near = hint(name, there)
        if not near.startswith("did you mean"):  # a hundred names are no sentence
            near = "`kedro registry describe PIPELINE` lists them."
        return f"The pipeline has no {kind} '{name}' ({option}): {near}"

    return say


_KEDRO: dict[str, Callable[..., str]] = {
    r"does not contain nodes named (\[.*?\])": _unknown(
        "node", "--nodes, --from-nodes, --to-nodes", lambda p: (node.name for node in p.nodes)
    ),
    r"does not contain datasets named (\[.*?\])": _unknown(
        "data set", "--from-inputs, --to-outputs", lambda p: p.datasets()
    ),
    r"does not contain nodes with the following namespaces: (\[.*?\])": _unknown(
        "namespace", "--namespaces", lambda p: (node.namespace for node in p.nodes if node.namespace)
    ),
    r"Pipeline contains no nodes after applying": lambda: (
        "No node is left after --tags, --from-nodes and the like: give fewer of them; "
        "`kedro registry describe PIPELINE` lists the nodes."
    ),
    r"'load_versions' keys \[(.*?)\] are not found": lambda name: (
        f"--load-versions names '{short(name)}', which is no data set of this pipeline: "
        "`kedro registry describe PIPELINE` lists them."
    ),
    r"module 'kedro.runner' has no attribute '(.*?)'": lambda name: (
        f"There is no runner '{short(name)}': leave out --runner."
    ),
    r"Duplicate keys found in (\S+) and (\S+): ([^,]+)": lambda first, second, key: (
        f"'{key.strip()}' stands in two files, {first} and {second.rstrip(':')}: remove it from one of them."
    ),
    r"Cannot merge incompatible container types": lambda: (
        "Two configuration files give the same parameter, one as a list and one as names with values: correct the one "
        "in the folder of the environment."
    ),
    r"Given configuration path either does not exist or is not a valid directory: (\S+)": lambda path: (
        f"There is no folder {path}: correct --env or --conf-source."
    ),
    r"Failed while loading data from data ?set (\S+?)[(.]": lambda name: (
        f"The file of a data set ({name}) cannot be read, so it is damaged or not what it says: run what makes it anew."
    ),
}


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
