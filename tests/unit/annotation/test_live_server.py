"""The verbs against a real Label Studio on loopback: push, people, pull, close, and the labels of the next cycle."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import label_studio_server
import pytest
from test_verbs import ANSWERS, export, labels, place, run

from mgral.annotation.exchange import BatchImage
from mgral.core.files import read_json
from mgral.data import dataset_json

__all__ = ["place"]  # the fixture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not label_studio_server.SEED.exists(), reason="needs Label Studio, from packages: `make env-annotation`"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copytree(label_studio_server.SEED, folder / "data")
    with label_studio_server.serve(folder / "data", folder) as url:
        yield url


class Api:
    """What people do in the page, by the API that the page uses."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Token {label_studio_server.TOKEN}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read() or b"null")

    def tasks(self) -> dict[int, dict[str, Any]]:
        """The tasks of the only project, by id of the image."""
        (project,) = self.call("GET", "/api/projects")["results"]
        listed = self.call("GET", f"/api/tasks?project={project['id']}&fields=all&page_size=100")["tasks"]
        return {task["data"]["mgral"]["id"]: task for task in listed}

    def annotate(self, task: dict[str, Any], result: list[dict[str, Any]], **more: Any) -> None:
        body = {"result": result, "lead_time": 12.5, **more}
        self.call("POST", f"/api/tasks/{task['id']}/annotations/", body)


def region(image: BatchImage, id: str, label: str, xyxy: tuple[float, float, float, float]) -> dict[str, Any]:
    x1, y1, x2, y2 = xyxy
    width, height = image.width, image.height
    value = {"x": 100 * x1 / width, "y": 100 * y1 / height, "width": 100 * (x2 - x1) / width}
    value |= {"height": 100 * (y2 - y1) / height, "rotation": 0, "rectanglelabels": [label]}
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    return {"id": id, "type": "rectanglelabels", "from_name": "label", "to_name": "image", **size, "value": value}


def test_a_batch_goes_to_a_server_and_its_labels_come_back(
    place: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", server)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio_server.TOKEN)
    batch = export(without_predictions=0.0)
    for new in (6, 0):
        capsys.readouterr()
        assert run("push") == 0
        assert f"6 tasks, {new} of them new" in capsys.readouterr().out
    api = Api(server)
    tasks = api.tasks()
    assert sorted(tasks) == [1, 2, 3, 4, 5, 6]
    assert tasks[1]["data"]["file_name"] == batch.images[0].file_name

    one, second = batch.images[0], api.call("POST", "/api/users/", {"email": "b@example.org", "username": "b"})["id"]
    accepted = region(one, "p0", batch.images[0].predictions[0].label, (1.0, 2.0, 11.0, 12.0))
    drawn = region(one, "mine", "ant", (20.0, 7.0, 31.0, 40.0))
    api.annotate(tasks[1], [accepted, drawn])
    api.annotate(tasks[1], [accepted, drawn], completed_by=second)
    api.annotate(tasks[2], [])
    api.annotate(tasks[3], [accepted], was_cancelled=True)
    choice = {"id": "c", "type": "choices", "from_name": "state", "to_name": "image"}
    api.annotate(tasks[4], [{**choice, "value": {"choices": ["cannot be labelled"]}}])
    api.call("POST", f"/api/tasks/{tasks[5]['id']}/drafts", {"result": [accepted], "lead_time": 5})

    capsys.readouterr()
    assert run("pull") == 0
    text = capsys.readouterr().out
    assert "6 images asked, 2 finished, 1 skipped, 1 cannot be labelled, 2 open" in text
    assert "1 image of several people: F1 1.000 between them, 0 boxes in conflict" in text
    assert "minutes: 0.6 in 3 answers with a time" in text
    assert run("pull") == 0
    assert "nothing has changed since 001-label_studio.json" in capsys.readouterr().out
    assert len(read_json(ANSWERS / "returned.json")["files"]) == 1
    assert run("close", "--partial") == 0
    assert labels() == 0
    after = dataset_json.read("next.json")
    assert sorted(after.boxes) == [1, 2, 7, 9, 10]
    assert after.boxes[1].xyxy.tolist() == [[1, 2, 11, 12], [20, 7, 31, 40]]
    assert [after.classes[label] for label in after.boxes[1].labels] == [one.predictions[0].label, "ant"]
    assert len(after.boxes[2]) == 0
    origins = [box["origin"] for box in read_json("labels.json")["images"][0]["boxes"]]
    assert origins == ["prediction", "manual"]
