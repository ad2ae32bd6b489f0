"""Every reader of files that are not ours: a name, how whole files are made, how they are read. One line each."""

import json
import shutil
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from peclr.checkpoints import load_encoder, load_pose_net
from peclr.collect.cameras import read_cameras
from peclr.collect.groups import groups_of
from peclr.collect.layouts.coco import read_corrections
from peclr.data.loading.pairs_file import MinedPairs, read_pairs, write_pairs
from peclr.data.prepare.command import prepare_main
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.merging import merge
from peclr.data.prepare.sharding import shard_source
from peclr.data.samples import HandSource
from peclr.data.sources.box_files import read_boxes
from peclr.data.sources.coco_hands import CocoHands
from peclr.data.sources.coco_hands_labels import DataSet2D
from peclr.data.sources.coco_keypoints import CocoKeypoints
from peclr.data.sources.dexycb import DexYCB
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.hanco import HanCo
from peclr.data.sources.ho3d import HO3D
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.inputs import Input
from peclr.data.sources.interhand import InterHand
from peclr.data.sources.mano import load_joint_regressor
from peclr.data.sources.rhd import RHD
from peclr.data.sources.shards import PreparedCrops, Shards
from peclr.data.sources.videos import Videos
from peclr.data.sources.youtube3d import YouTube3DHands
from peclr.evaluate.predictions import Predictions, read_labels, read_predictions, write_predictions
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D
from peclr.models.timm_encoder import TimmEncoder
from peclr.parallel import Part
from peclr.predict.annotations import annotate
from peclr.report.discovery import find_all
from peclr.runs.about import KEY, About, encoder_facts
from peclr.runs.durable import read_checkpoint, write_checkpoint
from peclr.sweeps.plan import read_sweep
from peclr.synthetic.writer import write_freihand_layout
from peclr.untrusted.archives import read_archived
from peclr.weights.catalog import CACHE_VARIABLE, catalog
from peclr.weights.store import get, read_record
from tests.data.sources.hanco_set import write_hanco
from tests.data.sources.labeled_sets import (
    few_sequences,
    write_assemblyhands,
    write_dexycb,
    write_ho3d,
    write_interhand,
    write_rhd,
)
from tests.data.sources.old_crops import write_old_crops
from tests.data.sources.sets_2d import write_2d
from tests.fuzz.engine import Reader

K = [[300.0, 0.0, 40.0], [0.0, 300.0, 30.0], [0.0, 0.0, 1.0]]


def _image(folder: Path, name: str, parameters: Iterable[int] = ()) -> Path:
    coarse = np.random.default_rng(len(name)).integers(0, 256, (6, 8, 3), np.uint8)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(coarse, (80, 60)), list(parameters))
    return path


def _images(folder: Path) -> list[Path]:
    names = ("a.jpg", "b.png", "c.webp", "d.bmp", "e.jpeg", "f.tif")
    written = [_image(folder, f"images/{name}") for name in names]
    for name in ("g.avif", "h.heic"):  # OpenCV writes neither
        written.append(written[0].with_name(name))
        Image.open(written[0]).save(written[-1])
    return written


def _samples(source: HandSource) -> list[Any]:
    source.check_images()
    return [source[index] for index in range(min(len(source), 8))]


def _freihand(folder: Path) -> list[Path]:
    root = folder / "hands"
    write_freihand_layout(root, train=3, evaluation=2, seed=0, size=48, versions=2, workers=1, progress=False)
    return sorted(root.glob("*.json"))


def _packed(dataset: str, root: Path) -> list[Path]:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        assert prepare_main([dataset, str(root)]) == 0
    return sorted(root.glob("prepared/**/*"))


def _packed_freihand(folder: Path) -> list[Path]:
    _freihand(folder)
    return _packed("freihand", folder / "hands")


