"""LightningModules that wire encoder, head, objective and metrics together."""

from peclr.training.finetune import FinetuneModule
from peclr.training.pretrain import PretrainModule

__all__ = ["FinetuneModule", "PretrainModule"]
