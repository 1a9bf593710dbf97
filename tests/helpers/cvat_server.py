"""What `cvat-cli` finds in place of a CVAT: a server on loopback that keeps what it is sent, and gives an export back.

It says what the real server says when all goes well, by the paths, headers and models of cvat-sdk 2.80, and checks
nothing. The real one needs containers, a data base and a queue, which tests cannot have.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TASK = 7
ABOUT = {"name": "CVAT", "description": "", "version": "2.80.0", "logo_url": "", "subtitle": ""}


class Cvat(ThreadingHTTPServer):
    """The server. What it was sent: the task, its images by name, fields of the last request, the annotations."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.authorizations: set[str] = set()
        self.task: dict[str, Any] = {}
        self.images: dict[str, bytes] = {}
        self.fields: dict[str, str] = {}
        self.annotations: dict[str, Any] = {}
        self.export = b""
        self.asked: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Cvat

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.authorizations.add(self.headers.get("Authorization", ""))
        if path == "/api/server/about":
            self._json(200, ABOUT)
        elif path == f"/api/tasks/{TASK}":
            self._json(200, self._task())
        elif path.startswith("/api/requests/"):
            operation = {"type": path.rsplit("/", 1)[-1], "target": "task"}
            done = {"status": "finished", "id": "1", "operation": operation, "created_date": "2026-01-01T00:00:00Z"}
            done["message"] = ""
            self._json(200, {**done, "result_url": f"{self.server.url}/download"})
        elif path == "/download":
            self._send(200, self.server.export)
        else:
            self._json(404, {"detail": path})

    def do_POST(self) -> None:
        split = urlsplit(self.path)
        path, query = split.path.rstrip("/"), {key: value[0] for key, value in parse_qs(split.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/api/tasks":
            self.server.task = json.loads(body)
            self._json(201, self._task())
        elif "Upload-Length" in self.headers:
            self._json(201, {}, {"Location": f"{self.server.url}/upload", "Upload-Filename": "annotations.xml"})
        elif "Upload-Start" in self.headers:
            self._json(202, {})
        elif "Upload-Multiple" in self.headers:
            self._keep(body)
            self._json(200, {})
        elif path == f"/api/tasks/{TASK}/data":
            self._keep(body)
            self._json(202, {"rq_id": "create"})
        elif path == f"/api/tasks/{TASK}/annotations":
            self.server.annotations |= query
            self._json(202, {"rq_id": "import"})
        elif path == f"/api/tasks/{TASK}/dataset/export":
            self.server.asked = query
            self._json(202, {"rq_id": "export"})
        else:
            self._json(404, {"detail": path})

    def do_PATCH(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.annotations["content"] = content
        self._json(204, None, {"Upload-Offset": str(len(content))})

    def _task(self) -> dict[str, Any]:
        jobs = {"url": "", "count": 1, "completed": 0, "validation": 0}
        return {"id": TASK, "name": self.server.task["name"], "jobs": jobs, "labels": {"url": ""}}

    def _keep(self, body: bytes) -> None:
        """Files and fields of a form."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            name = part.get_filename()
            if name is None:
                self.server.fields[str(part.get_param("name", header="content-disposition"))] = content.decode()
            else:
                self.server.images[name.rsplit("/", 1)[-1]] = content

    def _json(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"" if content is None else json.dumps(content).encode(), headers, "application/json")

    def _send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, kind: str = "application/zip"
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve() -> Iterator[Cvat]:
    """Run the server until the block ends."""
    with Cvat() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
