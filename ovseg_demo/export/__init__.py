"""Files that hold a segmentation: one module for each format, and :mod:`.formats`, which lists them."""
