"""The concept that a pipeline works on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kedro.framework.project import pipelines

from excise.concepts.concept import Concept
from excise.errors import UserError
from excise.pipelines import selection
from excise.pipelines.names import variants

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_concept", None)
    monkeypatch.setattr(selection, "_defaults", dict(selection.DEFAULTS))


@pytest.fixture
def rebuilt(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(type(pipelines), "configure", lambda self, module=None: calls.append(module))
    return calls


def test_the_choice_comes_before_the_default_of_the_kind(rebuilt: list[str]) -> None:
    selection.set_selection(None, {"style": "pixel"})
    assert [selection.selected_concept(kind) for kind in ("nsfw", "style")] == ["person", "pixel"]
    selection.set_selection("robot", {"style": "pixel"})
    assert [selection.selected_concept(kind) for kind in ("nsfw", "style")] == ["robot", "robot"]


def test_pipelines_are_built_again_only_when_the_choice_changed(rebuilt: list[str]) -> None:
    selection.set_selection(None, selection.DEFAULTS)
    assert rebuilt == []
    selection.set_selection("robot", {})
    selection.set_selection("robot", {})
    assert rebuilt == ["excise.pipeline_registry"]
    selection.set_selection(None, {})
    assert len(rebuilt) == 2


def test_masks_are_one_of_two(rebuilt: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_masks", "learned")
    assert list(variants("ac").values()) == ["ac", "ac_plus", "p_ac"]
    selection.set_selection(None, {}, masks="all")
    assert list(variants("ac").values()) == ["ac", "ac_plus", "p_ac", "p_ac_scored", "p_ac_random"]
    assert list(variants("conceptprune").values()) == ["conceptprune"]
    with pytest.raises(UserError, match="'masks' is 'none': it must be one of learned, all"):
        selection.set_selection(None, {}, masks="none")


def test_code_and_configuration_agree_on_the_defaults() -> None:
    configured = yaml.safe_load((ROOT / "conf" / "base" / "globals.yml").read_text())["concepts"]
    assert configured == selection.DEFAULTS
    assert set(selection.DEFAULTS) == set(Concept.model_fields["kind"].annotation.__args__)


def test_kind_is_the_end_of_the_name() -> None:
    assert selection.pipeline_kind("erase_nsfw") == "nsfw"
    assert selection.pipeline_kind("erase_style") == "style"
    assert selection.pipeline_kind("nsfw_report") is None


@pytest.mark.parametrize("name", ["p_norm", "ac_plus", "my__eraser"])
def test_a_name_that_results_are_told_apart_by_is_refused(rebuilt: list[str], name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of an eraser"):
        selection.set_selection(None, {}, eraser=name)
