"""Open the page to the world, or to this machine alone, with defaults that are safe in public."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import gradio as gr
from gradio.tunneling import CURRENT_TUNNELS
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ovseg_demo.errors import MissingDependencyError, ServerError
from ovseg_demo.ui.assets import ASSETS, read_assets
from ovseg_demo.ui.body_limit import CALLS, CALLS_WITH_IMAGES, BodyLimit
from ovseg_demo.ui.call_rate import CallLimits, CallRate
from ovseg_demo.ui.clients import is_loopback
from ovseg_demo.ui.http_errors import EXCEPTION_HANDLERS
from ovseg_demo.ui.login_guard import LoginGuard
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.theme import make_theme
from ovseg_demo.ui.upload_guard import UploadGuard, UploadLimits
from ovseg_demo.ui.visitor_files import VisitorFiles

_THREADS = 128  # above the analyses that wait for their turn, so that edits always find one
_STYLES = (
    "page/base.css",
    "page/masthead.css",
    "page/columns.css",
    "page/prompt.css",
    "page/settings.css",
    "page/narrow.css",
    "viewer/viewer.css",
    "viewer/bar.css",
    "viewer/stage.css",
    "viewer/side.css",
    "viewer/foot.css",
    "viewer/narrow.css",
    "present.css",
)


@dataclass(frozen=True)
class ServerSettings:
    """Where the page is served, and to how many.

    Attributes:
        host: address to listen on; "0.0.0.0" is the whole network.
        port: to listen on; ``None`` takes the first free one from 7860.
        share: make a public address through Gradio's tunnel.
        auth: user names and passwords; ``None`` admits everybody.
        root_path: the path under which a proxy serves the page.
        max_upload: the largest file that may be uploaded.
        uploads: what one address may upload.
        calls: how often one address may call.
        trusted_proxies: addresses or networks, separated by commas, of proxies that name the client in
            ``X-Forwarded-For``. One on this machine is always trusted.
        sessions: visitors that the server remembers.
        mcp: also serve language models over MCP; needs an optional package.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    share: bool = False
    auth: tuple[tuple[str, str], ...] | None = None
    root_path: str | None = None
    max_upload: str = "20mb"
    uploads: UploadLimits = field(default_factory=UploadLimits)
    calls: CallLimits = field(default_factory=CallLimits)
    trusted_proxies: str | None = None
    sessions: int = 1000
    mcp: bool = False

    @property
    def is_private(self) -> bool:
        """Whether nothing suggests that anybody but the person at this machine opens the page."""
        is_public = self.share or self.auth or self.root_path or self.trusted_proxies
        return is_loopback(self.host) and not is_public


def launch(demo: gr.Blocks, settings: ServerSettings | None = None, **options: Any) -> tuple[Any, str, str]:
    """Serve a page that :func:`ovseg_demo.ui.create_demo` made.

    Calls that bypass the queue are refused. Nothing that visitors do is recorded.

    Args:
        demo: the page.
        settings: by default for this machine alone.
        options: of Gradio's ``launch``, which win over the settings, such as ``prevent_thread_lock=True``.

    Returns:
        What Gradio's ``launch`` returns: the app, its local and its public address.

    Raises:
        MissingDependencyError: MCP is wanted, and its package is not there.
        ServerError: the port is taken, or MCP does not start.
    """
    settings = settings or ServerSettings()
    if settings.mcp and find_spec("mcp") is None:
        raise MissingDependencyError(
            'MCP needs a package that is not there; run "pip install -r requirements-mcp.txt", '
            'or start without "--mcp".'
        )
    demo.queue(api_open=False)
    chosen = {
        "server_name": settings.host,
        "server_port": settings.port,
        "share": settings.share,
        "auth": list(settings.auth) if settings.auth else None,
        "root_path": settings.root_path,
        "max_file_size": settings.max_upload,
        "state_session_capacity": settings.sessions,
        "theme": make_theme(),
        "css": read_assets(*_STYLES),
        "head": read_assets("head.html", texts=getattr(demo, "texts", None)),
        "favicon_path": str(ASSETS / "icon.svg"),
        "footer_links": ["api"],
        "show_error": False,
        "enable_monitoring": False,
        "run_history": False,
        "max_threads": _THREADS,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": settings.mcp,
        "allowed_paths": [],
        "app_kwargs": {
            "exception_handlers": dict(EXCEPTION_HANDLERS),
            "middleware": _middleware(settings, getattr(demo, "files", None)),
        },
    }
    try:
        served = demo.launch(**chosen | options)
    except OSError as error:  # of Gradio, whose remedy names its own variables
        where = f"{settings.host}:{settings.port or 'any port from 7860'}"
        raise ServerError(
            f'The page cannot be opened at {where}; choose others with "--host" and "--port".'
        ) from error
    if demo.mcp_error:
        demo.close()
        raise ServerError(f'MCP does not start ({demo.mcp_error}); start without "--mcp".')
    return served


