"""What README and docs/ tell people to type: commands, parts of commands, and blocks of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("kedro", "make", "mlflow", "pip", "pytest", "python", "jupyter-execute", "mkdir", "cp", "airflow", "docker")
LANGUAGES = ("bash", "console", "python", "yaml", "toml", "json", "text")
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z0-9]+\b(?!=)|\bN\b|…")  # NAME, FOLDER, ID: for the reader to fill in


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is that of its fence."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """All pages for people, in the order of reading."""
    first = [ROOT / name for name in ("README.md", "conf/README.md", "examples/README.md")]
    return [*first, *sorted((ROOT / "docs").glob("**/*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    pattern = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.S | re.M)
    source = page.read_text(encoding="utf-8")
    for match in pattern.finditer(source):
        text = re.sub(rf"^{match[1]}", "", match[3], flags=re.M)
        yield Block(page, source[: match.start()].count("\n") + 1, match[2], text)


def spans(page: Path) -> Iterator[str]:
    """The inline code of a page."""
    source = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for match in re.finditer(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", source, re.S):
        yield " ".join(match[2].split())


def commands() -> dict[str, list[str]]:
    """Every command, without comments, and the pages that have it."""
    found: dict[str, list[str]] = {}
    for page in pages():
        lines = []
        for block in blocks(page):
            if block.language == "bash":
                lines += block.text.splitlines()
            elif block.language == "console":  # what is typed, and below it what is answered
                lines += [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
        typed = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
        typed += [span for span in spans(page) if " " in span and _program(span) in PROGRAMS]
        for command in typed:
            if command and not command.startswith("#"):
                found.setdefault(command, []).append(str(page.relative_to(ROOT)))
    return found


def fragments() -> dict[str, list[str]]:
    """Every ``--params=…``, ``--env=…``, ``--pipeline=…`` that stands alone, and the pages that have it."""
    found: dict[str, list[str]] = {}
    for page in pages():
        for span in spans(page):
            if re.match(r"--(params|env|pipelines?)=\w", span):
                found.setdefault(span, []).append(str(page.relative_to(ROOT)))
    return found


def has_placeholder(command: str) -> bool:
    """Whether the reader has to fill something in before it can be run."""
    return bool(PLACEHOLDER.search(command))


def _program(command: str) -> str:
    words = [word for word in command.split() if not re.match(r"[A-Z_]+=", word)]
    return words[0] if words else ""
