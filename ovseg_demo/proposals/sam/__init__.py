"""Segment Anything as a proposal generator: image encoder, prompt decoder and mask filters."""
