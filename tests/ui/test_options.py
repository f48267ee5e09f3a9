import re

import pytest

from ovseg_demo.ui.options import AppOptions, read_options
from ovseg_demo.ui.server import describe_access


def read(*argv, **environment):
    return read_options(argv, environment)


def refuse(capsys, *argv, **environment):
    with pytest.raises(SystemExit) as left:
        read(*argv, **environment)
    assert left.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    return message


def test_without_arguments_the_page_is_for_this_machine_alone():
    options = read()
    assert options == AppOptions(page=options.page)
    assert options.server.host == "127.0.0.1"
    assert options.page.allow_downloads and options.page.downloads_are_local


@pytest.mark.parametrize(
    ("argv", "environment"),
    [
        (("--host", "0.0.0.0"), {}),
        (("--share",), {}),
        ((), {"GRADIO_SERVER_NAME": "0.0.0.0"}),
        (("--no-allow-downloads",), {}),
        (("--root-path", "/demo"), {}),
        (("--auth", "ann:secret"), {}),
        (("--trusted-proxies", "10.0.0.1"), {}),
        ((), {"OVSEG_AUTH": "ann:secret"}),
    ],
)
def test_in_public_visitors_download_nothing_unless_they_may(argv, environment):
    assert not read(*argv, **environment).page.allow_downloads
    allowed = read(*argv[:2], "--allow-downloads", **environment).page
    assert allowed.allow_downloads and not allowed.downloads_are_local


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ((), "Only this machine can open the page: .*; models can be downloaded from this machine alone"),
        (
            ("--host", "0.0.0.0"),
            r"Strangers can open the page through 0\.0\.0\.0 without a login: .* off",
        ),
        (("--share", "--auth", "a:b"), "Strangers can open the page through the internet with a login: "),
        (
            ("--root-path", "/x", "--allow-downloads"),
            "through a proxy .* everybody who opens it can",
        ),
        (("--mcp",), "the server fetches the addresses of images"),
    ],
)
def test_the_line_at_the_start_tells_what_strangers_may_do(argv, line):
    options = read(*argv)
    assert re.search(line, describe_access(options.server, options.page))


def test_all_options():
    options = read(
        *("--model", "ovseg-r101c-vitb16", "--generator", "maskformer", "--device", "cpu"),
        *("--points-per-side", "16", "--regions", "crops"),
        *("--host", "::1", "--port", "8000", "--share", "--auth", "ann:a:b", "--auth", "bob:c"),
        *("--root-path", "/demo", "--preload", "--max-image-size", "1024", "--concurrency", "5", "--mcp"),
    )
    assert (options.model, options.generator, options.preload) == ("ovseg-r101c-vitb16", "maskformer", True)
    assert options.runtime == {"device": "cpu", "points_per_side": 16, "regions": "crops"}
    server = options.server
    assert (server.host, server.port, server.share, server.root_path) == ("::1", 8000, True, "/demo")
    assert (server.auth, server.mcp) == ((("ann", "a:b"), ("bob", "c")), True)
    assert (options.page.max_side, options.page.concurrent_analyses) == (1024, 5)


@pytest.mark.parametrize(("text", "points"), [("auto", "auto"), ("24", 24)])
def test_points_are_a_number_or_automatic(text, points):
    assert read("--points", text).runtime == {"points_per_side": points}
    assert read(OVSEG_POINTS_PER_SIDE=text).runtime == {"points_per_side": points}


@pytest.mark.parametrize("text", ["0", "65", "-1", "many"])
def test_other_points_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        read(f"--points={text}")
    assert f'"{text}" is neither a whole number from 1 to 64 nor "auto"' in capsys.readouterr().err


def test_each_option_is_a_variable_too():
    options = read(
        OVSEG_MODEL="ovseg-r101c-vitb16",
        OVSEG_DEVICE="cpu",
        OVSEG_PORT="8000",
        OVSEG_AUTH="ann:a,bob:c",
        OVSEG_PRELOAD="1",
        OVSEG_SHARE="off",
        OVSEG_MAX_IMAGE_SIZE="1024",
        OVSEG_DETECTRON2="'my config.yaml' model.pkl",
        OVSEG_ROOT_PATH="",
        OVSEG_WEIGHTS_DIR="not an option of the page",
    )
    assert (options.model, options.runtime) == ("ovseg-r101c-vitb16", {"device": "cpu"})
    assert (options.server.port, options.server.auth) == (8000, (("ann", "a"), ("bob", "c")))
    assert (options.preload, options.server.share, options.page.max_side) == (True, False, 1024)
    assert options.weights == {"detectron2": ["my config.yaml", "model.pkl"]}
    assert options.server.root_path is None


def test_the_command_line_wins():
    options = read("--port", "9000", "--no-preload", OVSEG_PORT="8000", OVSEG_PRELOAD="yes")
    assert (options.server.port, options.preload) == (9000, False)


@pytest.mark.parametrize(
    ("argv", "environment", "sentence"),
    [
        (("--port", "0"), {}, '"0" is no whole number from 1 to 65535'),
        (("--max-image-size", "big"), {}, '"big" is no whole number from 64 to 8192'),
        (("--auth", "ann"), {}, "a login is USER:PASSWORD"),
        (("--device", "tpu"), {}, "tpu"),
        (("--poort", "1"), {}, "unrecognized arguments: --poort"),
        ((), {"OVSEG_PRELOAD": "maybe"}, 'OVSEG_PRELOAD is "maybe"; give 1 or 0'),
        ((), {"OVSEG_CONCURRENCY": "none"}, '"none" is no whole number from 1 to 64'),
    ],
)
def test_invalid_options_print_one_sentence(capsys, argv, environment, sentence):
    assert sentence in refuse(capsys, *argv, **environment)


def test_help_lists_environment_variables(capsys):
    with pytest.raises(SystemExit) as left:
        read("--help", OVSEG_HELP="ignored")
    assert left.value.code == 0
    assert "OVSEG_PRELOAD=1" in capsys.readouterr().out
