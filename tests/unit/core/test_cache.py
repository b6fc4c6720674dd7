import numpy as np
import pandas as pd
import pytest
import torch

from excise.cache import Cache, code_fingerprint, code_of, fingerprint, finished, write_atomically


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1}, {"a": 2}),
        (1, "1"),
        ([1, 2], [[1, 2]]),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (np.arange(3), np.arange(4)),
        (pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [2, 1]})),
        (pd.DataFrame({"x": [1]}), pd.DataFrame({"y": [1]})),
    ],
)
def test_different_content_has_different_fingerprints(first, second):
    assert fingerprint(first) != fingerprint(second)


def test_order_of_keys_does_not_count_and_files_count_by_content(tmp_path):
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x"), two.write_text("x")
    assert fingerprint(one) == fingerprint(two)
    two.write_text("y")
    assert fingerprint(one) != fingerprint(two)


def test_what_cannot_be_seen_is_refused():
    with pytest.raises(TypeError):
        fingerprint(object())


def test_a_changed_parameter_does_not_find_the_folder(tmp_path):
    cache = Cache(tmp_path)
    folder = cache.folder("work", ("excise.cache",), steps=1)
    assert folder.is_dir() and folder == cache.folder("work", ("excise.cache",), steps=1)
    assert folder != cache.folder("work", ("excise.cache",), steps=2)
    assert folder != cache.folder("work", ("excise.errors",), steps=1)
    assert code_fingerprint("excise.masks") != code_fingerprint("excise.neurons")


def test_a_mended_sentence_loses_no_work_and_a_mended_line_does(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for n, source in enumerate(
        [
            '"""Old."""\ndef f(x):\n    """Doubles."""\n    return 2 * x\n',
            '"""New words."""\n\n\ndef f(x):\n    """Twice x."""\n    return (2 * x)  # as it should be\n',
            '"""New words."""\ndef f(x):\n    """Twice x."""\n    return 3 * x\n',
            "def f(x):\n    return 2 * x\n",
        ]
    ):
        (tmp_path / f"counted_{n}.py").write_text(source)
        found.append(code_fingerprint(f"counted_{n}"))
    assert found[0] == found[1] != found[2]
    assert found[3] not in found[:3]  # a docstring counts as there or not: that much is code


def test_how_models_are_called_counts_in_all_work_of_models(monkeypatch):
    import excise.cache

    before, other = code_fingerprint("excise.models"), code_fingerprint("excise.masks")
    monkeypatch.setattr(excise.cache, "INSIDE", {})
    assert code_fingerprint("excise.models") != before and code_fingerprint("excise.masks") == other


def test_a_method_counts_with_its_own_folder_and_those_it_builds_on(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        path = tmp_path / "counted_room" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    write("__init__.py", "from . import one\n"), write("shared.py", "x = 1\n")
    write("one/__init__.py", ""), write("one/method.py", "y = 1\n")
    room, method = code_fingerprint("counted_room"), code_fingerprint("counted_room", "counted_room.one")
    write("__init__.py", "from . import one, two\n"), write("two/__init__.py", ""), write("two/method.py", "z = 1\n")
    assert code_fingerprint("counted_room") == room  # a new method is no change to the others
    write("one/method.py", "y = 2\n")
    assert code_fingerprint("counted_room") == room
    assert code_fingerprint("counted_room", "counted_room.one") != method
    write("shared.py", "x = 2\n")
    assert code_fingerprint("counted_room") != room


def test_a_derived_method_names_what_it_is_derived_from():
    from excise.erasers.registry import method_class

    assert code_of(method_class("advunlearn")) == ("excise.erasers", "excise.erasers.advunlearn", "excise.erasers.esd")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def half(draft):
        draft.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError):
        write_atomically(path, half)
    assert path.read_text() == "old"


def test_one_at_a_time_in_a_block_of_the_same_name(tmp_path):
    import threading

    cache, entered = Cache(tmp_path), threading.Event()

    def other() -> None:
        with cache.alone("sampling"):
            entered.set()

    with cache.alone("sampling"):
        waiting = threading.Thread(target=other)
        waiting.start()
        assert not entered.wait(0.3)
        with cache.alone("something else"):
            pass
    assert entered.wait(5)
    waiting.join()


# written whole or not at all ------------------------------------------------------------------------------------------
def test_what_goes_wrong_leaves_neither_half_nor_draft(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("whole")

    def half(draft):
        draft.write_text("ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, half)
    assert path.read_text() == "whole" and [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_disk_that_is_full_when_it_is_flushed_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    path.write_text("whole")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, lambda draft: draft.write_text("other"))
    assert path.read_text() == "whole" and len(list(tmp_path.iterdir())) == 1


def test_of_two_writers_the_last_file_stays_and_the_first_folder(tmp_path):
    def folder(word):
        return lambda draft: (draft.mkdir(), (draft / "word").write_text(word))

    def meanwhile(draft):  # another process does the same work and is done before
        write_atomically(tmp_path / "file", lambda other: other.write_text("first"))
        draft.write_text("second")

    write_atomically(tmp_path / "file", meanwhile)
    write_atomically(tmp_path / "folder", folder("first"))
    write_atomically(tmp_path / "folder", folder("second"))
    assert (tmp_path / "file").read_text() == "second" and (tmp_path / "folder/word").read_text() == "first"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def _files(folder):
    from PIL import Image
    from safetensors.torch import save_file

    save_file({"a": torch.arange(5.0), "b": torch.zeros(3)}, folder / "t.safetensors", {"step": "1"})
    save_file({}, folder / "nothing.safetensors")
    pd.DataFrame({"x": [1, 2]}).to_parquet(folder / "t.parquet")
    Image.new("RGB", (4, 4), "teal").save(folder / "t.png")
    (folder / "t.json").write_text('{"a": [1, 2]}')
    (folder / "t.npy").write_bytes(b"something")
    return sorted(folder.iterdir())


def test_only_whole_files_count_as_finished(tmp_path, caplog):
    assert not finished(tmp_path / "none.json")
    files = _files(tmp_path)
    assert all(map(finished, files)) and not caplog.records
    for path in files:
        whole = path.read_bytes()
        cuts = [0] if path.suffix == ".npy" else [0, 3, len(whole) // 2, len(whole) - 1]
        for cut in cuts:
            path.write_bytes(whole[:cut])
            assert not finished(path), (path, cut)
        assert f"{path} is damaged, and is made anew." in caplog.text
        if path.suffix in (".png", ".parquet"):  # the right length, and nothing in it: the power was lost
            path.write_bytes(bytes(len(whole)))
            assert not finished(path)
