"""The command that starts a run again can be pasted."""

import shlex

import pytest

from excise.hooks.account import command


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
