"""What is read once is what Kedro's own loader reads, and nobody's changes are another's."""

from pathlib import Path

import pytest
from kedro.config import MissingConfigException, OmegaConfigLoader

from excise.configuration import ConfigLoader
from excise.settings import CONFIG_LOADER_ARGS

CONF = str(Path(__file__).parents[3] / "conf")


def test_it_reads_what_kedros_own_reads_and_hands_out_copies():
    ours, kedros = (
        kind(CONF, env="smoke", runtime_params={"seed": 7}, **CONFIG_LOADER_ARGS)
        for kind in (ConfigLoader, OmegaConfigLoader)
    )
    for kind in ("globals", "parameters", "catalog", "concepts", "airflow"):
        assert ours[kind] == kedros[kind]
        ours[kind].clear()
        assert ours[kind] == kedros[kind]
    assert ours["parameters"]["seed"] == 7
    ours["parameters"] = {"seed": 8}
    assert ours["parameters"] == {"seed": 8}


def test_what_is_not_there_is_missed_every_time(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "local").mkdir()
    loader = ConfigLoader(str(tmp_path), base_env="base", default_run_env="local")
    for _ in range(2):
        with pytest.raises(MissingConfigException):
            loader["parameters"]


def test_a_file_may_end_in_either_way(tmp_path):
    for place, name in (("concepts", "boat.yml"), ("concepts/mine", "car.yml"), ("concepts", "dog.yaml")):
        file = tmp_path / "base" / place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{file.stem}: {{erase: a {file.stem}}}\n")
    (tmp_path / "base/airflow.yaml").write_text("dags: {one: {}}\n")
    (tmp_path / "local").mkdir()
    loader = ConfigLoader(str(tmp_path), **CONFIG_LOADER_ARGS)
    assert sorted(loader["concepts"]) == ["boat", "car", "dog"] and list(loader["airflow"]["dags"]) == ["one"]
