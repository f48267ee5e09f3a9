"""The updates that a controller sends to the page, decoded as the page decodes them."""

import base64
import zlib

import numpy as np

from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.session import Session

REQUEST = Request(prompt="red / crimson, green, skyblue, yellow, unicorn")
"""Of the landscape; it has no unicorn."""


def collect(updates) -> dict:
    """The newest message of each channel."""
    newest = {}
    for update in updates:
        newest |= update
    return newest


def clears(updates: dict, *channels: str) -> bool:
    """Whether this does nothing but clear channels: messages with a number alone."""
    return set(updates) == set(channels) and all(set(message) == {"number"} for message in updates.values())


def labels(message: dict) -> np.ndarray:
    """What the browser unpacks: label + 1 of each pixel."""
    packed = message["labels"]
    values = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), f"<u{packed['bits'] // 8}")
    return values.reshape(packed["height"], packed["width"])


def found(message: dict) -> list[str]:
    return [entry["name"] for entry in message["classes"] if entry["isFound"]]


def analyze(
    controller: PageController, image: str, request: Request = REQUEST, session: Session | None = None
) -> tuple[Session, dict]:
    """The session after an analysis, and the newest messages; by default of a new visitor."""
    session = session or Session()
    return session, collect(controller.analyze(session, image, request))
