"""Memory of embedding COCO's pool: 117,266 images with 100 detections of 80 classes each, by a RetinaNet of 640 pixels.

python tests/benchmarks/embed.py. To reach: 4,096 MiB. The network runs over one batch of noise (its memory is the
same for every batch); for the other images the step gets random numbers, and writes them as it writes real detections.
``--real 0`` leaves the network out. --images is the size of the pool.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import _measure
import numpy as np

from mgral.config.schema import Evaluation, Machine
from mgral.core.types import Boxes, Dataset, Detections, Embeddings, Image
from mgral.data.image_cache import Cache
from mgral.detection import detections_file
from mgral.detection.base import EMBEDDING_DIM, build_detector
from mgral.detection.device import prepare_device
from mgral.detection.embedding import embed
from mgral.detection.inference import InferenceResult, in_parts

IMAGES, DETECTIONS, CLASSES, SIDE = 117_266, 100, 80, 640
PART = 32  # images that are made up at a time
EVALUATION = Evaluation(score_threshold=0.001, nms_iou=0.5, max_detections=DETECTIONS)


class Trainer:
    """Runs a network over the first ``real`` images, and makes up what it finds in the others."""

    activation = "sigmoid"

    def __init__(self, folder: Path, real: int) -> None:
        self.real, self.found = real, 0
        images = {i: Image(i, f"{i}.jpg", SIDE, SIDE, "train") for i in range(real)}
        self.dataset = Dataset(tuple(map(str, range(CLASSES))), images, dict.fromkeys(images, Boxes.empty()), folder)
        pixels = np.random.default_rng(0).integers(0, 256, (real, SIDE, SIDE, 3), np.uint8)
        np.save(folder / "images.npy", pixels)

    def infer_in_parts(self, ids: Sequence[int], features: bool, embed: bool = True) -> Iterator[InferenceResult]:
        if self.real:
            machine = prepare_device(Machine(device="cpu", threads=1, precision="fp32"))
            detector = build_detector("retinanet", self.dataset.classes, SIDE, {}, seed=0)
            cache = Cache(self.dataset, self.dataset.root / "images.npy")
            for part in in_parts(detector, cache, ids[: self.real], EVALUATION, machine, features=features):
                self.found += sum(map(len, part.detections.values()))
                yield part
            del detector
        rng = np.random.default_rng(1)
        for start in range(self.real, len(ids), PART):
            chosen = ids[start : start + PART]
            vectors = rng.random((len(chosen), EMBEDDING_DIM), np.float32)
            made = {i: self._made_up(rng, features) for i in chosen}
            yield InferenceResult(made, Embeddings(np.asarray(chosen, np.int64), vectors))

    def _made_up(self, rng: np.random.Generator, features: bool) -> Detections:
        probs = rng.random((DETECTIONS, CLASSES), np.float32)
        described = rng.random((DETECTIONS, 64), np.float32).astype(np.float16) if features else None
        return Detections(probs[:, :4], probs[:, 0], np.zeros(DETECTIONS, np.int64), probs, described)


def main() -> None:
    given = _measure.read(__doc__ or "", 1, images=IMAGES, real=PART, features=0)
    images, real = (200, 0) if given.small else (given.images, given.real)
    keep = detections_file.KEPT if given.features else ("probabilities",)
    with TemporaryDirectory() as name:
        folder = Path(name)
        trainer = Trainer(folder, real)
        start, files = time.perf_counter(), (folder / "embeddings.npz", folder / "detections.npz")
        embed(trainer, range(images), CLASSES, *files, keep)  # type: ignore[arg-type]
        seconds, peak = time.perf_counter() - start, _measure.peak_mib()
        size = files[1].stat().st_size
        print(f"{images} images × {DETECTIONS}: {size / 1e9:.2f} GB of detections, {size / images:.0f} bytes an image")
        print(f"by the network: {trainer.found} detections in {real} images")
        found, _ = detections_file.read(files[1])
        looked = sum(float(one.probs.max(initial=0)) for one in found.values())
        print(f"reading them one by one: mean of the largest probability {looked / images:.3f}")
        _measure.last_line(None, seconds, max(peak, _measure.peak_mib()))


if __name__ == "__main__":
    main()
