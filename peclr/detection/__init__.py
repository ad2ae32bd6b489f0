"""Find hands in whole images."""

from peclr.detection.detector import DetectedHand
from peclr.detection.mediapipe import MediaPipeHands
from peclr.detection.networks import find_task_file, known_task_file

__all__ = ["DetectedHand", "MediaPipeHands", "find_task_file", "known_task_file"]
