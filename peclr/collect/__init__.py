"""From raw images and videos to a data set of hands with pseudo-labels."""
