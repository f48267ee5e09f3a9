"""Quality of a model: benchmarks in their official layout, mIoU, and the figures of Sticker World."""
