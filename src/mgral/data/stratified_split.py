"""Images divided into parts at random so that every class keeps its share of each.

Iterative stratification of multi-label data: Sechidis, Tsoumakas, Vlahavas, "On the Stratification of
Multi-Label Data", ECML PKDD 2011, algorithm 1. One change: a part never grows beyond its size, so that sizes are
exact.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TypeVar

from mgral.core import random_streams

Part = TypeVar("Part", bound=str)


def draw(labels: Mapping[int, Collection[int]], shares: Mapping[Part, float], rest: Part, seed: int) -> dict[int, Part]:
    """Divide images, the rarest class first.

    Args:
        labels: by image id, the classes in it; all images without object count as one more class.
        shares: of the images by part, 0..1.
        rest: the part that takes what is left.
        seed: of the order in which the images of a class are dealt out.

    Returns:
        The part of each id. A part has floor(share * images + 1/2) images.
    """
    ids = sorted(labels)
    order = {ids[i]: rank for rank, i in enumerate(random_streams.generator(seed, "splits").permutation(len(ids)))}
    classes = {i: set(labels[i]) or {-1} for i in ids}
    counts = Counter(label for found in classes.values() for label in found)

    room = {part: int(share * len(ids) + 0.5) for part, share in shares.items()}
    room = {rest: len(ids) - sum(room.values()), **room}
    wanted = {(part, label): n * room[part] / len(ids) for part in room for label, n in counts.items()}

    members: dict[int, set[int]] = {label: set() for label in counts}
    for i in ids:
        for label in classes[i]:
            members[label].add(i)
    drawn: dict[int, Part] = {}
    waiting = [(n, label) for label, n in counts.items()]
    heapq.heapify(waiting)
    while waiting:
        left, rarest = heapq.heappop(waiting)
        if left != len(members[rarest]):  # it has lost images since: it is in the heap with fewer
            continue
        for i in sorted(members[rarest], key=order.__getitem__):
            open_parts = [part for part in room if room[part] > 0]
            chosen = max(open_parts, key=lambda part: (wanted[part, rarest], room[part]))
            drawn[i] = chosen
            room[chosen] -= 1
            for label in classes[i]:
                wanted[chosen, label] -= 1
                members[label].discard(i)
                if label != rarest and members[label]:
                    heapq.heappush(waiting, (len(members[label]), label))
    return drawn
