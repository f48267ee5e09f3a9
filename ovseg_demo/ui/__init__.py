"""The page: a Gradio app around the Segmenter. It knows NumPy and Pillow, and no torch."""

from ovseg_demo.ui.page import create_demo
from ovseg_demo.ui.settings import PageSettings

__all__ = ["PageSettings", "create_demo"]
