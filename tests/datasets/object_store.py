"""A server of the S3 protocol on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

BUCKET = "data"


@dataclass(frozen=True)
class ObjectStore:
    """A bucket of a server, by the server's host and port."""

    server: str

    def address(self, path: str = "") -> str:
        """The address of a file or folder, as a user writes it."""
        return f"s3://{BUCKET}/{path}?endpoint_override={self.server}&scheme=http&allow_bucket_creation=true"

    def upload(self, folder: Path, path: str) -> None:
        for file in folder.rglob("*"):
            if file.is_file():
                self.write(f"{path}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def write(self, path: str, content: bytes) -> None:
        with self._files.open_output_stream(f"{BUCKET}/{path}") as file:
            file.write(content)

    def contents(self, path: str) -> dict[str, bytes]:
        """The objects in a folder but those of the journal, by their paths in it."""
        from pyarrow.fs import FileSelector

        root = f"{BUCKET}/{path}/"
        infos = self._files.get_file_info(FileSelector(root, recursive=True))
        names = [info.path.removeprefix(root) for info in infos if info.is_file]
        return {
            name: self._files.open_input_stream(root + name).read()
            for name in names
            if not name.startswith("records/")
        }

    @contextmanager
    def without_access(self) -> Iterator[None]:
        """Let the server refuse every key meanwhile."""
        self._set_requests_before_checks(0)
        try:
            yield
        finally:
            self._set_requests_before_checks(float("inf"))

    def _set_requests_before_checks(self, count: float) -> None:
        answer = requests.post(f"http://{self.server}/moto-api/reset-auth", str(count), timeout=10)
        answer.raise_for_status()

    def delete(self, path: str) -> None:
        self._files.delete_file(f"{BUCKET}/{path}")

    @property
    def _files(self):
        from pyarrow.fs import FileSystem

        return FileSystem.from_uri(self.address())[0]


@contextmanager
def serve_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Serve an empty bucket; skip the test where the packages for it are not installed."""
    pytest.importorskip("pyarrow")
    moto = pytest.importorskip("moto.server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        store = ObjectStore(f"{host}:{port}")
        # All servers of a process have the same objects.
        requests.post(f"http://{store.server}/moto-api/reset", timeout=10).raise_for_status()
        store._files.create_dir(BUCKET)
        yield store
    finally:
        server.stop()
