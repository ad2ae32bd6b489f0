"""Why backgrounds matter, in one figure: whose features are nearest, in each model's eyes.

`python -m experiments.rendered.neighbors runs/rendered/benchmark-cpu` after the benchmark has run, or some arms of it.
"""

import argparse
import json
import sys
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Subset

from experiments.rendered.figure import Image, strip
from experiments.rendered.jobs import LAST, encode
from experiments.rendered.plan import SCRATCH, Arm, Size, read_suite
from experiments.rendered.run import make_hands
from experiments.rendered.summary import LOOK
from peclr.checkpoints import load_encoder
from peclr.data.datasets import Augmentation, LabeledHandDataset
from peclr.data.samples import LabeledBatch
from peclr.data.sources.freihand import FreiHAND
from peclr.metrics.probe import EncodedHands

GALLERY_HANDS = 1000
SHOWN = 8


def pose_distances(joints: Tensor, others: Tensor) -> Tensor:
    """Mean joint distance, mm, of each of (Q, 21, 3) wrist-relative joints in metres to each of (N, 21, 3): (Q, N)."""
    return torch.cdist(joints.transpose(0, 1), others.transpose(0, 1)).mean(dim=0) * 1000


def nearest(hands: EncodedHands, queries: Tensor, versions: int) -> Tensor:
    """(Q,) indices of the images whose features are closest in cosine to queries (Q,), among those of other hands.

    The `versions` images of a hand follow each other.
    """
    features = normalize(hands.features - hands.features.mean(dim=0), dim=1)
    cosines = features[queries] @ features.T
    same_hand = queries[:, None] // versions == torch.arange(len(features)) // versions
    return cosines.masked_fill(same_hand, -torch.inf).argmax(dim=1)


def gallery(hands: Path, size: Size) -> tuple[DataLoader[LabeledBatch], list[Image]]:
    """The images of the first training hands, those of a hand after each other: batches, and views to show."""
    source = FreiHAND(hands)
    order = [image for hand in range(min(GALLERY_HANDS, source.num_hands)) for image in source.versions_of(hand)]
    still = Augmentation(border="reflect")
    dataset = LabeledHandDataset(source, size.view_px, augmentation=still)
    large = LabeledHandDataset(source, 2 * size.view_px, augmentation=still)
    views = [large[image]["image"].permute(1, 2, 0).numpy() for image in order]
    return DataLoader(Subset(dataset, order), batch_size=250), views  # type: ignore[arg-type]  # items become batches


def compare(out: Path, size: Size, arms: list[Arm]) -> dict[str, float]:
    """Draw `out/neighbors.png`; returns the mean pose distance (mm) of the nearest neighbors by model."""
    loader, views = gallery(make_hands(size), size)
    # the last version of each hand: not the green screen, where there is one
    queries = torch.arange(size.versions - 1, len(views), size.versions)
    shown = queries[:: max(1, len(queries) // SHOWN)][:SHOWN].contiguous()
    rows, captions = {"query": [views[int(query)] for query in shown]}, {}
    means: dict[str, float] = {}
    for arm in arms:
        hands = encode(load_encoder(out / "seed0" / arm.folder / "pretrain" / LAST), loader)
        distances = pose_distances(hands.joints_3d[queries], hands.joints_3d)
        found = nearest(hands, queries, size.versions)
        of_found = distances[torch.arange(len(queries)), found]
        if not means:
            same_hand = queries[:, None] // size.versions == torch.arange(len(views)) // size.versions
            means["any other hand"] = float(distances[~same_hand].mean())
            means["most similar pose"] = float(distances.masked_fill(same_hand, torch.inf).amin(dim=1).mean())
        means[arm.name] = float(of_found.mean())
        positions = torch.searchsorted(queries, shown)
        name = f"{fill(arm.name, 24)}\nmean {means[arm.name]:.0f} mm"
        rows[name] = [views[int(index)] for index in found[positions]]
        captions[name] = [f"{float(of_found[position]):.0f} mm" for position in positions]
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(10, 1.2 * len(rows) + 0.55))
        top = 1 - 0.42 / figure.get_figheight()
        title = "Nearest other hand in each encoder's features, and how far its pose is from the query's"
        strip(figure, title, rows, captions, left=0.19, top=top, bottom=0.03, hspace=0.17)
        figure.savefig(out / "neighbors.png")
    results = {"command": f"python -m experiments.rendered.neighbors {out}", "mean_pose_distance_mm": means}
    (out / "neighbors.json").write_text(json.dumps(results, indent=2) + "\n")
    return means


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and draw."""
    parser = argparse.ArgumentParser(prog="python -m experiments.rendered.neighbors", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of a benchmark that has run")
    options = parser.parse_args(arguments)
    arms = [
        arm
        for arm in read_suite("benchmark").arms
        if arm.name != SCRATCH and (options.out / "seed0" / arm.folder / "pretrain" / LAST).is_file()
    ]
    if not arms:
        print(f"neighbors: {options.out} has no pre-trained weights; run the benchmark", file=sys.stderr)
        return 2
    size = Size(**json.loads((options.out / "plan.json").read_text())["size"])
    for name, mean in compare(options.out, size, arms).items():
        print(f"{name:<36}  {mean:6.1f} mm")
    print(options.out / "neighbors.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
