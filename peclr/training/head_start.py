"""Where the head of fine-tuning starts: its last layer, solved for on the features that pre-training gave.

Linear probing, then fine-tuning (Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution", ICLR 2022), with the probe in closed form.
"""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytorch_lightning as pl
import torch

from peclr.data.loading.loaders import ResumableLoader
from peclr.data.samples import LabeledBatch
from peclr.geometry.joints import NUM_JOINTS
from peclr.metrics.ridge import Ridge
from peclr.models.pose_net import targets_from_joints
from peclr.training.recipe import optimizer_batch, run_length

if TYPE_CHECKING:
    from peclr.training.finetune import FinetuneModule

# against the number of images, whose views count as one; 10 and 1000 did worse with 30, 100 or 1,000 labels
_STRENGTH: Final = 100.0
_VIEWS: Final = 2048  # several views each of 30 or 100 hands give clearly less error than one
_VIEWS_PER_FEATURE: Final = 4


@torch.no_grad()
def solve_head(module: "FinetuneModule", trainer: pl.Trainer) -> None:
    """Set the last layer to a ridge regression of the pose on the encoder's features.

    It sees the views that the first epochs train on, at most as many as the whole run, of hands that are known in 3-D.
    All processes get the same.
    """
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning where there is one
    network, loader = module.pose_net, datamodule.train_dataloader()
    encoder = network.backend_model
    views = max(_VIEWS, _VIEWS_PER_FEATURE * encoder.feature_dim)
    views = min(views, run_length(trainer, 0)[1] * optimizer_batch(trainer))
    ridge = Ridge(encoder.feature_dim, 3 * NUM_JOINTS)
    training, _ = network.training, network.eval()  # BatchNorm by what pre-training has counted
    for batch in _batches(loader, views):
        batch = trainer.strategy.batch_to_device(batch)
        with trainer.precision_plugin.forward_context():
            features = module.features(batch["image"])
        whole = batch["has_3d"] & batch["joint_valid"].all(dim=1)
        target = targets_from_joints(batch["joints_3d"][whole], batch["K"][whole])
        joints_25d = torch.cat((target["keypoints_2d"], target["depth_rel"][..., None]), dim=-1)
        ridge.add(features[whole], joints_25d.flatten(1))
    network.train(training)
    rows = ridge.sum_over_processes().rows
    if not rows:
        raise ValueError(f"solve_head: of {views} views of hands none has all joints in 3-D; set solve_head: false")
    network.start_at(*ridge.solve(_STRENGTH * rows / min(rows, loader.sampler.total)))


def _batches(loader: ResumableLoader, views: int) -> Iterator[LabeledBatch]:
    """Give batches, epoch after epoch, until all processes together have seen so many views."""
    for epoch in count():
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            yield batch
            views -= len(batch["image"]) * loader.sampler.num_replicas
            if views <= 0:
                return
