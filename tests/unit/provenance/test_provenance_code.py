"""Which code a node leads to: a small package beside the real one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from excise.provenance.code import code_of_node, leads_to

FILES = {
    "__init__.py": "",
    "pipelines/__init__.py": "",
    "pipelines/nodes.py": (
        "from box.pipelines import steps as work\nfrom box.tools import hammer\nfrom .shared import RETAIN\n\n"
        "def first(x: int) -> int:\n    from box.paint import Red\n\n    return helper(x) + hammer(x)\n\n"
        "def second(x):\n    return x\n\ndef third():\n    return work.cut(RETAIN)\n\n"
        "def helper(x):\n    return x + 1\n"
    ),
    "pipelines/steps.py": "def cut(x):\n    return x\n\ndef paste(x):\n    return 2 * x\n",
    "pipelines/shared.py": "RETAIN = 3\nOTHER = 4\n",
    "tools/__init__.py": "from .hammer import hammer\nfrom .saw import saw\n",
    "tools/hammer.py": "from box.wood import beam\n\ndef hammer(x):\n    'Hits.'\n    return beam\n",
    "tools/saw.py": "def saw():\n    return 1\n",
    "wood.py": "beam = 2\n",
    "paint/__init__.py": "from .red import Red\n\nkinds = {'blue': 'box.paint.blue:Blue'}\n",
    "paint/red.py": "class Red:\n    shade = 1\n    words = 'words.yml'\n",
    "paint/blue.py": "class Blue:\n    shade = 2\n",
    "paint/words.yml": "red: a colour\n",
    "paint/page.html": "<p>a colour",
    "glue/__init__.py": "",
    "glue/method.py": "class Glue:\n    strength = 1\n",
}


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / "box" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "box" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "box"
    for name in [n for n in sys.modules if n.partition(".")[0] == "box"]:
        del sys.modules[name]


def codes(*classes: type) -> dict[str, dict[str, str]]:
    from excise.provenance import code

    for cached in (code._reached, code._path, code._parsed):
        cached.cache_clear()
    nodes = importlib.import_module("box.pipelines.nodes")
    return {name: code_of_node(getattr(nodes, name), classes) for name in ("first", "second", "third")}


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    {
        "a function that it calls": ("pipelines/nodes.py", "x + 1", "x + 2", {"first"}),
        "a neighbour in the same file": ("pipelines/nodes.py", "return x\n", "return -x\n", {"second"}),
        "a constant": ("pipelines/shared.py", "RETAIN = 3", "RETAIN = 5", {"third"}),
        "another constant": ("pipelines/shared.py", "OTHER = 4", "OTHER = 5", set()),
        "called through its module": ("pipelines/steps.py", "return x", "return -x", {"third"}),
        "another of that module": ("pipelines/steps.py", "return 2 * x", "return 3 * x", set()),
        "through a package's init": ("tools/hammer.py", "return beam", "return -beam", {"first"}),
        "what the init names besides": ("tools/saw.py", "return 1", "return 2", set()),
        "an import of an import": ("wood.py", "beam = 2", "beam = 3", {"first"}),
        "imported in the function": ("paint/red.py", "shade = 1", "shade = 3", {"first"}),
        "registered by its place": ("paint/blue.py", "shade = 2", "shade = 3", {"first"}),
        "words beside it": ("paint/words.yml", "a colour", "a hue", {"first"}),
        "a page beside it that it does not name": ("paint/page.html", "a colour", "a hue", set()),
        "a room that nobody uses": ("glue/method.py", "strength = 1", "strength = 2", set()),
        "a sentence": ("tools/hammer.py", "'Hits.'", "'Hits the nail.'  # hard\n", set()),
    }.values(),
)
def test_a_node_is_touched_by_what_it_leads_to_and_by_nothing_else(box, file, old, new, changed):
    before, text = codes(), (box / file).read_text()
    assert old in text
    (box / file).write_text(text.replace(old, new))
    after = codes()
    assert {name for name in before if before[name] != after[name]} == changed


def test_what_is_looked_up_by_name_counts_when_it_is_told(box):
    before = codes(importlib.import_module("box.glue.method").Glue)
    (box / "glue/method.py").write_text("class Glue:\n    strength = 2\n")
    after = codes(importlib.import_module("box.glue.method").Glue)
    changed = {room for room in before["second"] if before["second"][room] != after["second"][room]}
    assert changed == {"box.glue"} and set(codes()["second"]) == {"box.pipelines"}


def test_what_is_known_by_its_content_is_not_followed(box):
    nodes = importlib.import_module("box.pipelines.nodes")
    assert set(code_of_node(nodes.first)) == {"box.paint", "box.pipelines", "box.tools", "box.wood"}
    assert set(code_of_node(nodes.first, apart=("box.paint",))) == {"box.pipelines", "box.tools", "box.wood"}
    # nor what only it leads to
    assert set(code_of_node(nodes.first, apart=("box.paint", "box.tools"))) == {"box.pipelines"}


def test_no_node_depends_on_a_method_that_it_was_not_given():
    from excise.pipelines.erase import nodes as erase
    from excise.pipelines.evaluate import nodes as evaluate
    from excise.pipelines.report import nodes as report

    for node in (erase.train_unpruned, erase.attack_eraser, evaluate.judge_concept, report.summarise_run):
        rooms = code_of_node(node)
        methods = [r for r in rooms if r.startswith(("excise.erasers.", "excise.attacks.", "excise.judges."))]
        assert set(methods) <= {"excise.attacks.search"} and "excise.models" in rooms
    assert leads_to(evaluate.judge_concept, "excise.judges.judge")
    assert not leads_to(erase.train_unpruned, "excise.judges.judge")
