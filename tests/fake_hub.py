"""A small Hugging Face hub on this machine: what a download or an upload asks, and no more."""

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
    repositories: dict[str, Revisions],
    faults: dict[str, Fault] | None = None,
    pushed: dict[str, str] | None = None,
) -> Iterator[str]:
    """Serve folders as revisions of repositories, some of them at fault; give the address.

    Args:
        repositories: Folders by revision, by repository.
        faults: What is answered in place of a repository.
        pushed: Gets the files of commits, in base64 by name; nothing is taken without.
    """

    class Handler(_Handler):
        known, at_fault, taken = repositories, faults or {}, pushed

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
    taken: dict[str, str] | None

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

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if self.taken is None:
            self._answer(403, b"{}", {})
            return
        told: dict[str, Any] = {"errors": [], "warnings": []}  # of a card's YAML
        if path == "/api/repos/create":
            made = json.loads(body)
            place = f"{made.get('organization', 'me')}/{made['name']}"
            told = {"url": f"https://huggingface.co/datasets/{place}", "id": place}
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            told = {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in files
                ]
            }
        elif "/commit/" in path:
            for line in body.decode().splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    self.taken[item["value"]["path"]] = item["value"]["content"]
            told = {"success": True, "commitOid": "0" * 40, "commitUrl": "https://huggingface.co/datasets/a/b/commit/0",
                    "hookOutput": ""}  # fmt: skip
        self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _body(self) -> bytes:
        """Return what was sent, at once or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

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
        if self.command != "HEAD":
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
