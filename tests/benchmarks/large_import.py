"""An import of 120,000 images with 900,000 boxes in COCO format, and the canonical file read again.

python tests/benchmarks/large_import.py. To reach: import in 30 seconds and 1,024 MiB, reading in 5 seconds. The images
are small, so their decoding hardly counts. The plain implementation, for the ratio, reads the same canonical file with
Python's ``json`` and builds nothing of it.
"""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from mgral.config.schema import DatasetParams
from mgral.data import dataset_json, importing

IMAGES, BOXES = 120_000, 900_000
SIZE = (64, 48)
CLASSES = 80


def write(root: Path, images: int, boxes: int) -> None:
    """A COCO data set; no two image files are equal."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    pictures = []
    for _ in range(16):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)).save(file, "JPEG")
        pictures.append(file.getvalue())
    entries = []
    for i in range(1, images + 1):
        name = f"{i:08}.jpg"
        (root / "images" / name).write_bytes(pictures[i % len(pictures)] + str(i).encode())
        split = "val" if i % 20 == 0 else "test" if i % 20 == 1 else "train"
        entries.append({"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1], "split": split})
    corners = np.round(rng.uniform(0, 20, (boxes, 2)), 2).tolist()
    sides = np.round(rng.uniform(3, 25, (boxes, 2)), 2).tolist()
    where, what = rng.integers(1, images + 1, boxes).tolist(), rng.integers(1, CLASSES + 1, boxes).tolist()
    objects = [
        {"id": i + 1, "image_id": where[i], "category_id": what[i], "bbox": corners[i] + sides[i], "iscrowd": 0}
        for i in range(boxes)
    ]
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
    with (root / "annotations.json").open("w") as out:
        json.dump({"images": entries, "annotations": objects, "categories": categories}, out)


def step(what: str, root: Path) -> dict[str, float]:
    """Run one step in a process of its own. Returns its seconds, those on a processor, and its peak of memory."""
    started = time.perf_counter()
    child = subprocess.run(
        [sys.executable, __file__, "--step", what, "--root", str(root)], check=True, capture_output=True
    )
    found: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return {"seconds": time.perf_counter() - started, **found}


def run_step(what: str, root: Path) -> None:
    """In the process of one step: do it, and print processor time and memory."""
    out = root / "dataset.json"
    if what == "import":
        given: dict[str, Any] = {"format": "coco", "root": str(root), "on_invalid": "fail", "options": {}}
        given["splits"] = {"val": 0.0, "test": 0.0, "seed": 0}
        dataset, info = importing.import_dataset(DatasetParams.parse(given, "dataset"))
        dataset_json.write(dataset, info, out)
    elif what == "read":
        dataset_json.read(out)
    else:
        json.loads(out.read_text(encoding="utf-8"))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(part.ru_utime + part.ru_stime for part in used)
    print(json.dumps({"processor": processor, "mib": own_peak_mib()}))


def own_peak_mib() -> float:
    """Peak memory of this process: ``ru_maxrss`` of a child begins with that of its parent."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    raise RuntimeError("the system does not tell the peak of memory")


def main() -> None:
    if "--step" in sys.argv:
        logging.disable()
        os.environ["TQDM_DISABLE"] = "1"
        run_step(sys.argv[sys.argv.index("--step") + 1], Path(sys.argv[sys.argv.index("--root") + 1]))
        return
    import _measure  # it imports torch, which no import of a data set does: not in the process of a step

    small = _measure.small(__doc__ or "", 1)
    images, boxes = (2_000, 15_000) if small else (IMAGES, BOXES)
    with TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        write(root, images, boxes)
        found = {what: step(what, root) for what in ("import", "read", "plain")}
        size = (root / "dataset.json").stat().st_size / 2**20
    for what, figures in found.items():
        print(
            f"{what}: {figures['seconds']:.1f} s, {figures['processor']:.1f} s on a processor, {figures['mib']:.0f} MiB"
        )
    print(f"{images} images, {boxes} boxes, dataset.json of {size:.0f} MiB")
    ratio = found["plain"]["processor"] / found["read"]["processor"]
    _measure.last_line(ratio, found["import"]["processor"], found["import"]["mib"])


if __name__ == "__main__":
    main()
