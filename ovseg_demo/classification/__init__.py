"""Stage 2: embed regions and class names in one space, and compute the label map from the embeddings."""
