"""Series stay apart, for color-blind eyes as well."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.drawing.series import BLUE, GRAY, ORANGE, SKY, ink_on, pck_curves, styles

# Machado et al., "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, severity 1;
# of linear RGB
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
# CIE 1976: a difference of about 2.3 can just be seen
CLEAR_DIFFERENCE = 10.0


def lab(color: str, sight: str) -> NDArray[np.float64]:
    """CIE L*a*b* of an sRGB color "#RRGGBB" as it is seen."""
    rgb = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(SIGHT[sight]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ seen / to_xyz.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_the_first_seven_colors_can_be_told_apart(sight: str) -> None:
    colors = {style.color for style in styles(["scratch", "SimCLR", "PeCLR", "a", "b", "c", "d"]).values()}
    assert len(colors) == 7
    closest = min(np.linalg.norm(lab(a, sight) - lab(b, sight)) for a, b in combinations(colors, 2))
    assert closest > CLEAR_DIFFERENCE


def test_methods_keep_their_colors_in_longer_names() -> None:
    alone, longer = styles(["other", "SimCLR", "PeCLR"]), styles(["runs/finetune-peclr-300", "simclr_b"])
    assert longer["runs/finetune-peclr-300"].color == alone["PeCLR"].color
    assert longer["simclr_b"].color == alone["SimCLR"].color
    assert alone["other"].color not in {alone["PeCLR"].color, alone["SimCLR"].color}


def test_what_shares_a_color_differs_in_dash_and_mark() -> None:
    names = [f"run {index}" for index in range(12)] + ["peclr-1", "peclr-2", "peclr-3"]
    looks = styles(names)
    for a, b in combinations(names, 2):
        if looks[a].color == looks[b].color:
            assert looks[a].dash != looks[b].dash
            assert looks[a].mark != looks[b].mark


def test_auc_is_the_area_under_the_curve() -> None:
    all_within, straight = pck_curves({"thresholds_mm": [0, 25, 50], "mesh": [0, 0.5, 1], "xyz_al": [1, 1, 1]})
    assert (all_within.title, all_within.auc) == ("3-D PCK, aligned", 1.0)
    assert straight.auc == pytest.approx(0.5)


def test_words_on_a_color_can_be_read() -> None:
    assert [ink_on(color) for color in ("#000000", "#FFFFFF", BLUE, GRAY, ORANGE, SKY)] == [
        *("white", "black", "white", "white", "black", "black")
    ]
