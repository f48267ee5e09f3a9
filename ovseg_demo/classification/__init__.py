"""Stage 2: regions and class names in one space, and the label map that follows from them."""
