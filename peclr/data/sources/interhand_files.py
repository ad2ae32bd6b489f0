"""What the label files of InterHand2.6M and AssemblyHands hold; see `peclr.data.sources.interhand`. No torch here.

Of both, `data` lists images and annotations as COCO does, `joint_3d` has the joints of each moment in the world, both
hands' in millimetres, and a third file the cameras. Where things stand in them differs, and so does what brings a point
X of the world to the camera: R·(X − T) in InterHand2.6M, R·X + t in AssemblyHands.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np

from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import Array
from peclr.geometry.joints import NUM_JOINTS
from peclr.untrusted.large_json import each, map_json

DataSetName = Literal["interhand", "assemblyhands"]
Entry = TypeVar("Entry")
Numbered = Iterator[tuple[int, Entry]]

ENOUGH: Final = 10  # known joints; of hands with less AssemblyHands' toolkit makes no sample

_Id = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Side = Annotated[int, msgspec.Meta(gt=0, le=100_000)]  # px
_Both = msgspec.Meta(min_length=2 * NUM_JOINTS, max_length=2 * NUM_JOINTS)  # right hand first, order interhand
_Vector = tuple[float, float, float]
_Matrix = tuple[_Vector, _Vector, _Vector]
_Four = tuple[float, float, float, float]
_View = tuple[_Four, _Four, _Four]  # [R | t]
_Known = float | None  # or NaN, where it is not
_Flag = bool | float | tuple[bool | float]  # 1, true or [1]
_LOOKS: Final = "{images: […], annotations: […]}"


class LabeledImage(msgspec.Struct):
    """An image, as both sets list it."""

    id: _Id
    file_name: str
    width: _Side
    height: _Side
    seq_name: str
    camera: str
    frame_idx: _Number


class Annotation(msgspec.Struct):
    """What both sets say of the hands in an image."""

    image_id: _Id
    joint_valid: Annotated[list[_Flag], _Both]


class Boxes(NamedTuple):
    """Edges (4,) of both hands' boxes, px, None where there is no such hand; and whether they interact."""

    right: Array | None
    left: Array | None
    interact: bool


class Moment(NamedTuple):
    """What the files say of an image beside its list."""

    K: Array  # (3, 3), px
    camera_from_world: Array  # (3, 4), mm
    world: Array  # (42, 3), joints, mm, right hand first, order interhand
    take: str  # names the recording
    person: str  # names whom it shows


class LabelFiles(Protocol):
    """The three files of a split."""

    folder: str  # of a split's images, below `images`
    fewest: int  # joints that are known of a hand, or else it does not count
    images: Numbered[LabeledImage]
    annotations: Numbered[Annotation]

    def boxes(self, annotation: Any) -> Boxes:
        """Place the hands that an annotation is about."""

    def find(self, image: Any) -> Moment:
        """Look up an image; ValueError names what is unknown of it."""


class _World(msgspec.Struct):
    world_coord: Annotated[list[tuple[_Known, _Known, _Known]], _Both]


class _Data(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]


class _CapturedImage(LabeledImage):
    capture: _Number
    subject: _Number


class _Typed(Annotation):
    bbox: _Four  # x, y, width, height, of all hands together
    hand_type: Literal["right", "left", "interacting"]


class _Capture(msgspec.Struct):
    campos: dict[str, _Vector]  # T, mm
    camrot: dict[str, _Matrix]
    focal: dict[str, tuple[float, float]]
    princpt: dict[str, tuple[float, float]]


