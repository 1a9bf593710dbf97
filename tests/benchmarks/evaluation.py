"""COCO's twelve numbers of 5,000 images with 100 detections each, against pycocotools.

python tests/benchmarks/evaluation.py. To reach: ratio 40, every number the same within 1e-6.
"""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path

import _measure
import numpy as np
import numpy.typing as npt

from mgral.core.types import Boxes, Dataset, Detections, Image
from mgral.detection.coco_engines import Engine, coco_run, installed

IMAGES, DETECTIONS, OBJECTS, CLASSES = 5_000, 100, 7, 80  # COCO's val: 7 objects an image
SIDE = 640  # pixels
TOLERANCE = 1e-6


def scattered(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """[count, 4] boxes of 8 to 300 pixels a side."""
    corner, side = rng.uniform(0, SIDE - 300, (count, 2)), np.exp(rng.uniform(np.log(8), np.log(300), (count, 2)))
    return np.hstack([corner, corner + side])


def world(images: int) -> tuple[Dataset, dict[int, Detections]]:
    """Objects, one in fifty ignored; half of the detections lie near an object and half anywhere."""
    rng = np.random.default_rng(0)
    boxes, found = {}, {}
    for i in range(1, images + 1):
        objects, labels = scattered(rng, OBJECTS), rng.integers(0, CLASSES, OBJECTS)
        boxes[i] = Boxes(objects.astype(np.float32), labels, rng.random(OBJECTS) < 0.02)
        near = rng.integers(0, OBJECTS, DETECTIONS // 2)
        elsewhere = DETECTIONS - len(near)
        side = np.tile(objects[near, 2:] - objects[near, :2], 2)
        rows = np.vstack([objects[near] + 0.1 * side * rng.standard_normal(side.shape), scattered(rng, elsewhere)])
        rows[:, 2:] = np.maximum(rows[:, 2:], rows[:, :2] + 1)
        order = rng.permutation(DETECTIONS)
        found[i] = Detections(
            rows[order].astype(np.float32),
            np.sort(rng.random(DETECTIONS).astype(np.float32))[::-1],
            np.concatenate([labels[near], rng.integers(0, CLASSES, elsewhere)])[order],
            np.zeros((DETECTIONS, 0), np.float32),
        )
    listed = {i: Image(i, f"{i}.jpg", SIDE, SIDE, "test") for i in boxes}
    return Dataset(tuple(f"class {k}" for k in range(CLASSES)), listed, boxes, Path()), found


def main() -> None:
    images = 50 if _measure.small(__doc__ or "", threads=1) else IMAGES
    dataset, found = world(images)
    engine = installed()[0]

    def timed(engine: Engine) -> tuple[float, npt.NDArray[np.float64], float]:
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run = coco_run(dataset, found, found, engine)
            run.evaluate()
            run.accumulate()
            run.summarize()
        return time.perf_counter() - start, np.asarray(run.stats), _measure.peak_mib()

    before = _measure.peak_mib()
    seconds, stats, peak = timed(engine)
    plain, expected, plain_peak = timed("pycocotools")
    difference = float(np.abs(stats - expected).max())
    print(f"{images} images × {DETECTIONS}: {engine} {seconds:.2f} s, pycocotools {plain:.2f} s")
    print(f"peak: {before:.0f} MiB before, {peak:.0f} after the first, {plain_peak:.0f} after pycocotools")
    print(f"twelve numbers, mAP {expected[0]:.4f}: largest difference {difference:.1g}")
    if difference > TOLERANCE:
        raise SystemExit(f"the engines disagree: {stats} against {expected}")
    _measure.last_line(plain / seconds, seconds, peak)


if __name__ == "__main__":
    main()
