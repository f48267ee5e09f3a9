"""Stage 2 by pooling: one forward of the whole image, whose features are averaged under each mask."""