class InterHandFiles:
    """Those of InterHand2.6M, whose cameras stand still during a capture."""

    folder, fewest = "{}/", 1

    def __init__(self, data: Path, cameras: Path, joints: Path, *, progress: bool) -> None:
        listed, release = map_json(data, _Data, _LOOKS)
        self.images: Numbered[LabeledImage] = each(data, listed.images, _CapturedImage, release, what="image")
        self.annotations: Numbered[Annotation] = each(data, listed.annotations, _Typed, release, progress=progress)
        self._cameras, _ = map_json(cameras, dict[str, _Capture], "{capture: {campos, camrot, focal, princpt}}")
        self._joints, _ = map_json(
            joints, dict[str, dict[str, msgspec.Raw]], "{capture: {frame: {world_coord}}}", nan_is_null=True
        )
        self._paths = cameras, joints

    def boxes(self, annotation: _Typed) -> Boxes:
        """Give both hands the box of all."""
        left, top, width, height = annotation.bbox
        edges = np.array([left, top, left + width, top + height]) - 0.5
        return Boxes(edges, edges, annotation.hand_type == "interacting")

    def find(self, image: _CapturedImage) -> Moment:
        """Look up the capture, its camera and its frame."""
        (path, joints_path), number = self._paths, str(image.capture)
        capture = _find(self._cameras, path, capture=number)
        parts = (getattr(capture, name) for name in ("focal", "princpt", "camrot", "campos"))
        (fx, fy), (x, y), camrot, campos = (_find(part, path, camera=image.camera) for part in parts)
        K, R = np.array([[fx, 0, x], [0, fy, y], [0, 0, 1]]), np.array(camrot)
        world = _world(self._joints, joints_path, capture=number, frame=str(image.frame_idx))
        view = np.column_stack([R, -R @ campos])
        return Moment(K, view, world, f"{image.capture}/{image.seq_name}", str(image.subject))


class _BoxOfEach(msgspec.Struct):
    right: _Four | None  # left, top, right, bottom
    left: _Four | None


class _Boxed(Annotation):
    bbox: _BoxOfEach


class _Take(msgspec.Struct):
    intrinsics: dict[str, _Matrix]
    extrinsics: dict[str, msgspec.Raw]  # by frame


class _Calibration(msgspec.Struct):
    calibration: dict[str, _Take]


class _Joints(msgspec.Struct):
    annotations: dict[str, dict[str, msgspec.Raw]]


class AssemblyHandsFiles:
    """Those of AssemblyHands, whose cameras are worn and move."""

    folder, fewest = "", ENOUGH

    def __init__(self, data: Path, cameras: Path, joints: Path, *, progress: bool) -> None:
        listed, release = map_json(data, _Data, _LOOKS)
        self.images = each(data, listed.images, LabeledImage, release, what="image")
        self.annotations: Numbered[Annotation] = each(data, listed.annotations, _Boxed, release, progress=progress)
        self._cameras, _ = map_json(cameras, _Calibration, "{calibration: {sequence: {intrinsics, extrinsics}}}")
        self._joints, _ = map_json(
            joints, _Joints, "{annotations: {sequence: {frame: {world_coord}}}}", nan_is_null=True
        )
        self._paths = cameras, joints

    def boxes(self, annotation: _Boxed) -> Boxes:
        """Give each hand its own box."""
        right, left = (None if box is None else np.array(box) for box in (annotation.bbox.right, annotation.bbox.left))
        return Boxes(right, left, right is not None and left is not None)

    def find(self, image: LabeledImage) -> Moment:
        """Look up the sequence, its frame and its camera."""
        (path, joints_path), take, frame = self._paths, image.seq_name, f"{image.frame_idx:06d}"
        calibration, camera = _find(self._cameras.calibration, path, sequence=take), f"{image.camera}_mono10bit"
        views = _decode(_find(calibration.extrinsics, path, frame=frame), dict[str, _View], f"{path}: frame {frame}")
        K, view = (np.array(_find(part, path, camera=camera)) for part in (calibration.intrinsics, views))
        world = _world(self._joints.annotations, joints_path, sequence=take, frame=frame)
        named = re.search(r"(\d+)_user_id", take)  # nusar-2021_action_both_9034-c08b_9034_user_id_2021-02-04_161726
        return Moment(K, view, world, take, named[1] if named else take)


def _find(table: Any, path: Path, **keys: str) -> Any:
    """Look up names, one within the other; ValueError says which the file does not have."""
    for kind, key in keys.items():
        if key not in table:
            raise ValueError(f"{path}: {kind} {key}, which an image is of, is not there; it has {some(list(table))}")
        table = table[key]
    return table


def _world(table: Any, path: Path, **keys: str) -> Array:
    place = ", ".join(f"{kind} {key}" for kind, key in keys.items())
    return np.array(_decode(_find(table, path, **keys), _World, f"{path}: {place}").world_coord, np.float64)


def _decode(part: msgspec.Raw, expected: Any, where: object) -> Any:
    try:
        return msgspec.json.decode(part, type=expected)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from None
