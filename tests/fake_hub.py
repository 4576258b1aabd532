"""A small Hugging Face hub on this machine: the requests that a download makes, and no more."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

Revisions = dict[str, Path]


@dataclass(frozen=True)
class Fault:
    """What the hub answers in place of a repository, or of its files alone.

    Attributes:
        status: The status of the answer.
        code: What the hub calls the error, if it does.
        message: What it says.
        files: Whether the repository is described as if there were no fault.
        cut: Number of bytes after which a file ends, instead of an answer that is an error.
    """

    status: int = 200
    code: str = ""
    message: str = ""
    files: bool = False
    cut: int | None = None


def commit_of(folder: Path) -> str:
    """Return the commit that the hub gives for a folder."""
    return hashlib.sha1(str(folder).encode()).hexdigest()


@contextmanager
def serving(
    repositories: dict[str, Revisions], faults: dict[str, Fault] | None = None
) -> Iterator[str]:
    """Serve folders as revisions of repositories, some of them at fault; give the address."""

    class Handler(_Handler):
        known, at_fault = repositories, faults or {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    known: dict[str, Revisions]
    at_fault: dict[str, Fault]

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        is_api = path.startswith("/api/models/")
        kinds = ("/revision/", "/tree/") if is_api else ("/resolve/",)
        kind = next((kind for kind in kinds if kind in path), None)
        if kind is None:
            self._answer(404, b"{}", {})
            return
        repository, _, rest = path.removeprefix("/api/models").partition(kind)
        revision, _, file = rest.partition("/")
        folder = self._folder(repository.strip("/"), revision)
        fault = self.at_fault.get(repository.strip("/"), Fault())
        if fault.status != 200 and (kind == "/resolve/" or not fault.files):
            headers = {"X-Error-Code": fault.code, "X-Error-Message": fault.message}
            self._answer(fault.status, b"{}", {k: v for k, v in headers.items() if v})
        elif isinstance(folder, str):
            self._answer(404, b"{}", {"X-Error-Code": folder, "X-Error-Message": folder})
        elif kind == "/resolve/":
            self._file(folder, file, fault.cut)
        else:
            told = _tree(folder) if kind == "/tree/" else _info(repository.strip("/"), folder)
            self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _folder(self, repository: str, revision: str) -> Path | str:
        revisions = self.known.get(repository)
        if revisions is None:
            return "RepoNotFound"
        by_commit = {commit_of(folder): folder for folder in revisions.values()}
        return revisions.get(revision) or by_commit.get(revision) or "RevisionNotFound"

    def _file(self, folder: Path, name: str, cut: int | None) -> None:
        content = (folder / name).read_bytes()
        etag = hashlib.sha1(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit_of(folder)}
        self._answer(200, content, headers, cut)

    def _answer(
        self, status: int, content: bytes, headers: dict[str, str], cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:cut])


def _info(repository: str, folder: Path) -> dict[str, Any]:
    names = sorted(file.name for file in folder.iterdir())
    siblings = [{"rfilename": name} for name in names]
    return {"id": repository, "modelId": repository, "sha": commit_of(folder), "siblings": siblings}


def _tree(folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "path": file.name,
            "size": file.stat().st_size,
            "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
        }
        for file in sorted(folder.iterdir())
    ]
