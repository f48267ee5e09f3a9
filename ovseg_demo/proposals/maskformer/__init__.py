"""MaskFormer as a proposal generator: one mask for each query."""
