"""Downloads from a misbehaving server: whole and verified in the end, or nothing that looks finished."""

import hashlib
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovseg_demo.errors import Cancelled, DownloadError
from ovseg_demo.models import transfers
from ovseg_demo.models.catalogue import ModelSpec
from ovseg_demo.models.checkpoints import CheckpointKind
from ovseg_demo.models.downloads import download, download_model
from ovseg_demo.models.weights_files import (
    BundledSource,
    GoogleDriveSource,
    HuggingFaceSource,
    UrlSource,
    WeightsFile,
)
from tests.file_server import Resource, serve
from tests.paths import ROOT

NAME = "sam_tiny.pth"
gdown_module = importlib.import_module("gdown.download")  # "gdown.download" names the function, too


def weights(seed: int = 0) -> bytes:
    """A file that passes for a Segment Anything model: about 100 kB."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "image_encoder.weight": torch.randn(100, 256, generator=generator),
        "prompt_encoder.weight": torch.zeros(1),
        "mask_decoder.weight": torch.zeros(1),
    }
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


CONTENT = weights()
OTHER_CONTENT = weights(seed=1)
HTML = b"<!DOCTYPE html><html><body>Quota exceeded</body></html>"


def weights_file(*sources, **facts) -> WeightsFile:
    defaults = {"size": len(CONTENT), "licence": "Apache-2.0"}
    return WeightsFile(NAME, CheckpointKind.SAM, sources, **(defaults | facts))


def exact(*sources) -> WeightsFile:
    return weights_file(*sources, size_is_exact=True, sha256=hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        assert self.family != socket.AF_INET or address[0] == "127.0.0.1", f"a request to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(transfers, "_BUSY_PAUSE", 0)
    monkeypatch.setattr(gdown_module, "_wait_or_cancel", lambda **_: None)
    monkeypatch.setattr(gdown_module, "CHUNK_SIZE", 500)


@pytest.fixture
def server():
    with serve({}) as files:
        yield files


def entry(server, path: str = "/weights.pth", content: bytes = CONTENT, **behaviour) -> UrlSource:
    server.resources[path] = Resource(content, **behaviour)
    return UrlSource(server.url + path)


def assert_finished(folder: Path, content: bytes = CONTENT) -> None:
    assert (folder / NAME).read_bytes() == content
    assert {path.name for path in folder.iterdir()} - {f".{NAME}.lock"} == {NAME, f"{NAME}.json"}
    assert json.loads((folder / f"{NAME}.json").read_text())["sha256"] == hashlib.sha256(content).hexdigest()


def assert_fails(file: WeightsFile, folder: Path, *parts: str) -> str:
    with pytest.raises(DownloadError) as caught:
        download(file, folder)
    assert not (folder / NAME).exists()
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    return str(caught.value)


# ---- the good case


def test_download_is_verified_recorded_and_reported(server, tmp_path):
    reports = []
    path = download(exact(entry(server)), tmp_path / "new" / "folder", lambda *report: reports.append(report))
    assert path == tmp_path / "new" / "folder" / NAME
    assert_finished(path.parent)
    assert {stage for stage, _, _ in reports} == {f"Downloading {NAME}", f"Checking {NAME}"}
    assert all(0 <= done <= total == len(CONTENT) for _, done, total in reports)
    assert reports[-1][1] == len(CONTENT)


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    file = exact(entry(server))
    download(file, tmp_path)
    assert download(file, tmp_path) == tmp_path / NAME
    assert len(server.requests) == 1


def test_redirects_are_followed(server, tmp_path):
    entry(server, "/stored")
    source = entry(server, "/shared", redirect=server.url + "/stored")
    download(exact(source), tmp_path)
    assert_finished(tmp_path)


def test_the_chosen_weights_folder_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OVSEG_WEIGHTS_DIR", str(tmp_path / "chosen"))
    assert download(exact(entry(server))) == tmp_path / "chosen" / NAME


def test_a_model_is_all_its_required_parts(server, tmp_path):
    sam = exact(entry(server))
    clip = WeightsFile("clip.pt", CheckpointKind.CLIP, (UrlSource(server.url + "/never"),), 1, "MIT")
    spec = ModelSpec("m", "M", "", {"sam": sam, "unadapted": clip})
    assert download_model(spec, tmp_path) == {"sam": tmp_path / NAME}
    with pytest.raises(DownloadError, match=r"clip\.pt"):
        download_model(spec, tmp_path, roles=("unadapted",))


TOKENIZER = b'{"model": {"type": "BPE"}}'


def with_tokenizer(server, content: bytes) -> WeightsFile:
    source = entry(server, "/tokenizer.json", content)
    tokenizer = WeightsFile("sam_tiny-tokenizer.json", CheckpointKind.TOKENIZER, (source,), 0, "MIT")
    return weights_file(entry(server), tokenizer=tokenizer)


def test_a_tokenizer_comes_with_its_weights(server, tmp_path):
    file = with_tokenizer(server, TOKENIZER)
    assert download(file, tmp_path) == tmp_path / NAME
    assert (tmp_path / "sam_tiny-tokenizer.json").read_bytes() == TOKENIZER and file.present(tmp_path)


@pytest.mark.parametrize("content", [HTML, b"[]", b"{}"])
def test_what_is_no_tokenizer_is_not_kept(server, tmp_path, content):
    assert_fails(with_tokenizer(server, content), tmp_path, "is not a tokenizer")
    assert not (tmp_path / "sam_tiny-tokenizer.json").exists()


# ---- going on where it stopped


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, len(CONTENT)), max_size=4), st.booleans(), st.sampled_from(['"1"', 'W/"1"', ""])
)
def test_however_often_the_connection_breaks_the_bytes_are_right(
    server, tmp_path_factory, cuts, honours_ranges, etag
):
    folder = tmp_path_factory.mktemp("cuts")
    source = entry(server, cuts=list(cuts), ranges=honours_ranges, etag=etag)
    try:
        download(exact(source), folder)
    except DownloadError:
        assert not (folder / NAME).exists()
        download(exact(source), folder)
    assert_finished(folder)


def test_a_broken_connection_goes_on_from_there(server, tmp_path):
    download(exact(entry(server, cuts=[1000, 2000])), tmp_path)
    assert_finished(tmp_path)
    assert server.ranges() == ["", "bytes=1000-", "bytes=3000-"]


def unfinished_bytes(folder: Path) -> int:
    return transfers.unfinished_bytes(folder / f"{NAME}.part.d")


def stop_half_way(stage: str, done: int, total: int) -> None:
    if done > total // 2:
        raise Cancelled("enough")


def test_a_cancelled_download_goes_on_from_there(server, tmp_path):
    source = entry(server)
    with pytest.raises(Cancelled):
        download(exact(source), tmp_path, stop_half_way)
    assert not (tmp_path / NAME).exists()
    there = unfinished_bytes(tmp_path)
    assert len(CONTENT) // 2 < there < len(CONTENT)
    download(exact(source), tmp_path)
    assert_finished(tmp_path)
    assert server.ranges()[-1] == f"bytes={there}-"


@pytest.mark.parametrize(
    "behaviour",
    [
        {"ranges": False},
        {"wrong_offset": True},
        {"etag": '"2"'},
        {"etag": '"2"', "heeds_if_range": False},
    ],
)
def test_what_cannot_be_continued_is_fetched_anew(server, tmp_path, behaviour):
    with pytest.raises(Cancelled):
        download(exact(entry(server, content=OTHER_CONTENT)), tmp_path, stop_half_way)
    download(exact(entry(server, **behaviour)), tmp_path)
    assert_finished(tmp_path)


@pytest.mark.parametrize(
    ("etag", "headers", "validator"),
    [
        ('"1"', {"Last-Modified": "Sun, 01 Jan 2023 00:00:00 GMT"}, '"1"'),
        ('W/"1"', {"Last-Modified": "Sun, 01 Jan 2023 00:00:00 GMT"}, "Sun, 01 Jan 2023 00:00:00 GMT"),
    ],
)
def test_after_a_break_the_rest_is_asked_for_only_of_the_same_version(
    server, tmp_path, etag, headers, validator
):
    download(weights_file(entry(server, cuts=[1000], etag=etag, headers=headers)), tmp_path)
    assert_finished(tmp_path)
    (_, first), (_, second), *_ = server.requests
    assert "Range" not in first and "If-Range" not in first
    assert second["If-Range"] == validator


def test_a_part_of_another_file_is_given_up_when_the_hash_is_wrong(server, tmp_path):
    with pytest.raises(Cancelled):
        download(exact(entry(server, "/elsewhere", OTHER_CONTENT)), tmp_path, stop_half_way)
    download(exact(entry(server)), tmp_path)
    assert_finished(tmp_path)


@pytest.mark.parametrize("part", [CONTENT + b"more", CONTENT])
def test_a_part_that_is_not_shorter_than_the_file_is_fetched_anew(server, tmp_path, part):
    (tmp_path / f"{NAME}.part.d").mkdir()
    (tmp_path / f"{NAME}.part.d" / "file12345678.part").write_bytes(part)
    download(exact(entry(server)), tmp_path)
    assert_finished(tmp_path)


def test_without_a_hash_no_part_of_an_earlier_attempt_is_continued(server, tmp_path):
    """Nothing would tell that half of the file is of another version."""
    source = entry(server)
    with pytest.raises(Cancelled):
        download(weights_file(source), tmp_path, stop_half_way)
    download(weights_file(source), tmp_path)
    assert_finished(tmp_path)
    assert server.ranges() == ["", ""]


@pytest.mark.parametrize("known", [{"md5": hashlib.md5(CONTENT).hexdigest()[:6]}, {}])
def test_the_start_of_a_hash_or_a_recorded_one_is_enough_to_go_on(server, tmp_path, known):
    source = entry(server)
    if not known:
        download(weights_file(source), tmp_path)  # records the hash
        (tmp_path / NAME).unlink()
    with pytest.raises(Cancelled):
        download(weights_file(source, **known), tmp_path, stop_half_way)
    download(weights_file(source, **known), tmp_path)
    assert_finished(tmp_path)
    assert server.ranges()[-1].startswith("bytes=")


def test_another_source_goes_on_with_the_bytes_of_the_first(server, tmp_path):
    with pytest.raises(Cancelled):
        download(exact(entry(server, "/first")), tmp_path, stop_half_way)
    there = unfinished_bytes(tmp_path)
    del server.resources["/first"]
    first = UrlSource(server.url + "/first")
    download(exact(first, entry(server, "/second")), tmp_path)
    assert_finished(tmp_path)
    assert server.ranges()[-1] == f"bytes={there}-"


def test_a_long_file_on_a_bad_line_arrives_in_the_end(server, tmp_path):
    """More breaks than one call of gdown survives."""
    download(exact(entry(server, cuts=[5000] * 14)), tmp_path)
    assert_finished(tmp_path)


# ---- what does not come through


def test_a_server_that_never_gets_further_is_given_up(server, tmp_path, monkeypatch):
    source = entry(server, cuts=[1000] * 100, wrong_offset=True)
    assert_fails(exact(source), tmp_path, "did not honor the requested byte range")
    assert len(server.requests) < 10
    source = entry(server, "/other", cuts=[0] * 100)
    assert_fails(exact(source), tmp_path, "the connection failed")
    assert len(server.requests) < 20


def test_a_busy_server_is_asked_again(server, tmp_path):
    download(exact(entry(server, statuses=[503, 429])), tmp_path)
    assert_finished(tmp_path)


def test_the_next_source_is_tried_and_all_of_them_are_named(server, tmp_path):
    gone = UrlSource(server.url + "/gone")
    broken = entry(server, "/broken", statuses=[500] * 3)
    loop = entry(server, "/loop", redirect=server.url + "/loop")
    page = entry(server, "/page", HTML, headers={"Content-Type": "text/html"})
    bad = (gone, broken, loop, page)
    parts = ("404 Not Found", "500 Internal Server Error", "redirects", "a web page")
    message = assert_fails(exact(*bad), tmp_path, *parts)
    assert all(str(source) in message for source in bad)
    assert str(tmp_path / NAME) in message
    assert "\n" not in message
    server.resources["/broken"].statuses = [500] * 3
    download(exact(*bad, entry(server)), tmp_path)
    assert_finished(tmp_path)


def test_no_server_at_all(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        source = UrlSource(f"http://127.0.0.1:{unused.getsockname()[1]}/weights.pth")
        assert_fails(exact(source), tmp_path, "the connection failed")


@pytest.mark.parametrize("place", [0, 200, len(CONTENT) // 2, len(CONTENT) - 1])
def test_corrupted_bytes_never_get_the_name(server, tmp_path, place):
    corrupted = bytearray(CONTENT)
    corrupted[place] ^= 0x40
    assert_fails(exact(entry(server, content=bytes(corrupted))), tmp_path)
    assert not unfinished_bytes(tmp_path)


def test_a_known_start_of_a_hash_is_enough_to_refuse(server, tmp_path):
    md5 = hashlib.md5(CONTENT).hexdigest()
    source = entry(server, content=OTHER_CONTENT)
    assert_fails(weights_file(source, md5=md5[:6]), tmp_path, "MD5", f"but {md5[:6]} was expected")
    assert_fails(weights_file(source, sha256="123456"), tmp_path, "SHA-256", "but 123456 was expected")
    download(weights_file(entry(server), md5=md5[:6]), tmp_path)
    assert_finished(tmp_path)


def test_a_short_file_is_refused_even_if_nothing_announced_its_length(server, tmp_path):
    source = entry(server, content=CONTENT[:-5000], announce_length=False)
    assert_fails(weights_file(source), tmp_path, "cut off")
    source = entry(server, content=OTHER_CONTENT)
    message = assert_fails(weights_file(source, size=5, size_is_exact=True), tmp_path)
    assert f"{len(OTHER_CONTENT):,} bytes, but 5 were expected" in message


def test_another_kind_of_model_is_refused(server, tmp_path):
    clip = WeightsFile(NAME, CheckpointKind.CLIP, (entry(server),), 0, "MIT")
    assert_fails(clip, tmp_path, "looks like a Segment Anything checkpoint", "a CLIP checkpoint was expected")


def test_too_little_space_raises_before_any_download(server, tmp_path):
    message = assert_fails(weights_file(entry(server), size=10**18), tmp_path, "1000000000.07 GB more")
    assert "OVSEG_WEIGHTS_DIR" in message
    assert not server.requests


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_fills_up_leaves_nothing_finished(server, tmp_path):
    workspace = tmp_path / f"{NAME}.part.d"
    workspace.mkdir()
    (workspace / "file12345678.part").symlink_to("/dev/full")
    assert_fails(exact(entry(server)), tmp_path, "is full", "free some space")


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match="cannot be written"):
        download(exact(entry(server)), tmp_path / "file")


# ---- trust on first use


def test_a_file_that_changed_since_it_was_first_seen_is_refused(server, tmp_path):
    download(weights_file(entry(server)), tmp_path)
    (tmp_path / NAME).unlink()
    source = entry(server, content=OTHER_CONTENT)
    assert_fails(weights_file(source), tmp_path, f'recorded in "{NAME}.json"')
    (tmp_path / f"{NAME}.json").unlink()
    download(weights_file(source), tmp_path)
    assert_finished(tmp_path, OTHER_CONTENT)


def test_a_file_that_was_damaged_afterwards_is_found_out(server, tmp_path):
    file = weights_file(entry(server))
    path = download(file, tmp_path)
    path.write_bytes(OTHER_CONTENT)
    with pytest.raises(DownloadError, match=r"is not the file that the catalogue describes.*Delete it"):
        download(file, tmp_path)
    assert path.read_bytes() == OTHER_CONTENT  # it is the user's to delete


def test_a_file_put_there_by_hand_is_checked_and_recorded(server, tmp_path):
    file = exact(entry(server))
    (tmp_path / NAME).write_bytes(CONTENT)
    download(file, tmp_path)
    assert_finished(tmp_path)
    assert not server.requests
    (tmp_path / NAME).write_bytes(HTML)
    with pytest.raises(DownloadError, match="a web page"):
        download(file, tmp_path)


def test_a_file_that_was_only_copied_is_hashed_again_and_stays_trusted(server, tmp_path):
    file = weights_file(entry(server))
    path = download(file, tmp_path)
    os.utime(path, ns=(1, 1))
    stages = []
    download(file, tmp_path, lambda stage, *_: stages.append(stage))
    assert f"Checking {NAME}" in stages
    stages.clear()
    download(file, tmp_path, lambda stage, *_: stages.append(stage))
    assert not stages


def test_a_damaged_record_is_named(server, tmp_path):
    file = weights_file(entry(server))
    download(file, tmp_path)
    (tmp_path / f"{NAME}.json").write_text("{")
    with pytest.raises(DownloadError, match="is damaged; delete it"):
        download(file, tmp_path)


# ---- bundled files


def test_bundled_files_are_never_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("ovseg_demo.models.weights_files.BUNDLED_WEIGHTS", tmp_path)
    file = weights_file(BundledSource("tiny/sam.pth"))
    with pytest.raises(DownloadError, match=r'git checkout -- weights/tiny/sam\.pth"'):
        download(file, tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "sam.pth").write_bytes(CONTENT)
    assert download(file, tmp_path / "elsewhere") == tmp_path / "tiny" / "sam.pth"


# ---- several processes

PROCESS = """
import importlib, sys
from pathlib import Path
from ovseg_demo.models.checkpoints import CheckpointKind
from ovseg_demo.models.downloads import download
from ovseg_demo.models.weights_files import UrlSource, WeightsFile
importlib.import_module("gdown.download").CHUNK_SIZE = 1000
file = WeightsFile("sam_tiny.pth", CheckpointKind.SAM, (UrlSource(sys.argv[1]),), 100_000, "Apache-2.0")
download(file, Path(sys.argv[2]), lambda stage, *_: print(stage, flush=True))
"""


def start(source: UrlSource, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", PROCESS, source.url, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_a_second_process_waits_instead_of_downloading_twice(server, tmp_path):
    gate = threading.Event()
    source = entry(server, gate=gate)
    first, second = start(source, tmp_path), start(source, tmp_path)
    wait_for(lambda: server.requests)
    said: list[str] = []
    for process in (first, second):
        threading.Thread(target=lambda lines=process.stdout: said.extend(lines), daemon=True).start()
    wait_for(lambda: f"Waiting for {NAME}\n" in said)
    gate.set()
    assert first.wait(60) == second.wait(60) == 0
    assert server.ranges() == [""]
    assert_finished(tmp_path)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_a_part_that_the_next_one_continues(server, tmp_path, kill):
    source = entry(server, gate=threading.Event())
    killed = start(source, tmp_path)
    wait_for(lambda: unfinished_bytes(tmp_path))
    killed.send_signal(kill)
    killed.wait(60)
    server.resources["/weights.pth"].gate.set()
    there = unfinished_bytes(tmp_path)
    assert not (tmp_path / NAME).exists() and 0 < there < len(CONTENT)
    server.resources["/weights.pth"].gate = None
    download(exact(source), tmp_path)
    assert_finished(tmp_path)
    assert server.ranges()[-1] == f"bytes={there}-"


def test_waiting_can_be_cancelled(server, tmp_path):
    def stop(stage, done, total):
        assert stage == f"Waiting for {NAME}"
        raise Cancelled("enough")

    with filelock.FileLock(tmp_path / f".{NAME}.lock"), pytest.raises(Cancelled):
        download(exact(entry(server)), tmp_path, stop)
    assert not server.requests


# ---- libraries: the real ones, with their hosts replaced by this machine


@pytest.fixture
def hub(server, monkeypatch) -> HuggingFaceSource:
    """A file in a Space, as the Hub's servers present it."""
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    entry(server, "/spaces/someone/demo/resolve/main/sam.pth", headers={"X-Repo-Commit": "a" * 40})
    return HuggingFaceSource("someone/demo", "sam.pth", repo_type="space")