def _crops(folder: Path) -> list[Path]:
    _freihand(folder)
    write_old_crops(FreiHAND(folder / "hands"), folder / "crops" / "training", Cutting(size=24))
    return sorted(path for path in (folder / "crops").rglob("*") if path.is_file())


def _shards(folder: Path) -> list[Path]:
    _freihand(folder)
    shard_source(FreiHAND(folder / "hands"), folder / "shards", Cutting(size=24), per_task=4)
    return sorted(path for path in (folder / "shards").rglob("*") if path.is_file())


def _indexes(folder: Path) -> list[Path]:
    _freihand(folder)
    part = Part(1, 1)
    shard_source(FreiHAND(folder / "hands"), folder / "shards", Cutting(size=24), per_task=4, part=part)
    return sorted(path for path in (folder / "shards").rglob("*") if path.is_file())


def _read_indexes(folder: Path) -> list[Any]:
    with TemporaryDirectory() as copied:  # merging removes them
        shutil.copytree(folder / "shards", copied, dirs_exist_ok=True)
        merge(Path(copied), 2, name="hands", labels="true", settings={})
        return _samples(Shards(copied))


def _youtube(folder: Path) -> list[Path]:
    root, rng = folder / "youtube", np.random.default_rng(1)
    frames = [f"youtube/A/video/frames/{number}.png" for number in range(2)]
    for name in frames:
        _image(root, name)
    images = [{"name": name, "width": 80, "height": 60, "id": number} for number, name in enumerate(frames)]
    vertices = [rng.uniform(-12, 12, (778, 3)) + np.array([40, 30, 0]) for _ in images]
    hands = [
        {"vertices": np.round(v, 3).tolist(), "is_left": number, "image_id": number, "id": 100 + number}
        for number, v in enumerate(vertices)
    ]
    labels = root / "youtube_train.json"
    labels.write_text(json.dumps({"images": images, "annotations": hands}))
    return [labels]


def _packed_youtube(folder: Path) -> list[Path]:
    _youtube(folder)
    return _packed("youtube3d", folder / "youtube")


def _dexycb(folder: Path) -> list[Path]:
    write_dexycb(folder / "dexycb", subjects=1)
    labels = sorted((folder / "dexycb").rglob("*.npz"))
    return [*labels[:3], *sorted((folder / "dexycb").rglob("*.yml"))[:3]]


def _hanco(folder: Path) -> list[Path]:
    write_hanco(root := folder / "hanco")
    for unneeded in ("mask_hand", "rgb_homo", "rgb_merged", "rgb/0000", "rgb/0004"):
        shutil.rmtree(root / unneeded)
    return [root / "meta.json", *(root / kind / "0002" / "00000001.json" for kind in ("calib", "xyz"))]


def _read_dexycb(folder: Path) -> list[Any]:
    with few_sequences():
        return _samples(DexYCB(folder / "dexycb", "s0_train"))


def _ho3d(folder: Path) -> list[Path]:
    write_ho3d(folder / "ho3d", train=3, evaluation=1)
    return sorted([*(folder / "ho3d").rglob("*.pkl"), *(folder / "ho3d").glob("*.txt")])


def _hands_2d(folder: Path) -> list[Path]:
    for dataset in get_args(DataSet2D):
        write_2d(folder / dataset, dataset, images=1)
    return sorted(folder.rglob("*.json"))


def _read_hands_2d(folder: Path) -> list[Any]:
    return [_samples(CocoHands(folder / dataset, "train", dataset)) for dataset in get_args(DataSet2D)]


def _interhand(folder: Path) -> list[Path]:
    return write_interhand(folder / "hands").files()


def _assemblyhands(folder: Path) -> list[Path]:
    return write_assemblyhands(folder / "hands").files()


def _packed_2d(folder: Path) -> list[Path]:
    write_2d(folder / "hint", "hint", images=1)
    return _packed("hint", folder / "hint")


