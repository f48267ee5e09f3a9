"""Colours, letters and roundings of Gradio's own components; the rest is in assets/page."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes


def make_theme() -> gr.Theme:
    """Return quiet greys and one accent, so that the colours on the page are those of the map.

    No font is fetched. Every text has a contrast of at least 4.5 to what is behind it.

    The letters come with Gradio, whose 600 of IBM Plex Sans lacks most of the alphabet: 700 stands in for it.
    """
    theme = gr.themes.Base(
        primary_hue=colors.indigo,
        secondary_hue=colors.indigo,
        neutral_hue=colors.zinc,
        radius_size=sizes.radius_lg,
        spacing_size=sizes.spacing_md,
        text_size=sizes.text_md,
        font=[fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    return theme.set(
        body_background_fill="#f6f6f8",
        body_background_fill_dark="#0d0d11",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#16161c",
        background_fill_secondary="#fafafb",
        background_fill_secondary_dark="#1b1b22",
        body_text_color_subdued="#5b5b66",
        body_text_color_subdued_dark="#a3a3b0",
        block_info_text_color="#5b5b66",
        block_info_text_color_dark="#a3a3b0",
        input_placeholder_color="#6b6b77",
        input_placeholder_color_dark="#9090a0",
        block_background_fill="#ffffff",
        block_background_fill_dark="#16161c",
        block_border_color="#e6e6ea",
        block_border_color_dark="#2a2a33",
        block_border_width="1px",
        block_label_text_weight="700",
        block_title_text_weight="700",
        block_title_text_size="*text_sm",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_400",
        block_shadow="none",
        border_color_primary="#dedee4",
        border_color_primary_dark="#33333e",
        input_background_fill="#ffffff",
        input_background_fill_dark="#101015",
        input_border_color="#dedee4",
        input_border_color_dark="#33333e",
        input_shadow="none",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_secondary_background_fill="#ececf0",
        button_secondary_background_fill_hover="#e2e2e8",
        button_secondary_background_fill_dark="#26262f",
        button_secondary_background_fill_hover_dark="#30303b",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )
