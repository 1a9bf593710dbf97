"""The report in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture
from report_runs import FINAL, Report, build

from mgral.config.schema import Params
from mgral.report import figures

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """<!doctype html><iframe id=page style="width:{width}px;height:2000px;border:0" srcdoc="{page}"></iframe>
<script>
const frame = document.getElementById('page'), errors = [];
window.onerror = message => errors.push(message);
frame.onload = () => {{
  const inside = frame.contentDocument, view = frame.contentWindow, root = inside.documentElement;
  view.onerror = message => errors.push(message);
  inside.querySelectorAll('details').forEach(one => one.open = true);
  const dots = [...inside.querySelectorAll('.dot')].map(
    dot => [dot.nextSibling.textContent.trim(), view.getComputedStyle(dot).backgroundColor]);
  const filters = [...inside.querySelectorAll('.plot img')].map(image => view.getComputedStyle(image).filter);
  const found = {{scroll: root.scrollWidth, width: root.clientWidth, errors, dots, filters,
    ground: view.getComputedStyle(inside.body).backgroundColor}};
  document.body.innerHTML = '<pre id=found></pre>';
  document.body.firstChild.textContent = JSON.stringify(found);
}};
</script>"""


def browse(html: str, folder: Path, width: int, dark: bool) -> dict[str, Any]:
    """Open a page in a headless browser, as wide as given; what was measured there."""
    probe = folder / "probe.html"
    probe.write_text(PROBE.format(width=width, page=escape(html, quote=True)), encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    options += [
        "--disable-component-update",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=5000",
    ]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [str(CHROMIUM), *options, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stderr[-500:]
    found: dict[str, Any] = json.loads(unescape(match[1]))
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_the_page_in_a_browser(report: Report, tmp_path: Path) -> None:
    """Nothing scrolls sideways on a telephone, nothing fails, and a strategy has one colour, light and dark."""
    light, dark = (browse(report.html, tmp_path, 375, dark) for dark in (False, True))
    assert light["width"] == 375 and light["scroll"] <= 375
    assert light["errors"] == dark["errors"] == []
    assert light["ground"] != dark["ground"]  # the page did become dark
    assert light["dots"] == dark["dots"]
    assert set(light["filters"]) == set(dark["filters"]) == {"none"}  # figures are shown as drawn
    looks = figures.looks(list(FINAL), "random")
    for name, look in looks.items():
        rgb = tuple(int(look.colour[k : k + 2], 16) for k in (1, 3, 5))
        shown = {colour for label, colour in light["dots"] if label.startswith(name)}
        assert shown == {f"rgb({rgb[0]}, {rgb[1]}, {rgb[2]})"}
        for figure in ("curve.png", "per_class.png"):
            with Picture.open(report.run / "figures" / figure) as picture:
                assert rgb in {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_odd_names_do_not_widen_the_page(run: Path, params: Params, tmp_path: Path) -> None:
    """Classes with a tag, Arabic and Chinese letters, or of 200 letters: nothing runs, nothing scrolls sideways."""
    odd = ["<script>window.onerror('ran')</script>", "قطة" + "名" * 100 + "$_" + "a" * 98]
    text = (run / "dataset" / "dataset.json").read_text(encoding="utf-8")
    dataset = json.loads(text)
    for category, name in zip(dataset["categories"], odd, strict=True):
        category["name"] = name
    (run / "dataset" / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    for path in run.rglob("metrics.json"):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        metrics["test"]["per_class"] = dict(zip(odd, metrics["test"]["per_class"].values(), strict=True))
        path.write_text(json.dumps(metrics), encoding="utf-8")
    found = browse(build(run, params)[1], tmp_path, 375, False)
    assert found["scroll"] <= found["width"] == 375 and found["errors"] == []
