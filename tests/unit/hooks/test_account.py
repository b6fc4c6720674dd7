"""The command that starts a run again can be pasted."""

import shlex
from types import SimpleNamespace

import pytest

from excise.hooks.account import command, other_source


@pytest.mark.parametrize(
    ("run_params", "env", "expected"),
    [
        ({"pipeline_names": ["erase_nsfw"]}, None, "kedro run --pipeline=erase_nsfw"),
        ({"pipeline_names": ["prepare", "erase"]}, "full", "kedro run --pipelines=prepare,erase --env=full"),
        (
            {
                "pipeline_names": ["audit"],
                "runtime_params": {"checkpoint": "/a b/esd.safetensors", "draw": {"steps": 3}},
            },
            "local",
            "kedro run --pipeline=audit '--params=checkpoint=/a b/esd.safetensors,draw.steps=3'",
        ),
        (
            {"pipeline_names": ["benchmark"], "runtime_params": {"benchmark": {"hours": 2, "workers": 4}, "seed": 7}},
            None,
            "kedro run --pipeline=benchmark --params=seed=7",
        ),
        (
            {"pipeline_names": ["erase_nsfw"], "runtime_params": {"known_pictures": None, "export": {"variant": None}}},
            None,
            "kedro run --pipeline=erase_nsfw --params=known_pictures=null,export.variant=null",
        ),
        (
            {"pipeline_names": ["study_pruning"], "runtime_params": {"study": {"hours": 0.5}}},
            None,
            "kedro run --pipeline=study_pruning",
        ),
    ],
)
def test_the_command_says_what_was_run(run_params, env, expected):
    said = command(run_params, env)
    assert said == expected
    assert shlex.split(said)[:2] == ["kedro", "run"]


def test_a_configuration_elsewhere_is_named(tmp_path):
    def context(source: str) -> SimpleNamespace:
        return SimpleNamespace(project_path=tmp_path, config_loader=SimpleNamespace(conf_source=source))

    assert other_source(context(str(tmp_path / "conf"))) == []
    source = other_source(context("/else where"))
    said = command({"pipeline_names": ["prepare"], "runtime_params": {"seed": 1}}, "smoke", source)
    assert shlex.split(said)[3:] == ["--env=smoke", "--conf-source=/else where", "--params=seed=1"]