def _middleware(settings: ServerSettings, files: VisitorFiles | None) -> list[Middleware]:
    """Return what stands before Gradio's application, the outermost first."""
    proxies = settings.trusted_proxies
    return [
        *([Middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)] if proxies else []),
        Middleware(LoginGuard),
        Middleware(CallRate, limits=settings.calls),
        Middleware(BodyLimit, most=CALLS_WITH_IMAGES if settings.mcp else CALLS),
        Middleware(UploadGuard, limits=settings.uploads, files=files),
    ]


def describe_access(settings: ServerSettings, page: PageSettings) -> str:
    """Return one line that tells who can open the page, and what they may do.

    Args:
        settings: of the server.
        page: limits and permissions.
    """
    if settings.is_private:
        who = "Only this machine can open the page"
    else:
        where = (
            "the internet" if settings.share else "a proxy" if is_loopback(settings.host) else settings.host
        )
        who = f"Strangers can open the page through {where}"
        who += " with a login" if settings.auth else " without a login"
    uploads = f"upload images (up to {settings.max_upload}), segment them"
    if not page.allow_downloads:
        downloads = "downloads of models are off"
    elif page.downloads_are_local:
        downloads = "models can be downloaded from this machine alone"
    else:
        downloads = "everybody who opens it can download models to this machine"
    addresses = "; the server fetches the addresses of images that they send" if page.fetch_addresses else ""
    return f"{who}: visitors {uploads}; {downloads}{addresses}."


def serve(
    demo: gr.Blocks,
    settings: ServerSettings,
    page: PageSettings | None = None,
    once_open: Callable[[], None] | None = None,
) -> None:
    """Print the address of a page, and who can open it, and serve it until the process is stopped.

    Args:
        demo: the page.
        settings: of the server.
        page: limits and permissions that the page was made with.
        once_open: called in a thread of its own when the page is open.

    Raises:
        OvsegError: as :func:`launch`.
    """
    _, local_address, public_address = launch(demo, settings, prevent_thread_lock=True, quiet=True)
    for address in filter(None, (local_address, public_address)):
        print(f"The page is open at {address}", flush=True)
    print(describe_access(settings, page or PageSettings()), flush=True)
    if once_open:
        threading.Thread(target=once_open, daemon=True).start()  # it must not delay the end
    try:
        _wait_for_signal()
    finally:
        for tunnel in CURRENT_TUNNELS:
            tunnel.kill()
        demo.close(verbose=False)


def _wait_for_signal() -> None:
    """Return when the process is asked to stop: by Ctrl+C, or as service managers and Docker do.

    The second request stops it at once.
    """
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        for one, handler in before.items():
            signal.signal(one, handler)
        stop.set()

    for number in before:
        signal.signal(number, ask)
    while not stop.wait(0.5):
        pass
