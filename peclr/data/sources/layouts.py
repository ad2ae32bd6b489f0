"""What data sets look like on disk, and the reader of what is at a path; readers are imported when they are opened."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from peclr.data.sources.listing import IMAGES, VIDEOS, list_files
from peclr.data.sources.remote import MissingError, address_of, below
from peclr.parallel.job import PLAN
from peclr.untrusted.text import printable, read_json

if TYPE_CHECKING:  # imports torch
    from peclr.data.samples import HandSource

DataSet = Literal[
    "freihand", "youtube3d", "ho3d", "dexycb", "hanco", "interhand", "assemblyhands", "rhd",
    "coco_wholebody", "halpe", "onehand10k", "panoptic", "hint",
]  # fmt: skip
Depth = Literal["present", "headers", "decode"]  # how closely to look at images, see `peclr.data.sources.image_faults`

DEPTHS: Final[tuple[Depth, ...]] = get_args(Depth)
MANIFEST: Final = "manifest.json"  # of crops and packed labels
_HELD_BACK: Final = "evaluation_xyz.json"  # joints that authors once kept to themselves
PROVENANCE: Final = "collected.json"  # says that labels are a teacher's, see `peclr.collect`


class Layout(NamedTuple):
    """A data set on disk."""

    reader: str  # MODULE.CLASS, below `peclr.data.sources`; MODULE_labels reads its labels
    splits: tuple[str, ...]  # the one to train on first
    labels: tuple[str, ...]  # files of a split's labels, {} or in capitals {1}, relative to the root; may be patterns
    expected: str  # for messages
    folder: str = ""  # of a split's images, relative to the root, where it is recognized by that, too
    sign: str = ""  # pattern of what a split is recognized by, where labels or folders have names that others have, too
    choice: str = ""  # what the splits are, where none is the one to train on
    packed: str = "{}"  # name of the packed labels of a split, which several may share
    checked: int | None = None  # how many of the splits hold all images; None is all of them
    optional: tuple[str, ...] = ()  # files of labels that need not be there
    slow: str = ""  # what takes so long where labels are not packed
    options: Mapping[str, str] = MappingProxyType({})  # of the reader, which reads others, too


LAYOUTS: Final[dict[DataSet, Layout]] = {
    "freihand": Layout(
        "freihand.FreiHAND",
        ("training", "evaluation"),
        ("{}_K.json", "{}_scale.json", "{}_xyz.json"),
        "training/rgb/00000000.jpg … with training_K.json, training_xyz.json, training_scale.json",
        folder="{}/rgb",
    ),
    "youtube3d": Layout(
        "youtube3d.YouTube3DHands",
        ("train", "val", "test"),
        ("youtube_{}.json",),
        "youtube_train.json, and frames in youtube/VIDEO/video/frames/",
    ),
    "ho3d": Layout(
        "ho3d.HO3D",
        ("train", "evaluation"),
        ("{}.txt",),
        "train.txt, and train/SEQUENCE/rgb and …/meta",
        sign="{}/*/meta",
        optional=("{}_xyz.json",),
    ),
    "dexycb": Layout(
        "dexycb.DexYCB",
        tuple(f"{setup}_{part}" for setup in ("s0", "s1", "s2", "s3") for part in ("train", "val", "test")),
        ("calibration/intrinsics/*.yml", "*-subject-*/*/meta.yml"),
        "20200709-subject-01/SEQUENCE/CAMERA/color_000000.jpg … with calibration/intrinsics",
        sign="calibration/intrinsics",
        choice="s0 divides by sequence, as most papers, s1 by subject, s2 by view, s3 by object",
        packed="all",
        checked=3,
        slow="reading a label file a frame",
    ),
    "hanco": Layout(
        "hanco.HanCo",
        ("train", "test"),
        ("meta.json", "calib/*/00000000.json"),
        "rgb/0000/cam0/00000000.jpg … with meta.json, calib and xyz",
        sign="rgb*/[0-9][0-9][0-9][0-9]/cam0",
        packed="all",
        checked=1,
        slow="reading two files a frame",
    ),
    "interhand": Layout(
        "interhand.InterHand",
        ("train", "val", "test"),
        tuple(f"annotations/{{0}}/InterHand2.6M_{{0}}_{kind}.json" for kind in ("data", "camera", "joint_3d")),
        "images/train, and annotations/train/InterHand2.6M_train_data.json, …_camera.json and …_joint_3d.json",
    ),
    "assemblyhands": Layout(
        "interhand.InterHand",
        ("train", "val"),
        tuple(
            f"annotations/{{0}}/assemblyhands_{{0}}_{kind}_v1-1.json" for kind in ("ego_data", "ego_calib", "joint_3d")
        ),
        "images/ego_images_rectified, and annotations/train/assemblyhands_train_ego_data_v1-1.json, …_ego_calib_… and "
        "…_joint_3d_v1-1.json",
    ),
    "rhd": Layout(
        "rhd.RHD",
        ("training", "evaluation"),
        ("{0}/anno_{0}.pickle",),
        "training/anno_training.pickle, and images in training/color",
    ),
    "coco_wholebody": Layout(
        "coco_hands.CocoHands",
        ("train", "val"),
        ("annotations/coco_wholebody_{}_v1.0.json",),
        "annotations/coco_wholebody_train_v1.0.json, and images in train2017",
        options={"dataset": "coco_wholebody"},
    ),
    "halpe": Layout(
        "coco_hands.CocoHands",
        ("train", "val"),
        ("annotations/halpe_{}_v1.json",),
        "annotations/halpe_train_v1.json, and images in hico_20160224_det/images/train2015, of val in val2017",
        options={"dataset": "halpe"},
    ),
    "onehand10k": Layout(
        "coco_hands.CocoHands",
        ("train", "test"),
        ("annotations/onehand10k_{}.json",),
        "annotations/onehand10k_train.json of mmpose, and images in Train/source",
        options={"dataset": "onehand10k"},
    ),
    "panoptic": Layout(
        "coco_hands.CocoHands",
        ("train", "test"),
        ("hand_labels/manual_{}/*.json",),
        "hand_labels/manual_train/NAME.jpg and NAME.json, and perhaps hand143_panopticdb",
        sign="hand_labels/manual_{}",
        optional=("hand143_panopticdb/hands_v143_14817.json",),
        slow="reading a label file a hand",
        options={"dataset": "panoptic"},
    ),
    "hint": Layout(
        "coco_hands.CocoHands",
        ("train", "val", "test"),
        ("{1}_*_*/*.json",),
        "TRAIN_newdays_img/NAME_r.jpg and NAME_r.json, TRAIN_epick_img, TRAIN_ego4d_img",
        sign="{1}_*_img",
        slow="reading a label file a hand",
        options={"dataset": "hint"},
    ),
}


def open_source(path: str | Path, split: str | None = None, **options: Any) -> "HandSource":
    """Open the reader of what is at a path: folder of a data set or shards, images or videos, or a pattern of them.

    At an address there are shards, or those of several splits in folders of their names.
    Of data sets, None is the split to train on. ValueError if nothing is there that is known, or several sets that have
    the split, or as the reader, which gets the options.
    """
    if (address := address_of(path)) is not None:
        return _open_address(address, split, **options)
    root = Path(path)
    if (dataset := data_set_at(root, split)) is not None:
        layout = LAYOUTS[dataset]
        if split is None and layout.choice:
            splits, reader = ", ".join(layout.splits), layout.reader.rpartition(".")[2]
            words = f"data.sources: {{class_path: {reader}, init_args: {{root: {root}, split: {layout.splits[0]}}}}}"
            raise ValueError(f"{root} is {dataset}, choose a split ({layout.choice}): {splits}; {words}")
        return open_data_set(dataset, root, split or layout.splits[0], **options)
    found = [present for other in LAYOUTS for present in present_splits(other, root)]
    crops = [file.parent for file in (root / MANIFEST, *sorted(root.glob(f"*/{MANIFEST}"))) if file.is_file()]
    for folder in crops:
        trained_on = len(crops) == 1 or folder.name in [layout.splits[0] for layout in LAYOUTS.values()]
        if folder.name == split or (split is None and trained_on):
            return _reader("shards.Shards")(folder, **options)
        found.append(folder.name)
    if (root / PLAN).is_file() and not found:
        raise ValueError(f"{root} was begun, and is not yet whole; give the command that began it again")
    looks = "data sets are " + "; ".join(f"{dataset}: {layout.expected}" for dataset, layout in LAYOUTS.items())
    if found or split is not None:
        there = f"there are {', '.join(found)}" if found else looks
        raise ValueError(f"{root} has no split {split or 'to train on'}; {there}")
    try:
        listing = list_files(path, (*IMAGES, *VIDEOS), "images or videos", warns=False)
    except ValueError as error:
        raise ValueError(f"{error}; {looks}") from None
    has_images = any(file.lower().endswith(IMAGES) for file in listing.files)
    return _reader("image_files.ImageFiles" if has_images else "videos.Videos")(path, **options)


def _open_address(address: str, split: str | None, **options: Any) -> "HandSource":
    """Open shards at an address, where nothing can be listed: those of a split, or else of the one to train on."""
    trained_on = dict.fromkeys(layout.splits[0] for layout in LAYOUTS.values() if not layout.choice)
    folders = [address, *(below(address, name) for name in trained_on)] if split is None else [below(address, split)]
    refusals = list[MissingError]()
    for folder in folders:
        try:
            return _reader("shards.Shards")(folder, **options)
        except MissingError as error:
            refusals.append(error)
    raise refusals[0]


def splits_of(path: str | Path, division: str | None = None) -> tuple[str | None, str]:
    """Find the splits of what is at a path: to train on, None for the usual one, and to test on.

    Of a data set that is divided in several ways, as DexYCB, `division` says which: "s0" to "s3". ValueError where it
    is missing, or not meant.
    """
    root = Path(path)
    here = LAYOUTS[dataset] if (dataset := data_set_at(root)) else None
    divisions = [split.removesuffix("_train") for split in here.splits if "_train" in split] if here else []
    if (division not in divisions) if divisions else (division is not None):
        expected = f"one of {', '.join(divisions)}; {here.choice}" if here and divisions else "null"
        raise ValueError(f"{root}: data.split is {division}; expected {expected}")
    if divisions:
        return f"{division}_train", f"{division}_test"
    if here:
        return None, here.splits[-1]
    last = [layout.splits[-1] for layout in LAYOUTS.values() if not layout.choice]
    return None, next((split for split in last if (root / split / MANIFEST).is_file()), last[0])


def data_set_at(root: Path, split: str | None = None) -> DataSet | None:
    """Which data set, of those that have the split, is at a path; None for none, ValueError for several."""
    having = [dataset for dataset, layout in LAYOUTS.items() if split in (None, *layout.splits)]
    found = [dataset for dataset in having if present_splits(dataset, root)]
    if len(found) > 1:
        raise ValueError(f"{root} holds {' and '.join(found)}; expected one of them: a folder each, links will do")
    return found[0] if found else None


def open_data_set(dataset: DataSet, root: Path, split: str, **options: Any) -> "HandSource":
    """Open the reader of a split of a data set that is known to be there."""
    layout = LAYOUTS[dataset]
    return _reader(layout.reader)(root, split, **layout.options, **options)


def _reader(name: str) -> "Callable[..., HandSource]":
    module, _, reader = name.rpartition(".")
    return getattr(import_module(f"peclr.data.sources.{module}"), reader)  # type: ignore[no-any-return]  # by name


def present_splits(dataset: DataSet, root: Path) -> list[str]:
    """Splits of a data set of which there is something below `root`, whole or not."""
    layout = LAYOUTS[dataset]
    if layout.sign:
        return [split for split in layout.splits if any(root.glob(named(layout.sign, split)))]
    of_others = {name for other in LAYOUTS.values() for name in other.optional}  # HO-3D has an evaluation_xyz.json, too
    signs = [sign for sign in (layout.folder, *layout.labels) if sign and sign not in of_others]
    return [split for split in layout.splits if any((root / named(sign, split)).exists() for sign in signs)]


def splits_to_check(dataset: DataSet, root: Path) -> list[str]:
    """Splits that are there, without those that divide the same images in another way."""
    return present_splits(dataset, root)[: LAYOUTS[dataset].checked]


def label_files(dataset: DataSet, root: Path, split: str) -> list[Path]:
    """Label files of a split; those that authors once held back, joints of evaluation, only where they are."""
    layout = LAYOUTS[dataset]
    names = [named(label, split) for label in layout.labels]
    files = [path for name in names for path in (sorted(root.glob(name), key=str) if "*" in name else [root / name])]
    others = [path for name in layout.optional if (path := root / named(name, split)).is_file()]
    return [path for path in files if path.name != _HELD_BACK or path.is_file()] + others


def named(pattern: str, split: str) -> str:
    """The name that a pattern of a layout has for a split."""
    return pattern.format(split, split.upper())


def check_labels(dataset: DataSet, root: Path, split: str) -> None:
    """Refuse a split that the data set does not have, or of which a label file is missing."""
    layout = LAYOUTS[dataset]
    if split not in layout.splits:
        raise ValueError(f"split {split!r} does not exist; expected one of {layout.splits}")
    for name in (named(label, split) for label in layout.labels):
        # where patterns match anything, `label_files` lists it
        there = any(root.glob(name)) if "*" in name else name == _HELD_BACK or (root / name).is_file()
        if not there:
            looks = layout.expected.replace(layout.splits[0], split)
            raise ValueError(f"{root / name} is missing; {root} is expected to hold {looks}")


def teacher_of(root: Path) -> str | None:
    """Who made the pseudo-labels of a data set; None where labels were measured, as far as is known."""
    path = root / PROVENANCE
    content = read_json(path) if path.is_file() else None
    if not isinstance(content, dict) or content.get("labels") != "pseudo":
        return None
    teacher = content.get("teacher")
    return printable(teacher) if isinstance(teacher, str) else "a teacher"


def prepared_folder(dataset: DataSet, root: Path, split: str) -> Path:
    """The folder in which `peclr prepare` puts the labels of a split, and readers look for them."""
    return root / "prepared" / f"{dataset}_{LAYOUTS[dataset].packed.format(split)}"


def prepare_command(dataset: DataSet, root: Path, split: str) -> str:
    """Command that packs the labels of a split."""
    return f"peclr prepare {dataset} {root} --split {split}"
