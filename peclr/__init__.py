"""Self-supervised pre-training and fine-tuning for 3D hand pose: invariant to appearance, equivariant to geometry."""

from typing import TYPE_CHECKING

from peclr.lazy import lazy_names

if TYPE_CHECKING:
    from peclr.checkpoints import export_onnx, export_safetensors, export_torchvision, load_encoder, load_pose_net
    from peclr.data import LabeledHandDataModule, PairedViewDataModule
    from peclr.detection import MediaPipeHands
    from peclr.losses.objectives import AffinePeCLR, Objective, PeCLR, SimCLR
    from peclr.models.encoders import Encoder, ResNetEncoder, TimmEncoder
    from peclr.models.pose_net import PoseNet25D
    from peclr.predict import HandPredictor, Hands
    from peclr.training import FinetuneModule, PretrainModule

__version__ = "0.2.0"
__all__ = [
    "AffinePeCLR",
    "Encoder",
    "FinetuneModule",
    "HandPredictor",
    "Hands",
    "LabeledHandDataModule",
    "MediaPipeHands",
    "Objective",
    "PairedViewDataModule",
    "PeCLR",
    "PoseNet25D",
    "PretrainModule",
    "ResNetEncoder",
    "SimCLR",
    "TimmEncoder",
    "export_onnx",
    "export_safetensors",
    "export_torchvision",
    "load_encoder",
    "load_pose_net",
]

_HOMES = {
    "checkpoints": ("export_onnx", "export_safetensors", "export_torchvision", "load_encoder", "load_pose_net"),
    "data": ("LabeledHandDataModule", "PairedViewDataModule"),
    "detection": ("MediaPipeHands",),
    "losses.objectives": ("AffinePeCLR", "Objective", "PeCLR", "SimCLR"),
    "models.encoders": ("Encoder", "ResNetEncoder", "TimmEncoder"),
    "models.pose_net": ("PoseNet25D",),
    "predict": ("HandPredictor", "Hands"),
    "training": ("FinetuneModule", "PretrainModule"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
