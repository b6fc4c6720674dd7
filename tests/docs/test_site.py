"""The site builds, and a broken link stops it; what pages show as code is code."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml
from documented import LANGUAGES, ROOT, Block, blocks, pages

from excise.concepts import PromptSource, load_concept
from excise.prompts import PromptOptions, build_prompts

ALL = [block for page in pages() for block in blocks(page)]
PYTHON = [block for block in ALL if block.language == "python"]


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """All that the site is made of, to be spoilt."""
    source = tmp_path / "project"
    for folder in ("docs", "examples", "conf", "src/excise/prompts", "src/excise/reports", "src/excise/pipelines"):
        shutil.copytree(ROOT / folder, source / folder)
    cards = ("src/excise/embedded/emoji64", "src/excise/embedded/emoji64_never_saw")
    for file in ("README.md", "mkdocs.yml", "mkdocs_hooks.py", "LICENSE", "NOTICE", *(f"{c}/README.md" for c in cards)):
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, source / file)
    return source


def test_the_site_builds_without_a_warning_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    expected = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")
    }
    expected = {re.sub(r"README\.html$", "index.html", name) for name in expected}
    assert expected | {"overview.html", "configuration.html", "example.html", "embedded/emoji64.html"} <= made
    home = (tmp_path / "index.html").read_text()
    for page in expected:  # each is in the navigation
        assert f'href="{page}"' in home or page == "index.html", page
    for page in made:
        html = (tmp_path / page).read_text()
        assert not re.search(
            r'<(?:script|img|iframe)[^>]+src="https?:|<link[^>]+rel="stylesheet"[^>]+href="https?:', html
        ), page
        shown = re.sub(r"<pre>.*?</pre>", "", html, flags=re.S)
        assert not re.search(r"^(?:- |\| |```)", shown, re.M), f"{page} shows Markdown"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("docs/quickstart.md", "[gone](nowhere.md)"),
        ("docs/quickstart.md", "[gone](results.md#nowhere)"),
        ("docs/quickstart.md", "![gone](images/nowhere.png)"),
        ("docs/quickstart.md", "[gone](../src/excise/nowhere.py)"),
        ("docs/decisions/0001-namespaces-by-concept.md", "[gone](../../README.md#nowhere)"),
        ("README.md", "[gone](docs/nowhere.md)"),
        ("conf/README.md", "[gone](../docs/concepts.md#nowhere)"),
    ],
)
def test_a_broken_link_stops_it(file: str, text: str, copy: Path, tmp_path: Path) -> None:
    with (copy / file).open("a") as page:
        page.write(f"\n\n{text}\n")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0 and "nowhere" in done.stderr, done.stderr


def test_a_page_that_lands_in_a_folder_is_taken_in(copy: Path, tmp_path: Path) -> None:
    for name in ("operations/night.md", "auditing.md", "decisions/0099-later.md"):
        (copy / "docs" / name).write_text(f"# New {name}\n")
    done = build(copy, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "site/index.html").read_text()
    assert all(f'href="{name}.html"' in home for name in ("operations/night", "auditing", "decisions/0099-later"))


# code --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("block", PYTHON, ids=lambda b: b.place)
def test_python_compiles_and_what_it_imports_is_there(block: Block) -> None:
    tree = ast.parse(textwrap.dedent(block.text))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            assert all(hasattr(module, name.name) for name in node.names), block.place


def test_the_example_is_shown_as_it_is() -> None:
    """``docs/extending.md`` and the package that a test runs say the same."""
    plugin = ROOT / "examples/plugin"
    files = "\n".join(path.read_text() for path in sorted(plugin.rglob("*")) if path.suffix in (".py", ".toml", ".yml"))
    shown = [b for b in blocks(ROOT / "docs/extending.md") if b.language in ("python", "toml")]
    assert len(shown) >= 7
    for block in shown:
        assert block.text.rstrip() in files, block.text
    [options] = [b for b in blocks(ROOT / "docs/extending.md") if b.language == "yaml"]
    entry = yaml.safe_load(options.text)["erasers"]
    assert entry == yaml.safe_load((plugin / "conf/parameters_boat.yml").read_text())["erasers"]


def test_the_concepts_that_are_shown_make_prompts() -> None:
    first, second = (b for b in blocks(ROOT / "docs/concepts.md") if b.language == "yaml")
    [(name, castle)] = (described := yaml.safe_load(first.text)).items()
    [(several, both)] = yaml.safe_load(second.text).items()
    described[several] = castle | both  # what it does not say is as above
    told = yaml.safe_load((ROOT / "conf/base/prepare/parameters.yml").read_text())["prompts"]
    tables = {n: build_prompts(load_concept(n, described), PromptOptions(**told))[0] for n in (name, several)}
    assert len(tables[name]) > 0
    target = tables[several][lambda t: t["set"] == "target"]
    for split, words in both["target"].items():  # each of its things is asked for in every split
        asked = target[target["split"] == split]["prompt"]
        assert all(asked.str.contains(word).any() for word in words), split


def test_the_experiment_that_is_shown_is_one(tmp_path: Path) -> None:
    """Laid over the defaults it changes what it names, and writes no committed page."""
    from kedro.config import OmegaConfigLoader

    from excise.pipelines.benchmark.nodes import BenchmarkOptions
    from excise.settings import CONFIG_LOADER_ARGS

    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shown = [b.text for b in blocks(ROOT / "docs/benchmarking.md") if b.language == "yaml"]
    assert len(shown) == 2
    for text in shown:
        place = tmp_path / text.split()[1].rstrip(":")
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
    loader = OmegaConfigLoader(str(tmp_path / "conf"), env=place.parent.name, **CONFIG_LOADER_ARGS)
    given, base = (
        BenchmarkOptions.model_validate(loader["parameters"]["benchmark"]),
        yaml.safe_load(shown[1])["benchmark"],
    )
    assert (given.concepts, list(given.studied), given.attacks) == (base["concepts"], base["only"], base["attacks"])
    assert given.erasers["esd"].seeds == [1, 2, 3] and given.erasers["esd"].variants  # these are the defaults'
    written = [e["filepath"] for n, e in loader["catalog"].items() if n.startswith("benchmark.") and "filepath" in e]
    assert written and not [f for f in written if f.startswith("docs/") and not f.startswith("docs/churches/")]


def test_the_prompt_source_that_is_shown_is_one() -> None:
    [block] = [b for b in blocks(ROOT / "docs/prompts.md") if b.language == "yaml"]
    [(_, described)] = yaml.safe_load(block.text).items()
    assert PromptSource(**described["prompts_from"]).set == "i2p"


@pytest.mark.parametrize("block", [b for b in ALL if b.language in ("yaml", "toml", "json")], ids=lambda b: b.place)
def test_data_can_be_read(block: Block) -> None:
    read = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}[block.language]
    assert read(block.text)


@pytest.mark.parametrize("block", ALL, ids=lambda b: b.place)
def test_a_block_says_what_it_is(block: Block) -> None:
    assert block.language in LANGUAGES, "commands are bash or console, drawings are text"
