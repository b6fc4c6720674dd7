"""What has changed since a result was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .records import NodeRecord


@dataclass(frozen=True)
class Change:
    """One part of what a result was made of that is another today.

    Attributes:
        kind: ``code``, ``parameter``, ``input``, ``result``, or ``step``, one that the command did not have.
        what: the room, the parameter's dotted name, the data set.
        detail: what it was and is, where that is short.
    """

    kind: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        if self.kind == "step":
            return "the command has it since"
        if self.kind == "result":
            return f"result {self.what} {self.detail}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{'code of ' if self.kind == 'code' else self.kind + ' '}{self.what} changed{detail}"


def compare(
    record: NodeRecord,
    code: Mapping[str, str],
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str | None],
    told: Mapping[str, Any],
) -> list[Change]:
    """A record beside what is there today.

    Args:
        code, parameters, told: as a record has them.
        inputs: data set -> content of what the node would read now; None where there is nothing.
    """
    found = [Change("code", room) for room in _differing(record.code, code)]
    for name in sorted({*record.parameters, *parameters}):
        was, is_ = (dict(_leaves(p.get(name), name.removeprefix("params:"))) for p in (record.parameters, parameters))
        found += [
            Change("parameter", leaf, f"{_short(was.get(leaf))} -> {_short(is_.get(leaf))}")
            for leaf in _differing(was, is_)
        ]
    read = {name: file.content for name, file in record.inputs.items()}
    found += [Change("input", name, "" if inputs.get(name) else "it is gone") for name in _differing(read, inputs)]
    return found + [Change("input", name) for name in _differing(record.told, told)]


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*was, *now} if was.get(key) != now.get(key))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}")
    else:
        yield name, value


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 30 else text[:27] + "…"
