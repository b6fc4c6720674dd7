"""Of which code a node's result depends: read from the source, so that no list has to be kept by hand.

From a function of a pipeline one follows the names that it uses: functions of ``pipelines`` count one by one, since a
``nodes.py`` holds many nodes; elsewhere a file counts whole, with the files whose names it imports, and with what lies
beside it and it names (YAML, HTML). A name that a package's ``__init__`` passes on leads to the file that defines it,
so that a new method is nobody else's business. What is found by name at run time (eraser, attack, judge) is added by
its class.

Comments, docstrings and layout do not count (``excise.cache``), nor does ``PLUMBING``.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from excise.cache import bare_source
from excise.equal_code import as_before

# what changes no number
PLUMBING = {
    f"excise.{name}" for name in ("cache", "equal_code", "errors", "hooks", "plugins", "provenance", "shards", "whole")
}
BESIDE = {".yml", ".html", ".md"}
LOCATION = re.compile(r"[a-z_][\w.]*:[A-Za-z_]\w*")  # how a class is registered without importing it


@dataclass(frozen=True)
class Source:
    """A module's source, parsed.

    Attributes:
        defined: name -> the statement that defines it at the top level.
        imported: name -> (module, name in it or "").
    """

    name: str
    path: Path
    tree: ast.Module
    defined: dict[str, ast.stmt]
    imported: dict[str, tuple[str, str]]

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def code_of_node(
    function: Callable[..., Any], classes: Iterable[type] = (), apart: tuple[str, ...] = ()
) -> dict[str, str]:
    """Room -> fingerprint of the parts of it that a function leads to.

    Args:
        function: of any module; a partial under its function's name counts as the function.
        classes: what is used besides, such as an eraser's method.
        apart: modules and packages that are not followed, since what they make is known by its content.
    """
    return _digests(_reached(function.__module__, function.__name__, tuple(sorted(_modules(classes))), apart))


def leads_to(function: Callable[..., Any], module: str) -> bool:
    """Whether a function uses a module."""
    return any(part.partition(":")[0] == module for part in _reached(function.__module__, function.__name__))


def _modules(classes: Iterable[type]) -> set[str]:
    return {c.__module__ for one in classes for c in one.__mro__ if _path(c.__module__) and not _foreign(c.__module__)}


def _foreign(module: str) -> bool:
    return module.partition(".")[0] in {"builtins", "abc", "typing", "pydantic", "enum", "torch", "numpy"}


def _digests(parts: frozenset[str]) -> dict[str, str]:
    rooms: dict[str, Any] = {}
    for part in sorted(parts):
        module, _, symbol = part.partition(":")
        source = _source(module)
        text = ast.unparse(source.defined[symbol]) if symbol else source.path.read_text()
        room = source.package if source.package.count(".") else module
        rooms.setdefault(room, hashlib.sha256()).update(f"{part}\n{bare_source(text)}\n".encode())
        for beside in sorted(source.path.parent.iterdir()):
            if beside.suffix in BESIDE and beside.name in text:
                rooms[room].update(beside.read_bytes())
    return {room: digest.hexdigest()[:12] for room, digest in sorted(rooms.items())}


@lru_cache(256)
def _reached(module: str, symbol: str, more: tuple[str, ...] = (), apart: tuple[str, ...] = ()) -> frozenset[str]:
    """All that is reached: modules, and ``module:name`` where names count one by one."""
    left_out = {*PLUMBING, *apart}
    root, seen = module.partition(".")[0], set()
    todo = [_place(module, symbol), *((name, "") for name in more)]
    while todo:
        name, wanted = todo.pop()
        part = f"{name}:{wanted}" if wanted and _by_name(name) else name
        own = name.partition(".")[0] in {root, "excise", *(m.partition(".")[0] for m in more)}
        if part in seen or not own or any(name == p or name.startswith(p + ".") for p in left_out) or not _path(name):
            continue
        source = _source(name)
        if ":" in part and wanted not in source.defined:
            continue  # a name from the star of an import, or of a submodule
        seen.add(part)
        todo += _uses(source, source.defined[wanted]) if ":" in part else _all_uses(source)
    return frozenset(seen)


def _by_name(module: str) -> bool:
    return ".pipelines." in module


def _all_uses(source: Source) -> Iterator[tuple[str, str]]:
    for node in ast.walk(source.tree):
        for _, (module, name) in _imports(node, source):
            yield _place(module, name)
    init = _source(source.package)  # what its package registers by "module:Class"
    for node in ast.walk(init.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and LOCATION.fullmatch(node.value):
            module, _, name = node.value.partition(":")
            if module.startswith(source.package + "."):
                yield _place(module, name)


def _uses(source: Source, statement: ast.stmt) -> Iterator[tuple[str, str]]:
    for node in ast.walk(statement):
        for _, (module, name) in _imports(node, source):
            yield _place(module, name)
        if isinstance(node, ast.Name):
            if node.id in source.defined:
                yield source.name, node.id
            elif node.id in source.imported:
                module, name = _place(*source.imported[node.id])
                if name or not _by_name(module):  # of a module of functions only those count that are called
                    yield module, name
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in source.imported:
            module, name = _place(*source.imported[node.value.id])
            if not name and _by_name(module):
                yield _place(module, node.attr)


def _place(module: str, name: str) -> tuple[str, str]:
    """The file that defines a name, through the packages that pass it on."""
    for _ in range(20):
        if name and _path(f"{module}.{name}"):
            return f"{module}.{name}", ""
        if not name or not _path(module) or _foreign(module):
            return module, name
        source = _source(module)
        if name in source.defined or name not in source.imported:
            return module, name
        module, name = source.imported[name]
    return module, name


def _imports(node: ast.AST, source: Source | None, package: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """(local name, (module, name in it)) of an import statement."""
    package = source.package if source else package
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], (alias.name, "")
    elif isinstance(node, ast.ImportFrom):
        above = package.rsplit(".", node.level - 1)[0] if node.level else ""
        module = ".".join(filter(None, [above, node.module]))
        for alias in node.names:
            yield alias.asname or alias.name, (module, alias.name)


@lru_cache(2048)
def _path(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _source(module: str) -> Source:
    path = _path(module)
    assert path is not None
    return _parsed(module, path, path.stat().st_mtime_ns)


@lru_cache(1024)
def _parsed(module: str, path: Path, changed: int) -> Source:
    tree = ast.parse(as_before(path.read_text()))  # what is known to change nothing counts nowhere
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    defined: dict[str, ast.stmt] = {}
    imported: dict[str, tuple[str, str]] = {}
    for node in _top(tree.body):
        imported |= dict(_imports(node, None, package))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {n.id: node for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return Source(module, path, tree, defined, imported)


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield from _top([*node.body, *node.orelse]) if isinstance(node, ast.If) else [node]


def methods_of(
    function: Callable[..., Any], parameters: Mapping[str, Any], concept: Mapping[str, Any] | None
) -> list[type]:
    """The classes that a node finds by name: eraser, attack and judges that its parameters name, the concept's judges.

    Args:
        parameters: raw values by ``params:…``.
        concept: the description, where the node reads one.

    Raises:
        UserError: one of them does not exist.
    """
    found: list[type] = []
    for name, value in parameters.items():
        if name.startswith("params:erasers."):
            from excise.erasers import EraserOptions, make_method

            found.append(type(make_method(EraserOptions.model_validate(value))))
        elif name.startswith("params:attacks."):
            from excise.attacks import AttackOptions, make_attack

            found.append(type(make_attack(AttackOptions.model_validate(value))))
        elif name == "params:fidelity":
            from excise.judges import JUDGES

            found += [JUDGES[judge["name"]] for judge in (value or {}).get("cross") or [] if judge["name"] in JUDGES]
    if concept is not None and leads_to(function, "excise.judges.judge"):
        from excise.concepts import Concept
        from excise.judges import JUDGES

        found += [JUDGES[judge.name] for judge in Concept(**concept).judges]
    return found
