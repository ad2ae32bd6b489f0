"""Which hands when: pairs, the order of an epoch, batches, and images that cannot be read."""