def test_hugging_face(hub, server, tmp_path):
    reports = []
    download(exact(hub), tmp_path, lambda *report: reports.append(report))
    assert_finished(tmp_path)
    assert (f"Downloading {NAME}", len(CONTENT), len(CONTENT)) in reports


def test_hugging_face_cancelled(hub, tmp_path):
    with pytest.raises(Cancelled):
        download(exact(hub), tmp_path, stop_half_way)
    assert not (tmp_path / NAME).exists()
    download(exact(hub), tmp_path)
    assert_finished(tmp_path)


def test_hugging_face_without_that_file_goes_to_the_next_source(hub, server, tmp_path):
    absent = HuggingFaceSource("someone/demo", "absent.pth", repo_type="space")
    message = assert_fails(
        exact(absent), tmp_path, "https://huggingface.co/spaces/someone/demo/blob/main/absent.pth"
    )
    assert "404" in message
    download(exact(absent, entry(server)), tmp_path)
    assert_finished(tmp_path)


@pytest.fixture
def drive(server, monkeypatch) -> GoogleDriveSource:
    """A shared file, as Google Drive presents it."""
    import requests

    get = requests.Session.get

    def rerouted(self, url, **options):
        return get(self, url.replace("https://drive.google.com", server.url), **options)

    monkeypatch.setattr(requests.Session, "get", rerouted)
    entry(
        server, "/uc", headers={"Content-Disposition": 'attachment; filename="x.pth"', "Content-Type": "a/b"}
    )
    return GoogleDriveSource("1abc")


