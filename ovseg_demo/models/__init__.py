"""Models: the catalogue, weights files, downloads, checkpoints, and loading."""
