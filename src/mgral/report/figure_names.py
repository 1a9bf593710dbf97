"""Names of strategies and classes in figures: short enough for their place, and of letters that the font has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, get_font

FONT = "DejaVu Sans"
SIZE = 10  # points
LONGEST = 140  # points, of a name beside a plot
PANEL = 125  # points, of a name above a small panel
HANDLE = 46  # points, of the mark of a name in a legend and of the gap to the next


@lru_cache(maxsize=1 << 14)
def width(text: str) -> float:
    """How wide a text is in a figure, in points."""
    font = get_font(findfont(FontProperties(family=FONT)))
    font.set_size(SIZE, 72)
    return sum(font.load_glyph(font.get_char_index(ord(c))).linearHoriAdvance / 65536 for c in text)


def short(name: str, longest: float = LONGEST) -> str:
    """The name, without its middle where it is wider than ``longest``: names often differ at their ends."""
    if width(name) <= longest:
        return name
    first, last = "", ""
    for k in range(len(name)):
        if width(f"{first}{name[k]}…{last}") > longest:
            break
        first += name[k]
        if width(f"{first}…{name[-1 - k]}{last}") > longest:
            break
        last = name[-1 - k] + last
    return f"{first}…{last}"


@lru_cache(maxsize=1 << 14)
def drawable(name: str) -> bool:
    """Whether the font of the figures has each letter of a name."""
    font = get_font(findfont(FontProperties(family=FONT)))
    return all(c.isprintable() and font.get_char_index(ord(c)) for c in name)


def drawn(names: Sequence[str], what: str) -> tuple[list[str], str]:
    """Names as a figure shows them, all different, and a sentence that explains those that it cannot.

    Args:
        names: in the order shown.
        what: they are names of; in place of one that cannot be drawn or would look like another stands ``class 3``.
    """
    shown = [short(name) for name in names]
    unfit = {k: f"{what} {k + 1}" for k, name in enumerate(names) if not drawable(name) or shown.count(shown[k]) > 1}
    said = "; ".join(f"{label}: {names[k]}" for k, label in unfit.items())
    return [unfit.get(k, name) for k, name in enumerate(shown)], f" {said}." if said else ""


def columns(names: Sequence[str], room: float, most: int = 3) -> int:
    """Columns of a legend of so many points: as many as its longest name leaves room for."""
    return max(1, min(most, len(names), int(room / (max(width(short(name)) for name in names) + HANDLE))))