def _rhd(folder: Path) -> list[Path]:
    write_rhd(folder / "rhd", frames=2)
    return sorted((folder / "rhd").rglob("*.pickle"))


def _box_files(folder: Path) -> list[Path]:
    rows = [{"file": f"{name}.jpg", "left": 1, "top": 2.5, "right": 33, "bottom": 44, "hand": "left"} for name in "ab"]
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "bbox": [1, 2, 30, 40], "iscrowd": 0}, {"image_id": 2, "bbox": [1, 2, 30, 40]}],
    }
    files = [folder / "boxes.csv", folder / "boxes.json", folder / "coco.json"]
    files[0].write_text("file,left,top,right,bottom,hand\n" + "".join(f"{n}.jpg,1,2,33,44,right\n" for n in "abc"))
    files[1].write_text(json.dumps(rows))
    files[2].write_text(json.dumps(coco))
    (folder / "predicted").mkdir()
    hands = [{"box": [1, 2, 33, 44], "hand": side, "keypoints_2d": [[1, 2]]} for side in ("left", "right")]
    said = {"schema": "peclr.prediction/1", "source": "in/a.jpg", "file": "a.jpg", "frame": None, "hands": hands}
    files += [folder / "predicted" / "a.json", folder / "predicted" / "b.jsonl"]
    files[3].write_text(json.dumps(said))
    files[4].write_text("".join(json.dumps(said | {"file": "b.mp4", "frame": number}) + "\n" for number in range(3)))
    return files


def _boxes(folder: Path) -> Any:
    names = ("boxes.csv", "boxes.json", "coco.json", "predicted")
    return [{file: [box.edges for box in boxes] for file, boxes in read_boxes(folder / name).items()} for name in names]


def _cameras(folder: Path) -> list[Path]:
    contents = {
        "K.json": K,
        "object.json": {"K": K},
        "by_name.json": {"a.jpg": K, "b.jpg": K},
        "evaluation_K.json": [K, K],
    }
    scales = {"scale.json": 0.03, "scales.json": {"a.jpg": 0.03, "b.jpg": 0.028}, "evaluation_scale.json": [0.03, 0.03]}
    for name, content in (contents | scales).items():
        (folder / name).write_text(json.dumps(content))
    return sorted(folder.iterdir())


def _read_cameras(folder: Path) -> Any:
    files = sorted(folder.iterdir())
    return [annotate(scale_m=path).scales if "scale" in path.name else annotate(K=path).cameras for path in files]