def test_google_drive(drive, server, tmp_path):
    reports = []
    download(exact(drive), tmp_path, lambda *report: reports.append(report))
    assert_finished(tmp_path)
    assert (f"Downloading {NAME}", len(CONTENT), len(CONTENT)) in reports


def test_google_drive_goes_on_where_it_was_cancelled(drive, server, tmp_path):
    with pytest.raises(Cancelled):
        download(exact(drive), tmp_path, stop_half_way)
    assert not (tmp_path / NAME).exists()
    download(exact(drive), tmp_path)
    assert_finished(tmp_path)
    assert any(wanted.startswith("bytes=5") for wanted in server.ranges())


def test_google_drive_over_its_quota_goes_to_the_next_source(drive, server, tmp_path):
    entry(server, "/uc", HTML, headers={"Content-Type": "text/html"})
    message = assert_fails(exact(drive), tmp_path, "https://drive.google.com/file/d/1abc/view")
    assert "\n" not in message
    download(exact(drive, entry(server)), tmp_path)
    assert_finished(tmp_path)


# ---- no surprises


def test_nothing_is_asked_of_the_network_at_import():
    program = (
        "import socket; socket.socket.connect = None; socket.getaddrinfo = None\n"
        "import ovseg_demo.models.downloads, ovseg_demo.models.catalogue, sys\n"
        "assert not {'gdown', 'huggingface_hub', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
