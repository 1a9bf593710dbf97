"""Memory and time that a step asks a cluster for, where they grow with the pool; and its peak memory in the forecast.

The constants were measured by tests/benchmarks/embed.py and million.py on processors, and rounded up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mgral.planning.rule_files import Given

EMBEDDING = 1040  # bytes of an image in embeddings.npz: 256 float32, its id, sharpness and clipped share
HALF = 528  # the same with the embedding in float16


@dataclass(frozen=True)
class Request:
    """What a step needs on top of nothing, and for each image of the pool.

    Attributes:
        base: MiB.
        image: bytes an image.
        minutes: on the wall.
        rate: images a minute.
    """

    base: int
    image: int
    minutes: int
    rate: int

    def memory(self, images: int) -> int:
        """MiB for a pool of so many images."""
        return self.base + -(-images * self.image // 2**20)

    def runtime(self, images: int) -> int:
        """Minutes for a pool of so many images."""
        return self.minutes + -(-images // self.rate)


# embed: the network with its activations, and the embeddings twice. The others read embeddings, and hold a copy of them
# standardised or in float64 by parts; detections are read image by image.
REQUESTS = {
    "embed": Request(3500, 3 * EMBEDDING, 60, 500),
    "sample_batches": Request(1500, 4 * EMBEDDING, 30, 2000),
    "table": Request(1500, 4 * EMBEDDING, 30, 2000),
    "search": Request(2500, 4 * EMBEDDING, 240, 1000),
    "select": Request(1500, 4 * EMBEDDING, 60, 2000),
    "prices": Request(1500, 4 * EMBEDDING, 60, 2000),
}
REQUESTS["embed_replay"] = REQUESTS["embed"]


def pool_size(images: Path | None, embeddings: Path | None, image_size: int, half: bool = False) -> int | None:
    """How many images a step works on, from the size of a file that it reads: nothing is opened.

    Args:
        images: the decoded images of all splits, if the step reads them.
        embeddings: of the pool, if it reads them; counts before ``images``.
        image_size: side of a decoded image, pixels.
        half: whether embeddings are kept in float16.

    Returns:
        None where the file is not there yet.
    """
    try:
        if embeddings is not None:
            return embeddings.stat().st_size // (HALF if half else EMBEDDING)
        return images.stat().st_size // (3 * image_size**2) if images is not None else None
    except FileNotFoundError:
        return None


def requested(rule: str, image_size: int, half: bool = False) -> dict[str, Callable[..., int]]:
    """Resources of a rule that grow with the pool, as functions of a job; without its files, those of the profile.

    Args:
        rule: a key of :data:`REQUESTS`.
        image_size: side of a decoded image, pixels.
        half: whether embeddings are kept in float16.
    """
    request = REQUESTS[rule]

    def images(input: Given) -> int:
        found = {name: Path(input.get(name)) for name in ("images", "embeddings") if input.get(name)}
        return pool_size(found.get("images"), found.get("embeddings"), image_size, half) or 0

    return {
        "mem_mb": lambda wildcards, input, attempt: request.memory(images(input)) * attempt,
        "runtime": lambda wildcards, input, attempt: request.runtime(images(input)) * attempt,
    }


def peak_memory(rules: Iterable[str], images: int) -> dict[str, int]:
    """MiB of each rule whose memory grows with the pool; the largest first."""
    found = {rule: REQUESTS[rule].memory(images) for rule in sorted(set(rules)) if rule in REQUESTS}
    return dict(sorted(found.items(), key=lambda item: -item[1]))
