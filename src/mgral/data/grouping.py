"""Groups of images that must stay in one split: variants of one picture, frames of one video."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from mgral.data import stratified_split
from mgral.data.stratified_split import Part


def groups(names: Mapping[int, str], pattern: str) -> tuple[dict[int, str], list[str]]:
    """The group of each image: what the parenthesised parts of the pattern match in its name, or the whole match.

    Args:
        names: file names by id.
        pattern: ``dataset.splits.group``.

    Returns:
        The group of each id, and the names that do not match: each of these is a group of its own.

    >>> groups({1: "a.rf.x.jpg", 2: "a.rf.y.jpg", 3: "b.jpg"}, r"^(.*)[.]rf[.]")
    ({1: 'a', 2: 'a', 3: '/b.jpg'}, ['b.jpg'])
    """
    found, unmatched = {}, []
    for i, name in names.items():
        match = re.search(pattern, name)
        if match:
            found[i] = "\n".join(part or "" for part in match.groups() or (match.group(),))
        else:
            found[i] = f"/{name}"
            unmatched.append(name)
    return found, unmatched


def draw(
    labels: Mapping[int, Collection[int]],
    everyone: Mapping[int, str],
    shares: Mapping[Part, float],
    rest: Part,
    seed: int,
) -> dict[int, Part]:
    """Divide images by whole groups: each counts as one image with the classes of all its own.

    Args:
        labels: by image id, the classes in it: the images that may be drawn.
        everyone: the group of every image; a group that holds an image outside ``labels`` is not drawn.
        shares: of the groups by part, 0..1.
        rest: the part that takes what is left.
        seed: of the order in which groups are dealt out.

    Returns:
        The part of each image that was drawn.
    """
    members: dict[str, list[int]] = {}
    for i in sorted(everyone):
        members.setdefault(everyone[i], []).append(i)
    units = {ids[0]: ids for ids in members.values() if all(i in labels for i in ids)}
    if not units:
        return {}
    classes = {first: {label for i in ids for label in labels[i]} for first, ids in units.items()}
    parts = stratified_split.draw(classes, shares, rest, seed)
    return {i: part for first, part in parts.items() for i in units[first]}
