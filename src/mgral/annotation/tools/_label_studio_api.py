"""The HTTP API of Label Studio: the batch to a project, its answers back. Checked with version 1.23.2.

The address and the token come from the environment alone (LABEL_STUDIO_URL, LABEL_STUDIO_API_KEY), and the token is in
no message. A personal token is a refresh token, good for access tokens of five minutes; a legacy token is used as is.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from mgral.annotation.exchange import Batch
from mgral.core.errors import MgralError

URL, TOKEN = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
FRESH = 200.0  # seconds that an access token is used for; it is good for 300
CHUNK = 200  # tasks a request
_PAGE = 500  # projects or tasks a page


class Server:
    """One Label Studio. Raises MgralError: no address or token in the environment, or an address that is none."""

    def __init__(self) -> None:
        missing = [name for name in (URL, TOKEN) if not os.environ.get(name)]
        if missing:
            raise MgralError(f"{missing[0]}: not set; export the address of Label Studio and your token")
        self.url = os.environ[URL].rstrip("/")
        if urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise MgralError(f"{URL}: {self.url} is no address; give http://host:port or https://host")
        self._token = os.environ[TOKEN]
        self._access, self._until = "", 0.0

    def call(self, method: str, path: str, body: Any = None, raw: bool = False) -> Any:
        """One request. Raises MgralError with the method, the path and what the server says."""
        return self._request(method, path, body, self._authorization(), raw)

    def _authorization(self) -> str:
        if self._token.count(".") != 2:
            return f"Token {self._token}"
        if time.monotonic() > self._until:
            given = self._request("POST", "/api/token/refresh", {"refresh": self._token}, None, raw=False)
            self._access, self._until = given["access"], time.monotonic() + FRESH
        return f"Bearer {self._access}"

    def _request(self, method: str, path: str, body: Any, authorization: str | None, raw: bool) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:200].replace(self._token, "…")
            remedy = f"check {TOKEN}" if error.code in (401, 403) else "see the server's log"
            raise MgralError(f"{self.url}{path}: {method} refused with {error.code} ({said}); {remedy}") from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise MgralError(f"{self.url}: cannot be reached ({error}); check {URL} and that the server runs") from None
        if raw:
            return content
        try:
            return json.loads(content) if content else None
        except ValueError:
            raise MgralError(f"{self.url}{path}: no JSON in the answer; check that {URL} is a Label Studio") from None


def project_of(server: Server, batch: Batch) -> int | None:
    """The number of the batch's project, found by its title; None if there is none. Raises MgralError for several."""
    found: list[int] = []
    page = 1
    while True:
        listed = server.call("GET", f"/api/projects?page={page}&page_size={_PAGE}")
        found += [project["id"] for project in listed["results"] if project["title"] == batch.title]
        if not listed.get("next"):
            break
        page += 1
    if len(found) > 1:
        raise MgralError(
            f"{server.url}: {len(found)} projects are called '{batch.title}'; rename all but the right one"
        )
    return found[0] if found else None


def push(
    server: Server, batch: Batch, config: str, tasks: Sequence[Mapping[str, Any]], annotators: int
) -> tuple[int, int]:
    """Make the project, or complete it: tasks that are there are not sent again.

    A request that the server answered with an error may have done its work, so what is there is asked for each time.

    Returns:
        The number of the project, and how many tasks were new.
    """
    project = project_of(server, batch)
    if project is None:
        settings = {"title": batch.title, "label_config": config, "show_skip_button": True}
        project = int(server.call("POST", "/api/projects", {**settings, "maximum_annotations": annotators})["id"])
    there = _ids(server, project)
    missing = [task for task in tasks if task["data"]["mgral"]["id"] not in there]
    for first in range(0, len(missing), CHUNK):
        server.call("POST", f"/api/projects/{project}/import", list(missing[first : first + CHUNK]))
    there = _ids(server, project)
    left = [task for task in tasks if task["data"]["mgral"]["id"] not in there]
    if left:
        raise MgralError(f"{server.url}: {len(left)} of {len(tasks)} tasks did not arrive; run `mgral push` again")
    return project, len(missing)


def _ids(server: Server, project: int) -> set[int]:
    """Ids of the images that have a task."""
    exported = json.loads(
        server.call("GET", f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true", raw=True)
    )
    return {int(task["data"]["mgral"]["id"]) for task in exported if isinstance(task["data"].get("mgral"), dict)}


def pull(server: Server, batch: Batch) -> bytes:
    """The JSON of all tasks, with drafts, people and whole predictions: a snapshot, which is made for this.

    Raises:
        MgralError: there is no such project, or the snapshot fails.
    """
    project = project_of(server, batch)
    if project is None:
        raise MgralError(f"{server.url}: no project '{batch.title}'; run `mgral push` first")
    whole = {"drafts": {"only_id": False}, "predictions": {"only_id": False}}
    wanted = {"serialization_options": {**whole, "annotations__completed_by": {"only_id": True}}}
    snapshot = server.call("POST", f"/api/projects/{project}/exports", {"title": batch.title, **wanted})["id"]
    path = f"/api/projects/{project}/exports/{snapshot}"
    for _ in range(600):
        status = server.call("GET", path)["status"]
        if status == "completed":
            content: bytes = server.call("GET", f"{path}/download?exportType=JSON", raw=True)
            return content
        if status == "failed":
            break
        time.sleep(0.5)
    raise MgralError(f"{server.url}: the snapshot of project {project} is not made ({status}); see the server's log")