def _predictions(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    xyz, verts = rng.normal(0, 0.1, (3, 21, 3)), rng.normal(0, 0.1, (3, 778, 3))
    files = [*write_predictions(folder, Predictions(xyz, verts)), folder / "evaluation_xyz.json"]
    files[2].write_text(json.dumps(xyz.tolist()))
    return files


def _read_predictions(folder: Path) -> Any:
    read = [read_predictions(folder / name) for name in ("pred.json", "pred.zip")]
    return [read[0].xyz, read[1].verts, read_labels(folder / "evaluation_xyz.json", 21)]


def _pairs(folder: Path) -> list[Path]:
    neighbors = np.array([[1, 2], [0, 2], [0, 1]], np.int32)
    write_pairs(folder / "pairs.npz", [MinedPairs("freihand", "f00", neighbors, np.ones((3, 2), np.float32))], {})
    return [folder / "pairs.npz"]


def _pose_net() -> PoseNet25D:
    torch.manual_seed(0)
    return PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(32)


def _checkpoints(folder: Path) -> list[Path]:
    net = _pose_net()
    state = {f"pose_net.{key}": value for key, value in net.state_dict().items()}
    write_checkpoint({"state_dict": state, "epoch": 1}, folder / "last.ckpt")
    return [folder / "last.ckpt"]


def _timm(folder: Path) -> list[Path]:
    from safetensors.torch import save_file

    encoder = TimmEncoder("test_vit", view_size=32)
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    about = About(kind="pretrain", view_size=32, **encoder_facts(encoder)).as_dict()
    write_checkpoint({"state_dict": state, KEY: about}, folder / "last.ckpt")
    save_file(state, folder / "vit.safetensors")
    return sorted(folder.iterdir())


def _read_timm(folder: Path) -> Any:
    given = TimmEncoder("test_vit", str(folder / "vit.safetensors"), view_size=32)
    return load_encoder(folder / "last.ckpt").state_dict(), given.state_dict()


def _weights(folder: Path) -> list[Path]:
    from safetensors.torch import save_file

    save_file(dict(_pose_net().state_dict()), folder / "net.safetensors")
    return [folder / "net.safetensors"]


def _regressor(folder: Path) -> list[Path]:
    regressor = np.full((16, 778), 1 / 778)
    np.save(folder / "J.npy", regressor)
    np.savez(folder / "J.npz", J_regressor=regressor)
    return [folder / "J.npy", folder / "J.npz"]


def _sweep(folder: Path) -> list[Path]:
    source = sorted((Path(__file__).parents[2] / "experiments" / "sweeps").glob("*.yaml"))[0]
    (folder / "sweep.yaml").write_bytes(source.read_bytes())
    return [folder / "sweep.yaml"]


def _results(folder: Path) -> list[Path]:
    run = folder / "runs" / "a"
    run.mkdir(parents=True)
    rows = [
        {"protocol": "frozen", "weights": "PeCLR", "labels": 100, "seed": s, "pa_epe_mm": 20.5 + s} for s in range(3)
    ]
    (folder / "runs" / "table.json").write_text(json.dumps({"rows": rows}))
    (run / "config.yaml").write_text("seed_everything: 0\nmodel: {class_path: peclr.training.FinetuneModule}\n")
    (run / "results.json").write_text(json.dumps({"stage": "fit", "metrics": {"val/pa_epe_mm": 20.0}}))
    (run / "metrics.csv").write_text("epoch,step,train/loss_step\n0,9,2.5\n0,19,2.25\n1,29,2.0\n")
    (run / "evaluation").mkdir()
    scores = {"hands": 8, "data": "hands", "crop": "image", "metrics": {"epe_mm": 90.5, "auc": 0.25}}
    scores |= {"per_joint": {"wrist": {"epe_mm": 91.0}}, "pck": {"thresholds_mm": [0.0, 50.0], "xyz": [0.0, 0.5]}}
    (run / "evaluation" / "scores.json").write_text(json.dumps(scores))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _video(folder: Path) -> list[Path]:
    import av

    path = folder / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
        for number in range(8):
            image = np.full((64, 80, 3), 30 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return [path]


def _archives(folder: Path) -> list[Path]:
    (folder / "net.pth").write_bytes(bytes(range(256)) * 20)
    for form in ("gztar", "zip"):
        shutil.make_archive(str(folder / "archive"), form, folder, "net.pth")
    (folder / "net.pth").unlink()
    return sorted(folder.iterdir())


def _cache(folder: Path) -> list[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        torch.save({"state_dict": {}}, folder / "net.pth")
        get(catalog()["simhand-rn50"], folder / "net.pth")
    return [folder / "simhand-rn50" / "record.json"]


def _read_cache(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        return repr(read_record(catalog()["simhand-rn50"]))


def _collected(folder: Path) -> list[Path]:
    document = CocoKeypoints({})
    for number in range(3):
        document.add_hand(document.add_image(f"{number:08d}.jpg", 80, 60), "right", np.full((21, 2), 9.5 * number), 0.5)
    (folder / "coco.json").write_bytes(document.to_bytes())
    (folder / "groups.csv").write_text("file,group,class\na.jpg,ann,1\nb.png,bob,2\n")
    (folder / "K.json").write_text(json.dumps({"a.jpg": K, "b.png": K}))
    return sorted(folder.glob("*.*"))


def _read_collected(folder: Path) -> Any:
    inputs = [Input(name, name, "image") for name in ("a.jpg", "b.png")]
    groups = groups_of(inputs, folder / "groups.csv")
    cameras = {name: matrix.tolist() for name, matrix in read_cameras(str(folder / "K.json"), inputs).items()}
    joints = {number: points.tolist() for number, points in read_corrections(folder / "coco.json").items()}
    return groups, cameras, joints


READERS = {
    "FreiHAND": Reader(_freihand, lambda folder: _samples(FreiHAND(folder / "hands"))),
    "prepared labels": Reader(_packed_freihand, lambda folder: _samples(FreiHAND(folder / "hands"))),
    "shards": Reader(_shards, lambda folder: _samples(Shards(folder / "shards"))),
    "indexes of shards": Reader(_indexes, _read_indexes),
    "crops": Reader(_crops, lambda folder: _samples(PreparedCrops(folder / "crops", "training"))),
    "YouTube3DHands": Reader(_youtube, lambda folder: _samples(YouTube3DHands(folder / "youtube", "train"))),
    "packed YouTube3D": Reader(_packed_youtube, lambda folder: _samples(YouTube3DHands(folder / "youtube", "train"))),
    "HO3D": Reader(_ho3d, lambda folder: [_samples(HO3D(folder / "ho3d", split)) for split in ("train", "evaluation")]),
    "2-D hands": Reader(_hands_2d, _read_hands_2d),
    "packed 2-D hands": Reader(_packed_2d, lambda folder: _samples(CocoHands(folder / "hint", "train", "hint"))),
    "RHD": Reader(_rhd, lambda folder: _samples(RHD(folder / "rhd"))),
    "DexYCB": Reader(_dexycb, _read_dexycb, protected=True),
    "InterHand2.6M": Reader(_interhand, lambda folder: _samples(InterHand(folder / "hands"))),
    "AssemblyHands": Reader(_assemblyhands, lambda folder: _samples(InterHand(folder / "hands"))),
    "HanCo": Reader(_hanco, lambda folder: _samples(HanCo(folder / "hanco", frames="all"))),
    "images": Reader(_images, lambda folder: _samples(ImageFiles(folder / "images"))),
    "videos": Reader(_video, lambda folder: _samples(Videos(folder))),
    "box files": Reader(_box_files, _boxes),
    "collecting": Reader(_collected, _read_collected),
    "cameras, scales": Reader(_cameras, _read_cameras),
    "predictions": Reader(_predictions, _read_predictions),
    "pairs": Reader(_pairs, lambda folder: read_pairs(folder / "pairs.npz"), protected=True),
    "checkpoint": Reader(_checkpoints, lambda folder: load_pose_net(folder / "last.ckpt").state_dict(), protected=True),
    "encoder": Reader(_checkpoints, lambda folder: load_encoder(folder / "last.ckpt").state_dict(), protected=True),
    "resuming": Reader(_checkpoints, lambda folder: read_checkpoint(folder / "last.ckpt"), protected=True),
    "safetensors": Reader(_weights, lambda folder: load_pose_net(folder / "net.safetensors").state_dict()),
    "regressor": Reader(_regressor, lambda folder: [load_joint_regressor(folder / f"J.{s}") for s in ("npy", "npz")]),
    "archives": Reader(
        _archives,
        lambda folder: [b"".join(read_archived(path, "net.pth", 1)) for path in sorted(folder.iterdir())],
        protected=True,
    ),
    "weights' records": Reader(_cache, _read_cache),
    "sweep": Reader(_sweep, lambda folder: repr(read_sweep(folder / "sweep.yaml"))),
    "report": Reader(_results, lambda folder: repr(find_all([folder / "runs"]))),
}
if find_spec("timm"):
    READERS["encoders of timm"] = Reader(_timm, _read_timm)
