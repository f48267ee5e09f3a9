"""Files that hold a segmentation exactly."""
