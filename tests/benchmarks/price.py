"""The price of one batch of 1,000 images, against brute force in NumPy over records and ids.

python tests/benchmarks/price.py. To reach: 0.001 seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import _measure
import numpy as np

THREADS = 2
IMAGES, WIDTH = 15_551, 256
BATCH, RECORDS = 1_000, 200
REPEATS, PLAIN_REPEATS = 500, 20  # medians of so many, each of another batch


def main() -> None:
    small = _measure.small(__doc__ or "", THREADS)
    images, batch, records = (300, 20, 10) if small else (IMAGES, BATCH, RECORDS)
    embeddings = _measure.pool(images, WIDTH)
    table = _measure.table(embeddings, records, batch)
    row = {image: k for k, image in enumerate(embeddings.ids.tolist())}

    def mean(ids: tuple[int, ...]) -> np.ndarray:
        return embeddings.vectors[[row[i] for i in ids]].mean(axis=0)

    def plain(ids: tuple[int, ...]) -> float:
        query = mean(ids)
        distances = np.array([np.linalg.norm(query - mean(record.ids)) for record in table.records])
        nearest = np.argsort(distances)[: table.params.neighbours]
        weights = 1 / distances[nearest]
        return float(weights @ np.array([table.gain(table.records[k]) for k in nearest]) / weights.sum())

    rng = np.random.default_rng(2)
    batches = [tuple(sorted(rng.choice(embeddings.ids, batch, replace=False).tolist())) for _ in range(REPEATS)]

    def median(price: Callable[[tuple[int, ...]], float], repeats: int) -> tuple[float, list[float]]:
        seconds, values = [], []
        for ids in batches[:repeats]:
            start = time.perf_counter()
            values.append(price(ids))
            seconds.append(time.perf_counter() - start)
        return float(np.median(seconds)), values

    own, values = median(lambda ids: float(table.price([ids]).value[0]), REPEATS)
    peak = _measure.peak_mib()
    other, expected = median(plain, PLAIN_REPEATS)
    if not np.allclose(values[:PLAIN_REPEATS], expected, rtol=0, atol=1e-6):
        raise SystemExit("the prices disagree")
    print(f"{records} records of {batch} images: {own * 1e3:.3f} ms; plain: {other * 1e3:.1f} ms")
    _measure.last_line(other / own, own, peak)


if __name__ == "__main__":
    main()
