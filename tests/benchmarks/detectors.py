"""Each detector of this package on BCCD: images a second, and the AP after a stated time of training.

python tests/benchmarks/detectors.py measures all but mmdet, one after the other; names choose some. mmdet is measured
by its own environment: .venv-mmdet/bin/python tests/benchmarks/detectors.py mmdet mmdet_ssd300. 200 labelled images are
drawn from train, so many steps taken as fit in --seconds of processor time on one thread, and the images of test
evaluated. How many fit is measured by a trial of a tenth of that time, so that other work on the machine counts little.
Figures are kept in docs/results/detectors.json, and the table of docs/detectors.md is written from them.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import _measure
import torch
from all import machine, versions

from mgral.config import loading
from mgral.config.schema import DatasetParams, Evaluation, Machine
from mgral.core import plugins, random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Dataset
from mgral.data import image_cache, importing
from mgral.detection.average_precision import evaluate
from mgral.detection.base import build_detector
from mgral.detection.device import prepare_device
from mgral.detection.inference import run_inference
from mgral.detection.training import TrainingConfig, fit

ROOT = Path(__file__).resolve().parents[2]
FIGURES, PAGE = ROOT / "docs/results/detectors.json", ROOT / "docs/detectors.md"
BEGIN, END = "<!-- figures: python tests/benchmarks/detectors.py -->\n", "<!-- end of figures -->\n"
DATA = Path(os.environ.get("MGRAL_DATA", ROOT.parent / "shared/data"))
LABELLED, SEED, TRIAL, SECONDS = 200, 0, 3, 60
IMAGENET = {
    "weights": str(DATA / "backbones/mobilenetv1_100.imagenet.safetensors"),
    "pad_type": "same", "bn_eps": 0.001, "mean": [0.5] * 3, "std": [0.5] * 3,
}  # fmt: skip
FEW = {"backbone": "resnet18", "anchors": [8, 16, 32, 64, 96], "proposals": 100, "regions": 64}


@dataclass(frozen=True)
class Setting:
    """How a detector is trained here.

    Attributes:
        what: the network, for the table.
        size: side of the input, pixels.
        batch: images a step.
        rate: peak of the learning rate.
        options: of the detector.
        detector: its name; empty: that of the setting.
    """

    what: str
    size: int = 160
    batch: int = 4
    rate: float = 5e-4
    options: dict[str, Any] = field(default_factory=dict)
    detector: str = ""


SETTINGS = {
    "tiny_ssd": Setting("1 M parameters", batch=12, rate=4e-3),
    "ssd": Setting("MobileNetV1, ImageNet weights, frozen", batch=12, rate=2e-3, options=IMAGENET),
    "ssd300": Setting("VGG16", size=300),
    "retinanet": Setting("ResNet-50"),
    "retinanet_v2": Setting("ResNet-50"),
    "ssdlite": Setting("MobileNetV3", size=320, batch=12, rate=2e-3),
    "fasterrcnn": Setting("ResNet-18, few proposals", options=FEW),
    "fcos": Setting("ResNet-18", options={"backbone": "resnet18"}),
    "mmdet": Setting("its RetinaNet, ResNet-50", options={"config": "retinanet"}),
    "mmdet_ssd300": Setting("its SSD300, VGG16", size=300, options={"config": "ssd300"}, detector="mmdet"),
}
OF_MMDET = "mmdet", "mmdet_ssd300"  # measured by its own environment


def bccd() -> Dataset:
    """Blood cells with their own splits."""
    given = {
        "format": "voc", "root": str(DATA / "bccd"), "options": {}, "on_invalid": "drop",
        "splits": {"val": 0.2, "test": 0.2, "seed": 0},
    }  # fmt: skip
    return importing.import_dataset(DatasetParams.parse(given, "params"))[0]


def measured(name: str, seconds: float, folder: Path) -> dict[str, Any]:
    """Train and evaluate one detector; its figures."""
    setting, dataset = SETTINGS[name], bccd()
    device = prepare_device(Machine(device="cpu", threads=torch.get_num_threads(), precision="fp32"))
    image_cache.build(dataset, setting.size, folder / "images.npy")
    cache = image_cache.Cache(dataset, folder / "images.npy")
    train = dataset.ids("train")
    chosen = random_streams.generator(SEED, "benchmark").choice(train, min(LABELLED, len(train)), replace=False)
    labelled, test = sorted(map(int, chosen)), dataset.ids("test")

    def trained(steps: int) -> tuple[Any, float]:
        detector = build_detector(setting.detector or name, dataset.classes, setting.size, setting.options, SEED)
        plan = TrainingConfig(steps, setting.batch, setting.rate, 5e-4, min(20, steps), augment=True)
        start = time.process_time()
        fit(detector, cache, labelled, plan, device, SEED)
        return detector, time.process_time() - start

    trained(1)  # what only a first step takes
    trial = max(int(seconds / 10 / trained(TRIAL)[1] * TRIAL), TRIAL)
    steps = max(int(seconds / trained(trial)[1] * trial), TRIAL)
    detector, spent = trained(steps)
    start = time.process_time()
    found = run_inference(detector, cache, test, _evaluation(), device)
    looked = time.process_time() - start
    result = evaluate(dataset, found.detections, test, _evaluation().max_detections)
    return {
        "what": setting.what, "size": setting.size, "batch": setting.batch, "rate": setting.rate, "steps": steps,
        "labelled": len(labelled), "test": len(test), "seconds": spent, "training": steps * setting.batch / spent,
        "inference": len(test) / looked, "AP": result["mAP"], "AP50": result["AP50"], "peak_mib": _measure.peak_mib(),
        "threads": torch.get_num_threads(), "python": sys.prefix.rsplit("/", 1)[-1], **_where(),
    }  # fmt: skip


def _evaluation() -> Evaluation:
    return Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=100)


def _where() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "machine": machine(), "load": round(os.getloadavg()[2], 1), "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "torch": versions()["torch"],
    }  # fmt: skip


def refused(name: str) -> list[str]:
    """The strategies that are refused with a detector, and not with `tiny_ssd`, when parameters are checked."""
    return [one for one in plugins.names("strategies") if _serves("tiny_ssd", one) and not _serves(name, one)]


@functools.cache
def _base() -> dict[str, Any]:
    base: dict[str, Any] = loading.read_yaml(ROOT / "params/base.yaml")
    return base


@functools.cache
def _serves(detector: str, strategy: str) -> bool:
    command = {"train": "a {train} {weights} {seed}", "predict": "b {weights} {list} {results}"}
    given = {
        "detector": {"name": detector, "options": command if detector == "command" else {}},
        "strategies": [strategy], "embedding": {"weights": "random"}, "proxy": {"kind": "replay", "start": "scratch"},
    }  # fmt: skip
    try:
        loading.check(loading.merge(_base(), given), "benchmark")
    except MgralError:
        return False
    return True


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown."""
    heads = "detector", "network", "environment", "pixels", "steps × batch", "training", "inference", "AP", "AP50"
    rows = [f"| {' | '.join([*heads, 'peak memory', 'refused strategies'])} |", "|" + "---|" * (len(heads) + 2)]
    places: dict[str, list[str]] = {}
    for name in SETTINGS:
        if name not in figures:
            continue
        one, detector = figures[name], SETTINGS[name].detector or name
        values = [
            f"`{detector}`", one["what"], f"`{one['python']}`", one["size"], f"{one['steps']} × {one['batch']}",
            f"{one['training']:.3g} images/s", f"{one['inference']:.3g} images/s", f"{one['AP']:.3f}",
            f"{one['AP50']:.3f}", f"{one['peak_mib']:,.0f} MiB", ", ".join(refused(detector)) or "none",
        ]  # fmt: skip
        rows.append(f"| {' | '.join(map(str, values))} |")
        where = f"{one['machine']}, torch {one['torch']}, {one['threads']} thread"
        what = f"{name} ({one['seconds']:.0f} s of training, {one['day']}, load {one['load']})"
        places.setdefault(where, []).append(what)
    ran = [f"On {where}: {', '.join(names)}." for where, names in places.items()]
    return "\n".join([*rows, "", *ran, ""])


def write(figures: dict[str, dict[str, Any]]) -> None:
    """Keep the figures, and write the page's table."""
    FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(figures)}\n{END}{rest.split(END)[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", choices=[*SETTINGS, []], metavar="NAME", help="which; default: all but mmdet"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of training; default {SECONDS}")
    parser.add_argument("--small", action="store_true", help="a quick check that it runs; nothing is written")
    given = parser.parse_args()
    names = given.names or [name for name in SETTINGS if name not in OF_MMDET]
    if len(names) > 1:  # each in a process of its own, so that peaks of memory are its own
        options = ["--small"] if given.small else ["--seconds", str(given.seconds)]
        for name in names:
            subprocess.run([sys.executable, __file__, name, *options], check=True)
        return
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        found = measured(names[0], 1 if given.small else given.seconds, Path(folder))
    print(f"{names[0]}: {json.dumps(found)}")
    if not given.small:
        write({**(json.loads(FIGURES.read_text()) if FIGURES.exists() else {}), names[0]: found})
    _measure.last_line(None, found["seconds"], found["peak_mib"])


if __name__ == "__main__":
    main()
