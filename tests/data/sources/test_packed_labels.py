from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.data.sources.packed_labels import PackedArrays, open_if_fresh, replacing, stamp_of, write_packed
from tests.json_files import edit_json, set_at

ARRAYS: dict[str, Any] = {
    "a": np.arange(60, dtype=np.float32).reshape(20, 3),
    "name": np.array([b"one", b"three"]),
    "one": np.ones(1, bool),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "youtube_val.json"
    path.write_text("[1, 2, 3]")
    return path


@pytest.fixture
def folder(tmp_path: Path, source: Path) -> Path:
    folder = tmp_path / "prepared" / "youtube3d_val"
    with replacing(folder) as partial:
        write_packed(partial, folder.name, ARRAYS, {source.name: stamp_of(source)}, {"size": 20})
    return folder


def opened(source: Path) -> PackedArrays | None:
    return open_if_fresh("youtube3d", source.parent, "val")


def test_arrays_come_back_mapped_and_read_only(folder: Path) -> None:
    packed = PackedArrays(folder)
    assert set(packed) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(packed[name], array)
        assert isinstance(packed[name].base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            packed[name][0] = 0
    assert packed.manifest.facts == {"size": 20}


def test_an_array_that_another_version_packed_without_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"youtube3d_val has no other, which peclr .* needs; prepare it again"):
        PackedArrays(folder)["other"]


def test_pickles_hold_the_path_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    pickled = pickle.dumps(PackedArrays("youtube3d_val"))
    monkeypatch.chdir("/")
    copy = pickle.loads(pickled)  # noqa: S301 (our own)
    np.testing.assert_array_equal(copy["a"], ARRAYS["a"])
    assert len(pickled) < 300


def test_fresh_labels_are_opened(folder: Path, source: Path) -> None:
    packed = opened(source)
    assert packed is not None
    assert packed.folder == folder.resolve()


def test_a_copy_with_another_time_is_fresh(folder: Path, source: Path) -> None:
    os.utime(source, (0, 0))
    assert opened(source) is not None


def test_nothing_prepared_is_no_reason_to_warn(source: Path) -> None:
    assert opened(source) is None


def another_source(folder: Path, source: Path) -> None:
    edit_json(folder / "manifest.json", lambda it: it["sources"].update({"other.json": it["sources"][source.name]}))


def cut(path: Path, length: int = 1) -> None:
    path.write_bytes(path.read_bytes()[:-length])


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (1, 1))


DAMAGE: dict[str, Any] = {
    "youtube_val.json is missing, new or has changed": lambda _, source: source.write_text("[]"),
    "val.json is missing, new or has changed": lambda _, source: rewrite(source, "[1, 2, 4]"),
    "json is missing, new or has changed": lambda _, source: source.unlink(),
    "other.json": another_source,
    r"Invalid enum value 9 - at `\$\.format`": lambda folder, _: edit_json(
        folder / "manifest.json", set_at(9, "format")
    ),
    r"a\.npy cannot be mapped": lambda folder, _: (folder / "a.npy").unlink(),
    r"one\.npy cannot be mapped": lambda folder, _: cut(folder / "one.npy"),
    r"manifest\.json is missing": lambda folder, _: (folder / "manifest.json").unlink(),
    r"manifest\.json: not valid JSON": lambda folder, _: cut(folder / "manifest.json", 2),
    r"manifest\.json, which .* Object missing required field `kind`": lambda folder, _: (
        folder / "manifest.json"
    ).write_text("{}"),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_stale_and_damaged_folders_are_reported_and_not_used(folder: Path, source: Path, message: str) -> None:
    DAMAGE[message](folder, source)
    with pytest.warns(UserWarning, match=rf"not used: .*({message}).*`peclr prepare youtube3d .* val` fixes it"):
        assert opened(source) is None


def test_what_the_version_before_has_packed_is_read(folder: Path, source: Path) -> None:
    stamps = {name: {"dtype": array.dtype.str, "shape": list(array.shape)} for name, array in ARRAYS.items()}
    edit_json(folder / "manifest.json", lambda manifest: manifest.update(format=1, arrays=stamps))
    packed = opened(source)
    assert packed is not None
    np.testing.assert_array_equal(packed["a"], ARRAYS["a"])


def test_a_new_folder_takes_the_place_of_the_old_one(folder: Path) -> None:
    with replacing(folder) as partial:
        write_packed(partial, "kind", {"b": np.zeros(3)}, {}, {})
        assert set(PackedArrays(folder)) == set(ARRAYS)  # until the new one is whole
    assert set(PackedArrays(folder)) == {"b"}
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_everything_as_it_was(folder: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with replacing(folder) as partial:
            np.save(partial / "b.npy", np.zeros(3))
            raise error

    with pytest.raises(error):
        interrupted()
    assert set(PackedArrays(folder)) == set(ARRAYS)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_killed_run_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib, numpy, peclr.data.sources.packed_labels as p\n"
        f"with p.replacing(pathlib.Path({str(tmp_path)!r}, 'kind')) as partial:\n"
        "    p.write_packed(partial, 'kind', {'a': numpy.zeros(3)}, {}, {})\n"
        "    print(flush=True)\n"
        "    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait(timeout=10)
    process.stdout.close()
    assert not (tmp_path / "kind").exists()
    assert [path.name.startswith(".kind.partial-") for path in tmp_path.iterdir()] == [True]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ValueError, match=r"file/\.kind\.partial-.*cannot be made"),
        replacing(tmp_path / "file" / "kind"),
    ):
        pass


def test_large_arrays_are_mapped_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with replacing(tmp_path / "big") as partial:
        write_packed(partial, "big", {"a": np.zeros((70, 1000, 1000), np.uint8)}, {}, {})
    manifest = json.loads((tmp_path / "big" / "manifest.json").read_text())
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read") if "npy" in path.name else b"")
    monkeypatch.setattr("peclr.data.sources.packed_labels.read_json", lambda path: manifest)
    assert PackedArrays(tmp_path / "big")["a"].shape == (70, 1000, 1000)


def test_a_manifest_names_no_files_elsewhere(folder: Path) -> None:
    edit_json(folder / "manifest.json", set_at({"a": None, "../other": None}, "arrays"))
    with pytest.raises(ValueError, match=r"manifest\.json, which .*matching regex"):
        PackedArrays(folder)


def test_flipped_bits_in_an_array_are_found(folder: Path) -> None:
    content = bytearray((folder / "a.npy").read_bytes())
    content[-1] ^= 1
    (folder / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy cannot be mapped: its content is not what was written"):
        PackedArrays(folder)
