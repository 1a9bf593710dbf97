"""The things that pass between the rooms of the house, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mgral.core.errors import MgralError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Activation = Literal["softmax", "sigmoid"]
Kind = Literal["unlabelled", "replay", "control"]
RECORD_KINDS: tuple[Kind, ...] = ("unlabelled", "replay", "control")

Floats = npt.NDArray[np.float32]
Halfs = npt.NDArray[np.float16]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

FEATURE_DIM = 64  # of a detection


@dataclass(frozen=True)
class Image:
    """One image of a data set.

    Attributes:
        id: unique in the data set; a positive whole number.
        file_name: path below the image root, with forward slashes.
        width, height: pixels, as in the file; of a tile its own.
        split: ``train`` is the pool, ``val`` gives rewards, ``test`` is reported.
        since: the cycle in which it joined; 0 for what was there when the run began.
        tile: of a part of a larger image: that image's id, and where the part's left and upper side lie in the file,
            pixels. None: the whole file.
    """

    id: int
    file_name: str
    width: int
    height: int
    split: Split
    since: int = 0
    tile: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Tiling:
    """How images that are larger than a tile are cut; see :mod:`mgral.data.tiles`.

    Attributes:
        size: side of a tile, pixels of the original image.
        overlap: of neighbouring tiles, pixels, below ``size``.
        visible: share of a box, 0..1, that a tile must show for the box to be an object there; with less of it the
            part is an ignored region.
    """

    size: int
    overlap: int
    visible: float


@dataclass(frozen=True)
class Boxes:
    """Ground truth of one image.

    Attributes:
        xyxy: [n, 4] float32, pixels of the original image, 0 <= x1 < x2 <= width, 0 <= y1 < y2 <= height.
        labels: [n] int64, index into the data set's classes, 0 … C-1.
        ignore: [n] bool; crowd regions and VOC's ``difficult`` objects: neither trained on nor counted.
    """

    xyxy: Floats
    labels: Ints
    ignore: Bools

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def empty() -> Boxes:
        """No box at all."""
        return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))


@dataclass(frozen=True)
class Dataset:
    """A data set in canonical form (on disk: COCO JSON and an image root).

    Attributes:
        classes: names; a class's index is its position.
        images: by id, in ascending order of id.
        boxes: ground truth by image id; an image without entry has no annotation (an unlabelled folder).
        root: the image root.
        tiling: how larger images are cut before a detector sees them; None: they are not.
    """

    classes: tuple[str, ...]
    images: Mapping[int, Image]
    boxes: Mapping[int, Boxes]
    root: Path
    tiling: Tiling | None = None

    def ids(self, split: Split) -> list[int]:
        """Ids of a split, ascending."""
        return [image.id for image in self.images.values() if image.split == split]


@dataclass(frozen=True)
class Detections:
    """What a detector says of one image, best score first.

    Attributes:
        xyxy: [n, 4] float32, pixels of the original image.
        scores: [n] float32 in 0..1, probability of ``labels``.
        labels: [n] int64, 0 … C-1.
        probs: [n, K] float32. ``softmax``: K = C + 1, background first, rows sum to 1. ``sigmoid``: K = C,
            each entry a probability of its own. [n, 0] where they were not kept.
        features: [n, 64] float16, what each detection looks like: of length 1, or 0 where the map is dark. None if
            nothing was kept of it.
    """

    xyxy: Floats
    scores: Floats
    labels: Ints
    probs: Floats
    features: Halfs | None = None

    def __len__(self) -> int:
        return len(self.labels)


Detect = Callable[[Sequence[int]], Mapping[int, Detections]]  # what a detector finds in images, by their ids


@dataclass(frozen=True)
class Embeddings:
    """Image embeddings.

    Attributes:
        ids: [N] int64, ascending.
        vectors: [N, 256] float32, or float16 in a mapped file, finite; row i belongs to ids[i].
        objects: [N, C] float32, finite; objects of each class that the same detector expects in an image: the sum of
            its detections' scores. None where nobody asked.
        quality: [N, 2] float32, finite; sharpness and clipped share of the images (:mod:`mgral.data.image_quality`).
            None where they were not measured.

    Raises:
        MgralError: an embedding, a number of objects or a quality that is not finite.
    """

    ids: Ints
    vectors: Floats
    objects: Floats | None = None
    quality: Floats | None = None

    def __post_init__(self) -> None:
        of_images = ("an embedding", self.vectors), ("a number of objects", self.objects), ("a quality", self.quality)
        for what, rows in of_images:
            if rows is not None and rows.size and not (np.isfinite(rows.min()) and np.isfinite(rows.max())):
                first = int(np.isfinite(rows).all(axis=1).argmin())
                raise MgralError(f"image {self.ids[first]} has {what} that is not finite; train the detector again")

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        return int(self.vectors.shape[1])

    def places(self, ids: Sequence[int] | Ints) -> Ints:
        """[len(ids)] rows of images. Raises MgralError for an id that has no embedding."""
        return places_of(self.ids, ids, "embedding; run `mgral embed` again")

    def rows(self, ids: Sequence[int]) -> Floats:
        """[len(ids), 256] float32, a copy in the order asked for. Raises MgralError for an id without embedding."""
        return self.vectors[self.places(ids)].astype(np.float32, copy=False)

    def columns(self, some: slice) -> Floats:
        """[N, …] some columns of all images, in the precision that they are kept in."""
        return self.vectors[:, some]


@dataclass(frozen=True)
class Patterns:
    """Local patterns of images, by a backbone that is no part of the detector.

    Attributes:
        ids: [N] int64, ascending.
        vectors: [N, K, D] float16, finite: K patterns of image ids[i].
    """

    ids: Ints
    vectors: Halfs

    def rows(self, ids: Sequence[int]) -> Halfs:
        """[len(ids), K, D], in the order asked for. Raises MgralError for an id that has no patterns."""
        return self.vectors[places_of(self.ids, ids, "local patterns; run `mgral foundation-features` again")]


@dataclass(frozen=True)
class ImageScores:
    """What a strategy found out about unlabelled images by a look or a training of its own.

    Attributes:
        ids: [N] int64, ascending.
        terms: float64 [N, …] by name, finite; row i of each belongs to ids[i].
    """

    ids: Ints
    terms: Mapping[str, Doubles]


@dataclass(frozen=True)
class Record:
    """One priced batch of the lookup table.

    Attributes:
        ids: the batch, ascending.
        generator: what drew it: random, uncertain, cluster, …, search.
        mAP: of the proxy trained on the labelled pool and this batch, on val, 0..1. Of one that was stopped: what it
            would have had, if it had kept its distance from random batches.
        seconds: wall time of the proxy run.
        kind: how the batch entered that training. ``unlabelled``: by the semi-supervised term, without its labels;
            ``replay``: with its labels, being a part of the labelled pool that was held out; ``control``: as
            unlabelled, with weight zero.
        cycle: whose labelled pool and detector that proxy had, 0 or more.
        partway: mAP on val after ``proxy.stop_at`` of the steps, 0..1; None where proxies are not stopped.
        stopped: whether the proxy was stopped there, as hopeless.
        per_class: AP on val of each class, 0..1, None for one without ground truth there; None as a whole for a record
            of an earlier version, and for a proxy that was stopped.
        vector: the batch in the representation ``growth``, as the detector of its own cycle and pool saw it
            (:meth:`mgral.reward.growth.World.features`, flat); None before a table has described it, and elsewhere.
        split: of replay, the number of the draw of held-out images that the batch is of, from 1; else 1.
    """

    ids: tuple[int, ...]
    generator: str
    mAP: float
    seconds: float
    kind: Kind = "unlabelled"
    cycle: int = 0
    partway: float | None = None
    stopped: bool = False
    per_class: tuple[float | None, ...] | None = None
    vector: tuple[float, ...] | None = None
    split: int = 1

    @property
    def peers(self) -> tuple[int, str, int]:
        """Cycle, kind and split: records that have these in common are compared with each other."""
        return self.cycle, self.kind, self.split


@dataclass(frozen=True)
class Pick:
    """One selected image.

    Attributes:
        id: the image.
        score: the larger, the earlier it was wanted; what it means depends on the strategy.
        reason: the terms that made the score, e.g. ``{"entropy": 3.2, "detections": 7}``.
    """

    id: int
    score: float
    reason: Mapping[str, float | int | str] = field(default_factory=dict)


def places_of(known: Ints, ids: Sequence[int] | Ints, what: str) -> Ints:
    """[len(ids)] where the ids are among ascending ones. Raises MgralError for one that is not."""
    if not len(ids):
        return np.zeros(0, np.int64)
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    missing = np.asarray(ids)[known[at] != np.asarray(ids)] if len(known) else ids
    if len(missing):
        raise MgralError(f"image {missing[0]} has no {what}")
    return at
