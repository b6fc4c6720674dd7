"""Which files count as configuration, and how an environment adds to base."""

from __future__ import annotations

from pathlib import Path

from kedro.config import OmegaConfigLoader

from excise.settings import CONFIG_LOADER_ARGS


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_environment_names_only_what_differs(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "base/globals.yml": "concepts: {nsfw: person, style: fluent}\ncache: data/cache\n",
            "base/parameters.yml": "a: {x: 1, y: 2}\n",
            "base/erase/parameters_erase.yml": "erase: {steps: 5, rate: 0.1}\n",
            "base/erase/catalog_erase.yml": "m: {type: json.JSONDataset, filepath: m.json}\n",
            "base/concepts/person.yml": "person: {kind: nsfw, anchor: ''}\n",
            "base/concepts/more/fluent.yml": "fluent: {kind: style}\n",
            "sd14/globals.yml": "concepts: {nsfw: nudity}\n",
            "sd14/erase/parameters.yml": "erase: {steps: 50}\n",
            "sd14/concepts/person.yml": "person: {anchor: a dog}\n",
        },
    )
    loader = OmegaConfigLoader(str(tmp_path), env="sd14", runtime_params={"erase": {"rate": 0.2}}, **CONFIG_LOADER_ARGS)
    assert loader["globals"] == {"concepts": {"nsfw": "nudity", "style": "fluent"}, "cache": "data/cache"}
    assert loader["parameters"] == {"a": {"x": 1, "y": 2}, "erase": {"steps": 50, "rate": 0.2}}
    assert loader["concepts"] == {"person": {"kind": "nsfw", "anchor": "a dog"}, "fluent": {"kind": "style"}}
    assert loader["catalog"]["m"]["filepath"] == "m.json"
