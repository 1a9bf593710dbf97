"""Splits drawn from a data set that brings none: every class keeps its share of each.

Iterative stratification of multi-label data: Sechidis, Tsoumakas, Vlahavas, "On the Stratification of
Multi-Label Data", ECML PKDD 2011, algorithm 1. One change: a split never grows beyond its size, so that sizes
are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from mgral import seeds
from mgral.types import Split


def draw(labels: Mapping[int, Collection[int]], shares: Mapping[Split, float], seed: int) -> dict[int, Split]:
    """Draw splits, the rarest class first.

    Args:
        labels: by image id, the classes in it; all images without object count as one more class.
        shares: of ``val`` and ``test``, 0..1; what is left is ``train``.
        seed: of the order in which the images of a class are dealt out.

    Returns:
        The split of each id. A split has floor(share * images + 1/2) images.
    """
    ids = sorted(labels)
    order = {ids[i]: rank for rank, i in enumerate(seeds.generator(seed, "splits").permutation(len(ids)))}
    classes = {i: set(labels[i]) or {-1} for i in ids}
    counts = Counter(label for found in classes.values() for label in found)

    room: dict[Split, int] = {split: int(share * len(ids) + 0.5) for split, share in shares.items()}
    room = {"train": len(ids) - sum(room.values()), **room}
    wanted = {(s, label): n * room[s] / len(ids) for s in room for label, n in counts.items()}

    members: dict[int, set[int]] = {label: set() for label in counts}
    for i in ids:
        for label in classes[i]:
            members[label].add(i)
    drawn: dict[int, Split] = {}
    while left := [label for label in members if members[label]]:
        rarest = min(left, key=lambda label: (len(members[label]), label))
        for i in sorted(members[rarest], key=order.__getitem__):
            open_splits = [s for s in room if room[s] > 0]
            chosen = max(open_splits, key=lambda s: (wanted[s, rarest], room[s]))
            drawn[i] = chosen
            room[chosen] -= 1
            for label in classes[i]:
                wanted[chosen, label] -= 1
                members[label].discard(i)
    return drawn
