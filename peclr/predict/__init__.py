"""Hands in anybody's images: `HandPredictor.load("runs/finetune")("photo.jpg")`."""

from typing import TYPE_CHECKING

from peclr.lazy import lazy_names

if TYPE_CHECKING:
    from peclr.predict.predictor import HandPredictor, Hands

__all__ = ["HandPredictor", "Hands"]

# `peclr predict --help` does without PyTorch
__getattr__, __dir__ = lazy_names(__name__, {"predictor": ("HandPredictor", "Hands")})
