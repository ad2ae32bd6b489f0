"""Find hands in whole images."""

from peclr.detection.detector import DetectedHand, HandDetector
from peclr.detection.mediapipe import MediaPipeHands
from peclr.detection.networks import find_task_file, known_task_file

__all__ = ["DetectedHand", "HandDetector", "MediaPipeHands", "find_task_file", "known_task_file"]
