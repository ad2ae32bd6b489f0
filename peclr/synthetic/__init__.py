"""Rendered hands: procedurally drawn right hands in FreiHAND's layout, with NumPy and OpenCV alone."""
