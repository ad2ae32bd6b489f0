"""`--other-film` on YouTube3DHands: neighboring frames are the most alike, and are passed over."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from peclr.__main__ import main
from peclr.data.loading.pairs_file import read_pairs

FILMS = ["filmA", "filmA", "filmB", "filmB", "filmC", "filmC"]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two frames of each of three films, whose hands hardly differ within a film."""
    rng = np.random.default_rng(0)
    pose = rng.uniform(8, 40, (778, 3))
    of_film = {name: pose + rng.normal(0, 4, pose.shape) for name in dict.fromkeys(FILMS)}
    root = tmp_path / "films"
    images, annotations = [], []
    for number, film in enumerate(FILMS):
        name = f"youtube/{film}/video/frames/{number}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((48, 48, 3), 20 * number, np.uint8))
        images.append({"name": name, "width": 48, "height": 48, "id": number})
        vertices = (of_film[film] + rng.normal(0, 0.1, pose.shape)).tolist()
        annotations.append({"vertices": vertices, "is_left": 0, "image_id": number, "id": number})
    (root / "youtube_train.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return root


@pytest.mark.parametrize("other_video", [False, True])
def test_frames_of_one_film_are_passed_over_when_asked(films: Path, tmp_path: Path, *, other_video: bool) -> None:
    out = tmp_path / "pairs.npz"
    options = ["--other-video"] if other_video else []
    assert main(["mine", str(films), "--out", str(out), "--neighbors", "1", *options]) == 0
    [mined], facts = read_pairs(out)
    assert facts["other_video"] == other_video
    same_film = [FILMS[hand] == FILMS[other] for hand, other in enumerate(mined.neighbors[:, 0].tolist())]
    assert same_film == [not other_video] * len(FILMS)
