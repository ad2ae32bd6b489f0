"""Other backgrounds: the hand stays pixel for pixel where it was, everything else goes."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.datasets import Augmentation, PairedViewDataset
from peclr.data.prepare.doctor import Look, examine
from peclr.data.samples import HandSource, require_masks
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.images import read_mask
from peclr.data.views.backgrounds import Backgrounds, Outline, ReplaceBackground
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric

if TYPE_CHECKING:
    from tests.data.conftest import Layout


def always(**changes: Any) -> ReplaceBackground:
    return ReplaceBackground(**{"probability": 1, "feather": 0, "bank": 8, **changes})


ALWAYS = always()


def views(source: HandSource, background: ReplaceBackground | None, **options: Any) -> PairedViewDataset:
    drawn: dict[str, Any] = {"geometry": GeometryRange(), "border": "reflect", "background": background}
    drawn |= {name: options.pop(name) for name in ("geometry", "photometric") if name in options}
    return PairedViewDataset([source], **{"view_size": 64, "augmentation": Augmentation(**drawn), **options})


@pytest.fixture
def hands(rendered_hands: Path) -> FreiHAND:
    return FreiHAND(rendered_hands)


def write_masks(root: Path) -> None:
    """A square hand in each image of the layout."""
    (root / "training/mask").mkdir()
    mask = np.zeros((112, 112), np.uint8)
    mask[40:60, 40:60] = 255
    for hand in range(6):
        cv2.imwrite(str(root / f"training/mask/{hand:08d}.jpg"), mask)


def masks_of(dataset: PairedViewDataset, key: tuple[int, int]) -> list[Tensor]:
    """The hand's mask in each view, taken through the item's matrices, apart from the code."""
    item = dataset[key]
    source, images = dataset.images_of(key)
    masks = [
        cv2.warpAffine(
            255 * require_masks(source).read_mask(source.hand_of(image)), matrix[:2].double().numpy(), (64, 64)
        )
        for image, matrix in zip(images, item["view_from_image"], strict=True)
    ]
    return [torch.from_numpy(mask) for mask in masks]


def test_the_hand_stays_and_its_surroundings_go(hands: FreiHAND) -> None:
    before, after = views(hands, None), views(hands, ALWAYS)
    for index in range(12):
        old, new = before[1, index], after[1, index]
        assert torch.equal(old["view_from_image"], new["view_from_image"])
        for number, mask in enumerate(masks_of(after, (1, index))):
            difference = (old["views"][number].int() - new["views"][number].int()).abs().amax(dim=0)
            # within the edge, where the matrix's rounding to 32 bits may move the mask by 1/32 px
            inside = torch.from_numpy(cv2.erode(mask.numpy(), np.ones((5, 5))))
            assert difference[inside > 250].max() <= 1
            assert difference[mask < 5].float().mean() > 10


def test_both_views_get_backgrounds_of_their_own_and_each_epoch_others(hands: FreiHAND) -> None:
    dataset = views(hands, ALWAYS, geometry=None)
    first, second = dataset[0, 3]["views"]
    outside = masks_of(dataset, (0, 3))[0] < 5
    assert (first.int() - second.int()).abs()[:, outside].float().mean() > 5
    assert not torch.equal(dataset[1, 3]["views"], dataset[0, 3]["views"])


def test_backgrounds_depend_on_seed_epoch_and_index_alone(hands: FreiHAND) -> None:
    one, two = views(hands, ALWAYS), views(hands, ALWAYS)
    for key in ((0, 5), (1, 2), (0, 7)):
        two[key]
    assert torch.equal(one[1, 3]["views"], two[1, 3]["views"])
    assert not torch.equal(one[1, 3]["views"], views(hands, ALWAYS, seed=1)[1, 3]["views"])


def test_probability_is_how_often(hands: FreiHAND) -> None:
    before, sometimes = (views(hands, background, view_size=16) for background in (None, always(probability=0.3)))
    replaced = [
        not torch.equal(old, new)
        for epoch in range(3)
        for index in range(len(before))
        for old, new in zip(before[epoch, index]["views"], sometimes[epoch, index]["views"], strict=True)
    ]
    assert 0.22 < np.mean(replaced) < 0.38  # 288 views: three standard deviations
    never = views(hands, always(probability=0), view_size=16)
    assert torch.equal(never[0, 1]["views"], before[0, 1]["views"])


def test_feathering_softens_the_edge_only(hands: FreiHAND) -> None:
    hard, soft = views(hands, ALWAYS), views(hands, always(feather=2))
    [mask, _] = masks_of(hard, (0, 0))
    difference = (hard[0, 0]["views"][0].int() - soft[0, 0]["views"][0].int()).abs().amax(dim=0)
    distance = cv2.distanceTransform((mask.numpy() > 127).astype(np.uint8), cv2.DIST_L2, 5)
    distance = distance + cv2.distanceTransform((mask.numpy() <= 127).astype(np.uint8), cv2.DIST_L2, 5)
    assert difference[torch.from_numpy(distance) < 3].max() > 10
    assert difference[torch.from_numpy(distance) > 8].max() <= 1


def test_colors_are_augmented_after_it(hands: FreiHAND) -> None:
    """Hand and background get the same light: a view drained of color has none anywhere."""
    gray = Photometric(color_jitter=0, color_drop=1)
    view = views(hands, ALWAYS, photometric=gray)[0, 0]["views"][0].int()
    assert (view - view[:1]).abs().max() == 0


def test_hands_of_the_images_behind_are_painted_over(layout: "Layout") -> None:
    """A red hand on a black image, behind a hand that is not there: nothing red is left."""
    (layout.root / "training/mask").mkdir()
    image, mask = np.zeros((112, 112, 3), np.uint8), np.zeros((112, 112), np.uint8)
    cv2.circle(image, (56, 56), 30, (0, 0, 255), -1)  # BGR
    cv2.circle(mask, (56, 56), 30, 255, -1)
    for number in range(18):
        cv2.imwrite(str(layout.root / f"training/rgb/{number:08d}.jpg"), image)
    for hand in range(6):
        cv2.imwrite(str(layout.root / f"training/mask/{hand:08d}.jpg"), mask)
    # far away from the hand, the view shows the background alone
    dataset = views(FreiHAND(layout.root, crop="image"), ALWAYS, geometry=GeometryRange(translation=(4, 4)))
    for index in range(6):
        assert dataset[0, index]["views"][0].max() < 40


def test_backgrounds_may_be_photographs_of_a_folder(hands: FreiHAND, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "blue.png"), np.full((50, 90, 3), (255, 0, 0), np.uint8))
    dataset = views(hands, always(folder=str(tmp_path)))
    view, mask = dataset[0, 2]["views"][1], masks_of(dataset, (0, 2))[1]
    assert (view[:, mask < 5] == torch.tensor([[0], [0], [255]])).all()
    with pytest.raises(ValueError, match="nowhere"):
        views(hands, always(folder=str(tmp_path / "nowhere")))


def test_missing_masks_are_refused_early(layout: "Layout", tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mask is not a folder"):
        PairedViewDataModule(sources=FreiHAND(layout.root), batch_size=4, background=ALWAYS)
    (layout.root / "training/mask").mkdir()
    for hand in (0, 1, 2, 4, 5):
        (layout.root / f"training/mask/{hand:08d}.jpg").touch()
    with pytest.raises(ValueError, match=r"missing masks, 00000003\.jpg; expected one of each hand"):
        views(SelectedHands(FreiHAND(layout.root), [0, 1]), ALWAYS)
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="photos has no masks"):
        views(ImageFiles(tmp_path / "*.png"), ALWAYS)


def test_a_version_of_another_size_than_its_mask_is_refused(layout: "Layout") -> None:
    write_masks(layout.root)
    cv2.imwrite(str(layout.root / "training/rgb/00000007.jpg"), np.zeros((112, 56, 3), np.uint8))
    with pytest.raises(ValueError, match="00000007: the mask has 112 × 112 px, the image 56 × 112"):
        views(FreiHAND(layout.root), ALWAYS)[0, 7]


@pytest.mark.parametrize("wrong", [{"probability": 1.1}, {"feather": -1}, {"bank": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} {next(iter(wrong.values()))}"):
        ReplaceBackground(**wrong)  # type: ignore[arg-type]  # what is wrong is the point


def test_doctor_tells_whether_there_are_masks(layout: "Layout") -> None:
    def found() -> list[str]:
        return [finding.what for finding in examine(layout.root, Look()) if "masks" in finding.what]

    assert found()[0].startswith("no masks, hence no `background`")
    write_masks(layout.root)
    assert found() == ["masks of all hands: pre-training can replace their `background`"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: 0 * mask, r"00000000\.jpg: this mask shows no hand; its brightest pixel is 0"),
        (lambda mask: mask // 85, r"this mask shows no hand; its brightest pixel is 3, expected 255 or 1"),
        (lambda mask: mask[::2, ::2], r"00000000\.jpg has 32 × 32 px, and its image 64 × 64; expected the same"),
    ],
)
def test_masks_that_do_not_fit_are_refused_before_training(
    rendered_hands: Path, tmp_path: Path, change: Any, message: str
) -> None:
    shutil.copytree(rendered_hands, tmp_path / "hands")
    for file in (tmp_path / "hands/training/mask").iterdir():
        changed = change(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
        file.write_bytes(cv2.imencode(".png", changed)[1].tobytes())
    with pytest.raises(ValueError, match=message):
        views(FreiHAND(tmp_path / "hands"), ALWAYS)


def test_masks_of_zeros_and_ones_are_those_of_black_and_white(hands: FreiHAND, tmp_path: Path) -> None:
    mask = 255 * hands.read_mask(2)
    for name, pixels in (("ones", mask // 255), ("white", mask)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    assert (read_mask(tmp_path / "ones.png") == read_mask(tmp_path / "white.png")).all()
    assert (255 * read_mask(tmp_path / "ones.png") == mask).all()


def test_outlines_keep_gaps_parts_and_places() -> None:
    """A ring and a disc, drawn where a matrix takes them, against the warped mask."""
    mask = np.zeros((90, 120), np.uint8)
    cv2.circle(mask, (40, 45), 30, 255, -1)
    cv2.circle(mask, (40, 45), 12, 0, -1)
    cv2.circle(mask, (95, 40), 15, 255, -1)
    turned = np.array([[0.8, 0.6, -20], [-0.6, 0.8, 50], [0, 0, 1]])
    drawn = Outline.of(mask // 255).draw(turned, 80)
    expected = cv2.warpAffine(mask, turned[:2], (80, 80)) > 127
    assert ((drawn > 0) != expected).mean() < 0.04  # a pixel along the edges
    inner = cv2.erode(expected.astype(np.uint8), np.ones((5, 5))) > 0
    outer = cv2.dilate(expected.astype(np.uint8), np.ones((5, 5))) > 0
    assert drawn[inner].all()
    assert not drawn[~outer].any()


def test_outlines_of_so_many_hands_are_kept_and_no_more(hands: FreiHAND, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [views(hands, ALWAYS)[0, index]["views"] for index in (0, 1, 2, 3, 0)]
    monkeypatch.setattr("peclr.data.views.backgrounds._OUTLINES", 2)
    few = views(hands, ALWAYS)
    for index, views_then in zip((0, 1, 2, 3, 0), expected, strict=True):
        assert torch.equal(few[0, index]["views"], views_then)
        assert few._backgrounds is not None
        assert len(few._backgrounds._outlines) <= 2


def test_a_bank_moves_on_with_the_epochs(hands: FreiHAND) -> None:
    def images(bank: Backgrounds, epoch: int) -> list[bytes]:
        return [bank._part(epoch, which / 4, 0, 0).tobytes() for which in range(4)]

    def bank() -> Backgrounds:
        return Backgrounds(always(bank=4), [hands], size=32, pairs=100, seed=0)

    moving = bank()
    first, second, later = images(moving, 0), images(moving, 1), images(moving, 9)
    assert second[:3] == first[1:]
    assert {*later} != {*first}
    assert len(moving._made) <= 4
    assert images(bank(), 1) == second
