"""Where hands come from: readers of data sets, videos and folders of images, and their files on disk."""
