"""Find hands in whole images."""

from peclr.detection.detector import DetectedHand, HandDetector
from peclr.detection.mediapipe import MediaPipeHands

__all__ = ["DetectedHand", "HandDetector", "MediaPipeHands"]
