"""Hands in anybody's images: `HandPredictor.load("runs/finetune")("photo.jpg")`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peclr.predict.predictor import HandPredictor

__all__ = ["HandPredictor"]


def __getattr__(name: str) -> object:
    """Import the predictor, and PyTorch with it, when it is asked for: `peclr predict --help` does without."""
    if name in __all__:
        from peclr.predict.predictor import HandPredictor

        return HandPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
