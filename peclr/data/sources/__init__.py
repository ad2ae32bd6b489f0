"""Where hands come from: readers of data sets, videos and folders of images, and their files on disk."""

from peclr.data.sources.layouts import open_source

__all__ = ["open_source"]
