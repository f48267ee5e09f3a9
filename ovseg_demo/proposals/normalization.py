"""Mean and standard deviation of ImageNet's pixels, as MaskFormer and Segment Anything expect them."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Mean of each channel, RGB, of values from 0 to 255."""

PIXEL_STD = (58.395, 57.12, 57.375)
"""Standard deviation of each channel, RGB, of values from 0 to 255."""
