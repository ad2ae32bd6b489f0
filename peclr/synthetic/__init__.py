"""Rendered hands: procedurally drawn right hands in FreiHAND's layout, with NumPy and OpenCV alone."""

from peclr.synthetic.writer import SynthSummary, is_complete, write_freihand_layout

__all__ = ["SynthSummary", "is_complete", "write_freihand_layout"]
