"""What the site needs beyond ``mkdocs.yml``: pages from outside of docs/, files of the repository, folders in the
navigation."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent
PAGES = {  # of the repository -> in the site
    "README.md": "overview.md",
    "conf/README.md": "configuration.md",
    "examples/README.md": "example.md",
    "src/excise/embedded/emoji64/README.md": "embedded/emoji64.md",
    "src/excise/embedded/emoji64_never_saw/README.md": "embedded/emoji64_never_saw.md",
}
LINK = re.compile(r"(?P<before>!?\[[^\]]*\]\()(?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside of docs/ and the files that any page links to, and fill in the navigation."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for page in [file for file in files if file.is_documentation_page()]:
        origin = Path(page.abs_src_path)
        for target in targets(origin.read_text(encoding="utf-8")):
            place = place_of(origin, target)
            if place.startswith("files/") and files.get_file_from_path(place) is None:
                source = ROOT / place.removeprefix("files/")
                files.append(File.generated(config, place, abs_src_path=str(source)))
    pages = sorted(file.src_uri for file in files if file.is_documentation_page())
    named = set(leaves(config.nav))
    config.nav = filled(config.nav, pages, named)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links to where their files are in the site."""
    origin = Path(page.file.abs_src_path)

    def moved(match: re.Match) -> str:
        if "://" in match["target"] or match["target"].startswith("mailto:"):
            return match[0]
        place = place_of(origin, match["target"])
        there = posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".")
        return f"{match['before']}{there}{match['anchor'] or ''})"

    return outside_of_code(markdown, lambda text: LINK.sub(moved, text))


def place_of(origin: Path, target: str) -> str:
    """Where in the site the file is that a page links to; one that does not exist stays as it is, for mkdocs to say."""
    path = (origin.parent / target).resolve()
    if not path.is_relative_to(ROOT) or not path.exists():
        return target
    place = path.relative_to(ROOT).as_posix()
    if place in PAGES:
        return PAGES[place]
    return place.removeprefix("docs/") if place.startswith("docs/") else f"files/{place}"


def targets(markdown: str) -> Iterator[str]:
    """Where the links of a page point to."""
    found: list[str] = []
    outside_of_code(markdown, lambda text: found.extend(m["target"] for m in LINK.finditer(text)) or text)
    yield from (target for target in found if "://" not in target)


def outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    """A page with everything but its fenced blocks changed."""
    parts = re.split(r"(^ *```.*?^ *```[^\n]*$)", markdown, flags=re.S | re.M)
    return "".join(part if part.lstrip().startswith("```") else change(part) for part in parts)


def leaves(nav: Any) -> Iterator[str]:
    """All files that a navigation names."""
    if isinstance(nav, str):
        yield nav
    for item in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from leaves(item)


def filled(nav: list[Any], pages: list[str], named: set[str]) -> list[Any]:
    """A navigation with the files that its stars stand for, each once; sections without a page are left out."""
    found: list[Any] = []
    for item in nav:
        if isinstance(item, str) and "*" in item:
            fitting = [p for p in pages if fnmatch(p, item) and p.count("/") == item.count("/") and p not in named]
            named.update(fitting)
            found += fitting
        elif isinstance(item, dict) and isinstance(next(iter(item.values())), list):
            [(title, inside)] = item.items()
            below = filled(inside, pages, named)
            found += [{title: below}] if below else []
        else:
            found.append(item)
    return found
