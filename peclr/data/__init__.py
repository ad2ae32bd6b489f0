"""From files on disk to batches: readers, views with their matrices, data sets and Lightning data modules."""
