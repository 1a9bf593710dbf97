"""What decoding to 8 bits a channel of red, green and blue leaves out of an image: deeper values, transparency."""

from __future__ import annotations

from typing import Any

import PIL.Image

_LEAST = 64  # of 255. Brighter values use the two highest of 16 bits; those of 12 or 14 bits do not


def unfit(image: PIL.Image.Image, content: bytes) -> str:
    """Why the values of a decoded image cannot be taken as 8 bits a channel; empty if they can.

    Args:
        image: as Pillow decoded it.
        content: of its file.
    """
    if image.mode.startswith(("I", "F")):  # decoding would clip its values to 0..255
        return "image has more than 8 bits a channel; convert it to 8"
    if _bits(image, content) > 8 and _brightest(image) < _LEAST:
        return (
            "image has 16 bits a channel and uses the lower ones alone, so that it would be black; convert it to 8 bits"
        )
    return ""


def _bits(image: PIL.Image.Image, content: bytes) -> int:
    """Bits a channel of formats that Pillow cuts down to the higher 8 of 16."""
    if image.format == "PNG":
        return content[24]  # after the signature: length, IHDR, width, height
    if image.format == "SGI":
        return 8 * content[3]
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        return max(tags.get(258, (8,)), default=8)
    return 8


def _brightest(image: PIL.Image.Image) -> int:
    return max(int(high) for _, high in image.convert("RGB").getextrema())  # type: ignore[misc]  # one pair a channel


def is_transparent(image: PIL.Image.Image) -> bool:
    """Whether any pixel of a decoded image is not fully opaque."""
    if not image.has_transparency_data:
        return False
    least, _ = image.convert("RGBA").getchannel("A").getextrema()
    return bool(least < 255)  # type: ignore[operator]  # of one channel: numbers
