"""Runs on disk: which file a folder means, and what its config says."""

from pathlib import Path

import pytest

from peclr.runs.layout import find_checkpoint, read_run_config, view_size_of_run


def run_with(folder: Path, *names: str) -> Path:
    (folder / "checkpoints").mkdir()
    for name in names:
        (folder / "checkpoints" / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (("last.ckpt", "best.ckpt", "epoch=1.ckpt"), "last.ckpt"),
        (("best.ckpt", "epoch=1.ckpt"), "best.ckpt"),
        (("epoch=1.ckpt",), "epoch=1.ckpt"),
    ],
)
def test_a_folder_means_its_last_checkpoint(names: tuple[str, ...], meant: str, tmp_path: Path) -> None:
    run = run_with(tmp_path, *names)
    assert find_checkpoint(run) == run / "checkpoints" / meant
    assert find_checkpoint(run / "checkpoints") == run / "checkpoints" / meant


def test_a_file_means_itself() -> None:
    assert find_checkpoint("weights.pth") == Path("weights.pth")


def test_no_and_several_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such checkpoint as checkpoints/last\.ckpt"):
        find_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"several checkpoints; name one of .*epoch=1\.ckpt, .*epoch=2\.ckpt"):
        find_checkpoint(run_with(tmp_path, "epoch=1.ckpt", "epoch=2.ckpt"))


def test_the_view_size_is_the_runs(tmp_path: Path) -> None:
    checkpoint = run_with(tmp_path, "last.ckpt") / "checkpoints" / "last.ckpt"
    assert read_run_config(checkpoint) == {}
    assert view_size_of_run(checkpoint) is None
    (tmp_path / "config.yaml").write_text("data: {class_path: A, init_args: {view_size: 64}}\nmodel: null\n")
    assert view_size_of_run(checkpoint) == 64
    (tmp_path / "config.yaml").write_text("- a list")
    with pytest.raises(ValueError, match=r"config\.yaml: expected the mapping of a run's config, found a list"):
        view_size_of_run(checkpoint)


@pytest.mark.parametrize("size", ["'48'", "48.0", "null", "true", "-3"])
def test_a_view_size_that_is_no_number_of_pixels_is_refused(size: str, tmp_path: Path) -> None:
    checkpoint = run_with(tmp_path, "last.ckpt") / "checkpoints" / "last.ckpt"
    (tmp_path / "config.yaml").write_text(f"model: {{init_args: {{view_size: {size}}}}}")
    with pytest.raises(ValueError, match=r"config\.yaml: model: view_size .*, expected a whole number of pixels"):
        view_size_of_run(checkpoint)
