"""Training of the bundled model for photographs: data sources, Segment Anything and CLIP on a small CNN."""
