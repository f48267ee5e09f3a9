"""The page's own components: HTML with a script, and a stricter image input."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
from gradio.data_classes import ImageData
from gradio_client.utils import is_http_url_like

from ovseg_demo.errors import ImageError
from ovseg_demo.ui.assets import fill_html, read_assets
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.messages import CHANNELS

NOT_UPLOADED = (
    "The file was not uploaded to this server; upload it first, and send the path that the upload returns."
)


class Panel(gr.HTML):
    """HTML with a script. It communicates with the server by its value, channels and triggers.

    Attributes:
        html: the name of an asset, or HTML.
        scripts: names of assets, which run in this order in one scope.
        channels: props that the server sets and the script watches.
        triggers: events that the script raises.

    Args:
        texts: of the page.
        options: of ``gradio.HTML``.
    """

    html: ClassVar[str] = ""
    scripts: ClassVar[tuple[str, ...]] = ()
    channels: ClassVar[tuple[str, ...]] = ()
    triggers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, texts: Texts, **options: Any):
        is_asset = self.html.endswith(".html")
        fixed = {
            "html_template": read_assets(self.html, texts=texts) if is_asset else fill_html(self.html, texts),
            "js_on_load": read_assets(*self.scripts, texts=texts),
            "apply_default_css": False,
        }
        super().__init__(**{channel: {} for channel in self.channels} | options | fixed)

    def __getattr__(self, name: str) -> Any:
        """Return a trigger's listener. Gradio takes every quoted word of a script for an event."""
        if name not in self.triggers:
            raise AttributeError(f'"{type(self).__name__}" has no attribute "{name}"')
        return super().__getattr__(name)


class Header(Panel):
    """Name, promise, the switch between light and dark, and what the whole page reacts to."""

    html = "header.html"
    scripts = ("texts.js", "header.js", "image_files.js", "present.js")
    triggers = ("prefetch",)


class Camera(Panel):
    """The button that starts the camera's live view; the viewer has the rest."""

    html = '<button type="button" class="go-live" title="{{live.start_help}}">{{live.start}}</button>'


class Viewer(Panel):
    """The image, its map, the legend, and their controls."""

    html = "viewer/viewer.html"
    scripts = (
        "texts.js",
        "viewer/labels.js",
        "viewer/panels.js",
        "viewer/notice.js",
        "viewer/least_scores.js",
        "viewer/corrections.js",
        "viewer/zoom.js",
        "viewer/live.js",
        "viewer/state.js",
        "viewer/messages.js",
        "viewer/painting.js",
        "viewer/names_on_map.js",
        "viewer/side.js",
        "viewer/pointing.js",
        "viewer/comparison.js",
        "viewer/tip.js",
        "viewer/tabs.js",
        "viewer/options.js",
        "viewer/files.js",
        "viewer/address.js",
        "viewer/viewer.js",
    )
    channels = CHANNELS
    triggers = (
        "pick",
        "correct",
        "compare",
        "cancel",
        "save",
        "edit",
        "encode",
        "open",
        "obtain",
        "switch",
        "refine",
        "tune",
        "start",
        "frame",
        "still",
    )


class Chips(Panel):
    """The class names as they were read."""

    html = '<div class="chips" role="status" aria-live="polite"></div>'
    scripts = ("texts.js", "chips.js")


class Suggestions(Panel):
    """Class names to add to the prompt."""

    html = '<div class="suggestions" role="group" aria-label="{{suggestions.title}}" hidden></div>'
    scripts = ("texts.js", "suggestions.js")
    triggers = ("offer",)


class Pills(Panel):
    """Texts to choose from."""

    html = '<div class="pills"></div>'
    scripts = ("pills.js",)
    triggers = ("choose",)


class Gallery(Panel):
    """Examples to choose from."""

    html = (
        '<div class="examples"><div class="gallery" role="group" aria-label="{{gallery.title}}"></div>'
        '<button type="button" class="further" aria-label="{{gallery.more}}" hidden>›</button></div>'
    )
    scripts = ("gallery.js",)
    triggers = ("choose",)


class ImageInput(gr.Image):
    """Passes the uploaded file on unchanged; :func:`ovseg_demo.images.load_image` reads it.

    Gradio's own decoding ignores the orientation, cuts 16-bit pixels to white, and reads any format. It
    also fetches an image of any size from an address; here the operator decides whether.

    Args:
        fetches_addresses: whether programs may send a public address rather than a file.
        options: of ``gradio.Image``.
    """

    def __init__(self, *, fetches_addresses: bool = False, **options: Any):
        super().__init__(**options)
        self._fetches_addresses = fetches_addresses

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """Accept a file. Gradio calls this before :meth:`preprocess`."""
        if is_http_url_like(str(url_or_file_path)) and not self._fetches_addresses:
            raise gr.Error("Send the image itself; its address is not fetched here.", print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Return the path of the uploaded file.

        Gradio refuses other files of the server only in records whose ``meta`` calls them files.

        Raises:
            ImageError: there is no file, or it was not uploaded.
        """
        if payload is None:
            return None
        if not payload.path:
            raise ImageError("The image came without a file; upload it.")
        return self.uploaded(payload.path)

    def uploaded(self, path: str) -> str:
        """Return the path of a file that was uploaded.

        Raises:
            ImageError: it was not.
        """
        if "\0" in path or not Path(path).resolve().is_relative_to(Path(self.GRADIO_CACHE).resolve()):
            raise ImageError(NOT_UPLOADED)
        return path

    def get_block_name(self) -> str:
        """Return the name of the browser's component."""
        return "image"

    def get_config(self, cls: type | None = None) -> dict[str, Any]:
        """Return the component's configuration for the browser."""
        return super().get_config(gr.Image)
