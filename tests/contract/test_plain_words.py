"""Texts use plain words. Single words are refused by codespell, see tests/plain_words.txt; phrases are refused here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAIN = {
    "stands twice": "is given twice",
    "told apart": "differ detectably",
    "tell apart": "distinguish",
    "held against": "compared with",
    "yields nothing": "is empty",
    "for want of": "without",
    "what that takes": "run time and disk space",
    "is to be had": "is available",
}
TEXTS = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").rglob("*.py"),
    *(ROOT / "workflow").rglob("*.*"),
    *ROOT.glob("*.md"),
    ROOT / "Snakefile",
    ROOT / "Makefile",
]


@pytest.mark.parametrize(
    "path",
    [path for path in TEXTS if path.suffix not in (".png", ".pyc")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_quaint_phrase(path: Path) -> None:
    text = " ".join(path.read_text(encoding="utf-8").split())
    found = re.findall(rf"\b(?:{'|'.join(PLAIN)})\b", text, re.IGNORECASE)
    assert not found, f"{path.relative_to(ROOT)}: {', '.join(f'{one!r}: say {PLAIN[one.lower()]!r}' for one in found)}"


def test_every_word_of_the_list_is_refused_with_a_plain_one() -> None:
    lines = (ROOT / "tests/plain_words.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z]+->[a-z ]+,", line) for line in lines)  # the comma: codespell changes none by itself
