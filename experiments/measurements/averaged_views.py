"""Measures test-time averaging on validation hands, with networks that `finetune_recipe.py` has kept (`--runs`).

Each view of a hand is turned, enlarged or mirrored exactly; predictions are taken back to the photograph and averaged.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.measurements.finetune_recipe import RESULTS
from peclr.data.datamodules import LabelledHandDataModule
from peclr.data.datasets import LabelledHandDataset
from peclr.data.samples import LabelledBatch
from peclr.data.views.geometric import GeometryRange
from peclr.geometry.affine import apply_affine
from peclr.geometry.joints import WRIST
from peclr.inference.network import TrainedNetwork, load_network
from peclr.metrics.pose import aligned_errors
from peclr.models.encoders import normalise_images


@dataclass(frozen=True)
class Look:
    """One view of a hand: turned by degrees, of a square so much larger than the crop, mirrored or not."""

    degrees: float = 0.0
    scale: float = 1.0
    mirrored: bool = False


SINGLE = Look()
AVERAGES: dict[str, tuple[Look, ...]] = {
    "one view": (SINGLE,),
    "mirrored": (SINGLE, Look(mirrored=True)),
    "turned ±15°": (SINGLE, Look(15), Look(-15)),
    "turned ±30°": (SINGLE, Look(30), Look(-30)),
    "scales 0.85 and 1.15": (SINGLE, Look(scale=0.85), Look(scale=1.15)),
    "turned ±15°, ±30°": (SINGLE, Look(15), Look(-15), Look(30), Look(-30)),
    "turned ±30°, scales 0.85 and 1.15": (SINGLE, Look(30), Look(-30), Look(scale=0.85), Look(scale=1.15)),
}


@torch.inference_mode()
def predict(trained: TrainedNetwork, hands: LabelledHandDataset, look: Look) -> tuple[Tensor, Tensor]:
    """2-D in pixels of the un-augmented view, 3-D in bone lengths, frame of the photograph's camera."""
    turned = LabelledHandDataset(
        hands.source,
        hands.view_size,
        GeometryRange((look.degrees, look.degrees), (0, 0), (look.scale, look.scale)),
        border=hands.border,
    )
    keypoints, joints = [], []
    plain = DataLoader(hands, batch_size=250)
    for batch, straight in zip(DataLoader(turned, batch_size=250), plain, strict=True):
        view_from_view = torch.linalg.inv(straight["image_from_view"].double()) @ batch["image_from_view"].double()
        keypoints_2d, joints_3d = _forward(trained, batch, look.mirrored)
        keypoints.append(apply_affine(view_from_view, keypoints_2d))
        joints.append(joints_3d)
    return torch.cat(keypoints), torch.cat(joints)


def _forward(trained: TrainedNetwork, batch: LabelledBatch, mirrored: bool) -> tuple[Tensor, Tensor]:
    image, K = batch["image"], batch["K"].double()
    mirror = torch.tensor([[-1.0, 0, image.shape[-1] - 1], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    flip = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    if mirrored:
        image, K = image.flip(-1), mirror @ K @ torch.diag(flip)
    output = trained.network(normalise_images(image).contiguous(memory_format=torch.channels_last), K.float())
    keypoints_2d, joints_3d = output["keypoints_2d"].double(), output["joints_3d"].double()
    return (apply_affine(mirror, keypoints_2d), joints_3d * flip) if mirrored else (keypoints_2d, joints_3d)


def errors(keypoints_2d: Tensor, joints_3d: Tensor, truth: dict[str, Tensor]) -> dict[str, float]:
    """As validation logs them."""
    metres = joints_3d * truth["scale_m"][:, None, None]
    relative, true_relative = (x - x[:, WRIST : WRIST + 1] for x in (metres, truth["joints_3d"]))
    return {
        "error_2d_px": float((keypoints_2d - truth["joints_2d"]).norm(dim=-1).mean()),
        "root_relative_epe_mm": 1000 * float((relative - true_relative).norm(dim=-1).mean()),
        "pa_epe_mm": float(aligned_errors(metres, truth["joints_3d"])[1].mean()),
    }


def measure(run: Path, root: Path, seed: int) -> list[dict[str, Any]]:
    """All averages of one network."""
    trained = load_network(run, device="cpu")
    data = LabelledHandDataModule(root, trained.view_size, num_labels=1, seed=seed, border="reflect")
    data.setup("validate")
    hands = data.val_set
    assert hands is not None
    batches = list(DataLoader(hands, batch_size=250))
    truth = {
        "joints_2d": torch.cat([batch["joints_25d"][..., :2] for batch in batches]).double(),
        "joints_3d": torch.cat([batch["joints_3d"] for batch in batches]).double(),
        "scale_m": torch.cat([batch["scale_m"] for batch in batches]).double(),
    }
    seen = {look: predict(trained, hands, look) for look in {look for looks in AVERAGES.values() for look in looks}}
    rows = []
    for name, looks in AVERAGES.items():
        keypoints_2d = torch.stack([seen[look][0] for look in looks]).mean(0)
        joints_3d = torch.stack([seen[look][1] for look in looks]).mean(0)
        scores = {key: round(value, 4) for key, value in errors(keypoints_2d, joints_3d, truth).items()}
        rows.append({"trial": f"average: {name}", "network": run.name, "views": len(looks), "seed": seed, **scores})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and add to the results."""
    parser = argparse.ArgumentParser(prog="python -m experiments.measurements.averaged_views", description=__doc__)
    parser.add_argument("--hands", type=Path, required=True, help="embedded hands")
    parser.add_argument("--run", type=Path, required=True, help="a trial's folder")
    parser.add_argument("--seed", type=int, required=True, help="of the trial: which hands it has not seen")
    parser.add_argument("--results", type=Path, default=RESULTS, help="to add to")
    options = parser.parse_args(arguments)
    rows = measure(options.run, options.hands, options.seed)
    for row in rows:
        print(json.dumps(row))
    results = json.loads(options.results.read_text()) if options.results.exists() else {"rows": []}
    kept = [row for row in results.get("averages", []) if row["network"] != options.run.name]
    results["averages"] = kept + rows
    options.results.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
