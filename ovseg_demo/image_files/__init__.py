"""Decoding of image files: what :mod:`ovseg_demo.images` needs to know of formats, memory and colours."""
