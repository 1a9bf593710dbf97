"""The page of a real Label Studio in a real browser: a person accepts, moves, draws, skips; the labels are these.

The mouse acts on the page; what it makes goes through `mgral pull` and through `mgral return` of a JSON export.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import label_studio_server
import numpy as np
import pytest
from browser import Page
from test_live_server import Api
from test_verbs import export, labels, place, run

from mgral.annotation.exchange import BatchImage
from mgral.core.files import read_json
from mgral.data import dataset_json

__all__ = ["place"]  # the fixture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not label_studio_server.SEED.exists(), reason="needs Label Studio, from packages: `make env-annotation`"
    ),
    pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium on the path"),
]

IMAGE, SUBMIT, SKIP = 'img[alt="image"]', 'button[name="submit"]', 'button[aria-label="skip-task"]'
LABEL, REGION = ".lsf-label__text", ".lsf-outliner-item__title"


@pytest.fixture
def server(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that shows the images of the place, which lie in the folder below its document root."""
    data = tmp_path_factory.mktemp("server") / "data"
    shutil.copytree(label_studio_server.SEED, data)
    with label_studio_server.serve(data, place) as url:
        yield url


class Person:
    """Somebody at the page, who has logged in."""

    def __init__(self, page: Page, api: Api, project: int) -> None:
        self.page, self.api, self.project = page, api, project
        page.open(f"{api.url}/user/login/")
        page.write('input[name="email"]', label_studio_server.USER)
        page.write('input[name="password"]', label_studio_server.PASSWORD)
        page.press('button[type="submit"]')
        page.until("!location.pathname.startsWith('/user/login')", "logged in")

    def open(self, task: int, image: BatchImage, in_turn: bool = False) -> None:
        """Open a task of the list, or the next in turn, and wait until its picture and its box are there."""
        self.task, self.image = task, image
        which = "labeling=1" if in_turn else f"task={task}"
        self.page.open(f"{self.api.url}/projects/{self.project}/data?{which}")
        self.page.until(f"document.querySelector('{IMAGE}')?.naturalWidth === {image.width}", "the picture")
        self.page.place(SUBMIT)
        self.page.place(REGION)

    def drag(self, *path: tuple[float, float]) -> None:
        """Move the mouse, its button held, from pixel to pixel of the picture."""
        left, top, width, height = self.page.place(IMAGE)
        sides = self.image.width, self.image.height
        self.page.drag([(left + x * width / sides[0], top + y * height / sides[1]) for x, y in path])

    def end(self, button: str) -> dict[str, Any]:
        """Press a button that ends the task; what the server has then."""
        self.page.press(button)
        deadline = time.monotonic() + browser.SECONDS
        while True:
            annotations = self.api.call("GET", f"/api/tasks/{self.task}")["annotations"]
            if annotations:
                (annotation,) = annotations
                return dict(annotation)
            assert time.monotonic() < deadline, f"not saved; see {self.page.picture('unsaved')}"
            time.sleep(0.3)


def corners(annotation: dict[str, Any]) -> list[list[float]]:
    """The boxes that the server has, in pixels."""
    found = []
    for one in annotation["result"]:
        width, height, value = one["original_width"], one["original_height"], one["value"]
        x, y = value["x"] * width / 100, value["y"] * height / 100
        found.append([x, y, x + value["width"] * width / 100, y + value["height"] * height / 100])
    return found


def test_what_a_person_does_in_the_page_comes_back(
    place: Path, server: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", server)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio_server.TOKEN)
    batch = export(without_predictions=0.0)
    assert run("push") == 0
    api = Api(server)
    tasks = {i: task["id"] for i, task in api.tasks().items()}
    (project,) = api.call("GET", "/api/projects")["results"]
    storage = {"project": project["id"], "path": str(place / "set"), "use_blob_urls": True, "regex_filter": "^$"}
    api.call("POST", "/api/storages/localfiles", storage)

    with browser.page(tmp_path_factory.mktemp("browser")) as page:
        person = Person(page, api, project["id"])
        accepted, moved, drawn, skipped = batch.images[:4]
        person.open(tasks[accepted.id], accepted)
        saved = {accepted.id: person.end(SUBMIT)}
        person.open(tasks[moved.id], moved)
        person.drag((6, 7), (16, 12), (26, 17))
        saved[moved.id] = person.end(SUBMIT)
        person.open(tasks[drawn.id], drawn)
        page.press(LABEL, "ant")
        person.drag((30, 20), (40, 30), (50, 40))
        saved[drawn.id] = person.end(SUBMIT)
        person.open(tasks[skipped.id], skipped, in_turn=True)  # only there is a button to skip
        assert person.end(SKIP)["was_cancelled"]

    capsys.readouterr()
    assert run("pull") == 0
    assert "6 images asked, 3 finished, 1 skipped, 0 cannot be labelled, 2 open" in capsys.readouterr().out
    assert run("close", "--partial") == 0
    assert labels() == 0
    after = dataset_json.read("next.json")
    assert sorted(after.boxes) == [1, 2, 3, 7, 9, 10]
    assert after.boxes[1].xyxy.tolist() == [[1, 2, 11, 12]]
    assert after.boxes[2].xyxy == pytest.approx(np.array([[21, 12, 31, 22]]), abs=0.2)  # two pixels of the screen
    assert after.boxes[3].xyxy == pytest.approx(np.array([[1, 2, 11, 12], [30, 20, 50, 40]]), abs=0.2)
    for i, annotation in saved.items():
        assert after.boxes[i].xyxy == pytest.approx(np.array(corners(annotation), np.float32), abs=1e-5)
    predicted = accepted.predictions[0].label
    assert [after.classes[label] for label in after.boxes[3].labels] == [predicted, "ant"]
    origins = [[box["origin"] for box in one["boxes"]] for one in read_json("labels.json")["images"][:3]]
    assert origins == [["prediction"], ["prediction-changed"], ["prediction", "manual"]]

    exported = api.call("GET", f"/api/projects/{project['id']}/export?exportType=JSON&download_all_tasks=true")
    Path("export.json").write_text(json.dumps(exported))
    pulled = Path("next.json").read_bytes()
    assert run("return", "export.json", "--annotations", "by-hand") == 0
    assert run("close", "--partial", "--annotations", "by-hand") == 0
    assert labels("--closed", "by-hand/cycle-0/closed.json") == 0
    assert Path("next.json").read_bytes() == pulled
