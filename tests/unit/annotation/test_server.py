"""A recorded export of a real server, and what is said where none answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mgral.annotation import exchange, labels
from mgral.annotation.tools import _label_studio_api, label_studio
from mgral.cli import push
from mgral.config.annotation import AnnotationRules
from mgral.core.errors import MgralError

RECORDED = Path(__file__).parent / "recorded"


def test_a_recorded_export_of_label_studio_is_read_exactly() -> None:
    """Made by push and pull with version 1.23.2: accepted, empty, skipped, cannot, draft, moved, untouched."""
    batch = exchange.read_batch(RECORDED / "manifest.json")
    sources = exchange.sources(RECORDED / "label_studio-1.23.2.json")
    returned = label_studio.read(sources, batch, label_studio.Options())
    outcome = labels.settle(batch, [], [("recorded", returned)], batch.classes, {}, AnnotationRules())
    states = [image.state for image in outcome.images.values()]
    assert states == ["finished", "finished", "skipped", "cannot", "draft", "finished", "untouched", "untouched"]
    accepted = outcome.images[1].boxes
    assert [(batch.classes[box.label], box.xyxy) for box in accepted] == [
        (one.label, one.xyxy) for one in batch.images[0].predictions
    ]
    assert Counter(box.origin for box in accepted) == {"prediction": 2}
    assert outcome.images[2].boxes == ()
    (moved,) = outcome.images[6].boxes
    before = batch.images[5].predictions[0].xyxy
    shift = batch.images[5].width / 100  # it was moved by one percent
    assert moved.xyxy == pytest.approx((before[0] + shift, before[1], before[2] + shift, before[3]))
    assert moved.origin == "prediction-changed"
    assert outcome.images[1].people[0]["seconds"] == 12.5


@pytest.mark.parametrize("name", [_label_studio_api.URL, _label_studio_api.TOKEN])
def test_address_and_token_come_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_label_studio_api.URL, "http://127.0.0.1:1")
    monkeypatch.setenv(_label_studio_api.TOKEN, "secret")
    monkeypatch.delenv(name)
    with pytest.raises(MgralError, match=f"{name}: not set; export"):
        _label_studio_api.Server()


def test_a_server_that_does_not_answer_is_one_line_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_label_studio_api.URL, "http://127.0.0.1:1")
    monkeypatch.setenv(_label_studio_api.TOKEN, "secret")
    with pytest.raises(MgralError, match=r"http://127.0.0.1:1: cannot be reached .* check LABEL_STUDIO_URL") as caught:
        _label_studio_api.Server().call("GET", "/api/projects")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv(_label_studio_api.URL, "file:///etc/passwd")
    with pytest.raises(MgralError, match="is no address; give http"):
        _label_studio_api.Server()


def test_tools_without_a_server_say_so() -> None:
    with pytest.raises(MgralError, match="coco works with files; see the folder of the batch"):
        push.server_of("coco")
