from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.datasets import Key, PairedViewDataset
from peclr.data.samples import PairedViewItem
from peclr.data.sources.images import read_image
from peclr.drawing.views import draw_views, inspect_main

ROOT = Path(__file__).parents[2]
TILE, STEP, TOP = 256, 262, 26

Image = NDArray[np.uint8]


@pytest.fixture
def config(rendered_hands: Path, tmp_path: Path) -> Path:
    """A config that pre-trains on the rendered hands."""
    contents = yaml.safe_load((ROOT / "tests" / "conf" / "pretrain.yaml").read_text())
    contents["data"]["init_args"]["root"] = str(rendered_hands)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(contents))
    return path


def tile(sheet: Image, row: int, column: int) -> Image:
    return sheet[TOP + row * STEP :][:TILE, column * STEP :][:, :TILE]


def test_the_command_draws_what_a_config_trains_on(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "views.png"
    assert inspect_main([f"--config={config}", f"--out={out}", "--count=3", "--data.view_size=40"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    drawn = read_image(out)
    assert drawn.shape == (TOP + 3 * STEP, 6 * STEP - 6, 3)
    inspect_main([f"--config={config}", f"--out={out}", "--count=3", "--data.view_size=40", "--epoch=1"])
    assert not np.array_equal(read_image(out), drawn)


def pairs(root: Path) -> PairedViewDataModule:
    return PairedViewDataModule(
        root, view_size=64, geometry="published", photometric=None, batch_size=4, val_fraction=0.0
    )


def colorfulness(sheet: Image) -> float:
    """Mean difference of red and cyan where both views show something."""
    anaglyph = np.concatenate([tile(sheet, row, 5) for row in range(4)]).astype(int)
    both = (anaglyph[..., 0] > 8) & (anaglyph[..., 1] > 8)
    return float(np.abs(anaglyph[..., 0] - anaglyph[..., 1])[both].mean())


def test_misaligned_geometry_is_visible_at_a_glance(rendered_hands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pairs(rendered_hands)
    aligned = colorfulness(draw_views(module, 4))
    honest = PairedViewDataset.__getitem__

    def transposed(self: PairedViewDataset, key: Key) -> PairedViewItem:
        """The mistake of undoing a rotation twice."""
        item = honest(self, key)
        item["view_from_crop"][:, :2, :2] = item["view_from_crop"][:, :2, :2].transpose(-1, -2).clone()
        return item

    monkeypatch.setattr(PairedViewDataset, "__getitem__", transposed)
    assert colorfulness(draw_views(module, 4)) > 2 * aligned


def test_both_views_come_back_to_the_same_crop(rendered_hands: Path) -> None:
    sheet = draw_views(pairs(rendered_hands), 2)
    for row in range(2):
        first, second = (tile(sheet, row, column).astype(int) for column in (3, 4))
        both = (first.max(-1) > 0) & (second.max(-1) > 0)
        difference = np.abs(first - second).max(-1)[both]
        assert np.median(difference) < 12


def test_labeled_hands_are_drawn_with_the_labels_of_the_batch(rendered_hands: Path) -> None:
    module = LabeledHandDataModule(rendered_hands, 64, photometric=None, batch_size=4)
    sheet = draw_views(module, 3)
    assert sheet.shape == (TOP + 3 * STEP, 4 * STEP - 6, 3)
    for row in range(3):
        back, crop = (tile(sheet, row, column).astype(int) for column in (2, 3))
        shown = back.max(-1) > 0
        assert np.median(np.abs(back - crop).max(-1)[shown]) < 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count=0"], "--count 0"),
        (["--epoch=-1"], "--epoch -1"),
        (["--out=views.gif"], r"views\.gif: expected a \.png"),
        (["--config=gone.yaml"], r"gone\.yaml: no such config"),
    ],
)
def test_options_that_cannot_be_are_refused(config: Path, arguments: list[str], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        inspect_main([f"--config={config}", *arguments])


def test_configs_without_views_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("model: {}\n")
    with pytest.raises(ValueError, match="expected a config with `data`"):
        inspect_main([f"--config={path}"])


@pytest.mark.parametrize(
    "data",
    [
        "evil.Source",
        "{class_path: evil.Source}",
        "{class_path: PairedViewDataModule, init_args: {sources: evil.Source}}",
        "{class_path: PairedViewDataModule, init_args: {sources: '{class_path: evil.Source, x: 2001-13-45}'}}",
        "{class_path: PairedViewDataModule, init_args: {sources: sub/outer.yaml}}",
        "{class_path: PairedViewDataModule, init_args: {sources: {class_path: evil.Source, init_args: {root: .}}}}",
    ],
)
@pytest.mark.parametrize("given", ["config", "option", "file", "file in config"])
def test_a_strangers_config_imports_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, given: str
) -> None:
    (tmp_path / "evil.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\n"
        "from peclr.data.sources.image_files import ImageFiles\nclass Source(ImageFiles): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "given.yaml").write_text(f"data: {data}\n" if given == "config" else data)
    (tmp_path / "outer.yaml").write_text("data: given.yaml\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "outer.yaml").write_text("inner.yaml")
    (tmp_path / "sub" / "inner.yaml").write_text("{class_path: evil.Source, init_args: {root: .}}")
    words = {
        "config": ["--config=given.yaml"],
        "option": [f"--config={config}", f"--data={data}"],
        "file": [f"--config={config}", "--data=given.yaml"],
        "file in config": ["--config=outer.yaml"],
    }
    with pytest.raises(ValueError, match=r"."):
        inspect_main(words[given])
    assert not (tmp_path / "ran").exists()
    if given == "config" and "sources: {" in data:
        with pytest.raises(ValueError, match="no images"):
            inspect_main([*words[given], "--trust=evil"])
        assert (tmp_path / "ran").exists()
