"""Data sets: finding images, segmenting them one by one, resuming, and one COCO file for all of them."""
