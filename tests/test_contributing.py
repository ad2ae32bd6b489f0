"""The examples of CONTRIBUTING run as they stand there, and the files that it names are those that an image passes."""

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import pytest

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.inputs import find_inputs, frames_of
from peclr.inference.network import TrainedNetwork
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder
from peclr.predict import HandPredictor
from peclr.training import PretrainModule

TEXT = (Path(__file__).parents[1] / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL))


def run(title: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(EXAMPLES[title], f"CONTRIBUTING.md, {title}", "exec"), names)  # noqa: S102 (our own text)
    return names


def test_an_objective() -> None:
    assert run("An objective")["loss"].item() > 0


def test_a_data_set() -> None:
    names = run("A data set")
    assert names["views"].shape == (8, 2, 3, 64, 64)
    assert names["matrices"].shape == (8, 2, 3, 3)


def test_an_encoder() -> None:
    assert run("An encoder")["projections"].shape == (4, 2, 128)


@pytest.mark.parametrize("title", EXAMPLES)
def test_examples_are_short(title: str) -> None:
    assert len(EXAMPLES[title].splitlines()) <= 30


def test_every_package_is_on_the_map() -> None:
    packages = {path.parent.name for path in (Path(__file__).parents[1] / "peclr").glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}/`" not in TEXT} == set()


def files_that_run(work: Callable[[], object]) -> set[str]:
    """Files of the package, below it, whose code runs in any thread."""
    package, files = f"{Path(__file__).parents[1] / 'peclr'}/", set[str]()

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        files.add(frame.f_code.co_filename)

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        threading.settrace(None)
    return {file.removeprefix(package) for file in files if file.startswith(package)}


def unnamed(files: set[str], paragraph: int) -> set[str]:
    """Those that a paragraph of "Follow one image" names neither themselves nor by their folder."""
    text = TEXT.partition("## Follow one image\n\n")[2].split("\n\n")[paragraph]
    named = tuple(re.findall(r"`([\w/]+(?:\.py|/))`", text))
    return {file for file in files if not file.startswith(named)}


def test_an_image_passes_the_files_to_the_loss_that_are_named(rendered_hands: Path) -> None:
    data = PairedViewDataModule(sources=FreiHAND(rendered_hands), view_size=32, batch_size=8, num_workers=0)
    module = PretrainModule(ResNetEncoder("resnet18", 0.125), PeCLR())
    module.log_dict = module.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]  # no trainer
    batches = iter(data.train_dataloader())
    module.training_step(next(batches))
    files = files_that_run(lambda: module.training_step(next(batches)))
    assert {"data/sources/freihand.py", "losses/nt_xent.py"} <= files
    assert unnamed(files, 0) == set()


def test_an_image_passes_the_files_to_a_hand_that_are_named(
    trained: TrainedNetwork, make_image: Callable[..., Any], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "image.jpg"), make_image())
    predictor = HandPredictor(trained)
    files = files_that_run(lambda: list(predictor.stream(frames_of(find_inputs([str(tmp_path / "image.jpg")])))))
    assert unnamed(files, 1) == set()
    assert len([file for file in files if not file.startswith("geometry/")]) == 10
