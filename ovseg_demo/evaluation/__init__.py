"""How good a model is: benchmarks in their official layout, mIoU, and the figures of Sticker World."""
