"""What one step of each kind takes on this machine: the real code, for a few steps, on some of the real images."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mgral.agent import reinforce
from mgral.agent.policy import Policy, Seen
from mgral.config.schema import Params
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.run_layout import CYCLE
from mgral.core.types import Dataset, Embeddings, Record
from mgral.data import image_cache, tiles
from mgral.data.image_cache import Cache
from mgral.data.pool import Pool
from mgral.data.resizing import Resizing
from mgral.detection import detections_file
from mgral.detection.average_precision import evaluate
from mgral.detection.base import EMBEDDING_DIM, build_detector, save_detector
from mgral.detection.device import Device, prepare_device
from mgral.detection.inference import run_inference
from mgral.detection.training import TrainingConfig, fit
from mgral.planning.forecast import Timing
from mgral.planning.requests import EMBEDDING, HALF
from mgral.reward.batch_price import BatchPrice
from mgral.reward.growth import COVERED, PLAIN, World, Worlds
from mgral.reward.lookup_table import LookupTable
from mgral.reward.proxy import ProxyTrainer

Clock = Callable[[Callable[[], object]], float]  # seconds of a call

STEPS = 5  # that are timed, after two that are not
IMAGES = 64  # of train, and half as many of val, at most


def run(dataset: Dataset, params: Params, keep: Collection[str]) -> Timing:
    """Time a step of each kind, as if the machine had nothing else to do.

    On a processor that is its time divided by ``machine.threads``, whatever else runs; on a GPU the time on the wall.
    The detector has hardly been trained, so it finds more than it will later, and looking takes longer.

    Args:
        dataset: of the run; a few of its images are decoded.
        params: the experiment.
        keep: what its strategies read of detections, see ``mgral embed --keep``.

    Raises:
        MgralError: there are too few images, one cannot be read, or an option is unfit.
    """
    machine = prepare_device(params.machine)
    few = _some(dataset)
    if len(few.ids("train")) < 2 or not few.ids("val"):
        raise MgralError(
            "dataset: a probe needs two annotated images in train and one in val; give val a share (dataset.splits)"
        )
    clock = _clock(machine, params.machine.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache, decode = _decoded(few, params, clock, folder)
        found = _detector_steps(few, cache, params, keep, machine, clock, folder)
        scan, agent = _search(dataset, params, machine, clock, folder)
        return Timing(
            light=_started("mgral.cli", "mgral.report.learning_curves"),
            start=_started(
                "mgral.cli", "mgral.reward.proxy", "mgral.detection.average_precision", "mgral.data.importing"
            ),
            decode=decode,
            scan=scan,
            agent=agent,
            **found,
        )


def _decoded(few: Dataset, params: Params, clock: Clock, folder: Path) -> tuple[Cache, float]:
    """The cache of a few images, and seconds to decode an input; 0 where each step decodes its own in its time."""
    resizing = Resizing.of(params.resize, params.image_size, params.longest_edge)
    decode = clock(lambda: image_cache.build(few, resizing, folder / "images.npy")) / len(tiles.cut(few)[0].images)
    if params.cache == "none":
        image_cache.build(few, resizing, folder / "images.npy", decoded=False)
        decode = 0.0
    return Cache(few, folder / "images.npy", params.machine.decoders), decode


def _detector_steps(
    few: Dataset, cache: Cache, params: Params, keep: Collection[str], machine: Device, clock: Clock, folder: Path
) -> dict[str, Any]:
    """Of training, inference and a proxy: the times and sizes of :class:`~mgral.planning.forecast.Timing`, by name."""
    train, val = few.ids("train"), few.ids("val")
    labelled, batch = train[: len(train) // 2], train[len(train) // 2 :]
    detector = build_detector(params.detector.name, few.classes, cache.size, params.detector.options, seed=0)
    plan = TrainingConfig(**params.training.model_dump(exclude={"checkpoint_every"}))
    _, step = _line(
        clock,
        lambda steps: fit(detector, cache, labelled, _of(plan, steps), machine, random_streams.stream("probe")),
    )
    weights = folder / CYCLE.detector
    save_detector(detector, weights)

    def see() -> None:
        views = run_inference(detector, cache, val, params.evaluation, machine)
        evaluate(few, views.detections, val, params.evaluation.max_detections)

    see()
    looked_at = len(cache.inputs(val))
    looked = clock(see) / looked_at
    views = run_inference(detector, cache, train, params.evaluation, machine, features="features" in keep)
    path = folder / CYCLE.detections
    detections_file.write(path, views.detections, detector.activation, len(few.classes), keep)
    pool = Pool(0, dict.fromkeys(labelled, 0), tuple(batch))

    def priced(steps: int) -> Record:
        short = params.proxy.model_copy(update={"steps": steps, "stop_at": 0.0})
        chosen = (params.detector, short, params.evaluation)
        return ProxyTrainer(few, cache, pool, weights, chosen, machine, 0).train(batch, "random", params.proxy.kinds[0])

    rest, proxy_step = _line(clock, priced)
    return {
        "step": step,
        "look": looked,
        "proxy_step": proxy_step,
        "proxy": max(rest - looked_at * looked, 0.0),
        "detector": weights.stat().st_size,
        "detections": path.stat().st_size // len(train),
        "embedding": HALF if params.embedding.precision == "float16" else EMBEDDING,
    }


def _some(dataset: Dataset) -> Dataset:
    """A few annotated images of the data set, of the splits that training and rewards read."""
    train, val = ([i for i in dataset.ids(split) if i in dataset.boxes] for split in ("train", "val"))
    chosen = sorted([*train[:IMAGES], *val[: IMAGES // 2]])
    kept = {i: dataset.images[i] for i in chosen}
    return replace(dataset, images=kept, boxes={i: dataset.boxes[i] for i in chosen})


def _search(
    dataset: Dataset,
    params: Params,
    machine: Device,
    clock: Clock,
    folder: Path,
) -> tuple[float, int]:
    """Seconds of an iteration over the whole pool, with a table of random records; size of the agent."""
    ids = dataset.ids("train")
    random = random_streams.generator("probe")
    embeddings = Embeddings(
        np.asarray(ids, np.int64),
        random.standard_normal((len(ids), EMBEDDING_DIM), np.float32),
        random.random((len(ids), len(dataset.classes)), np.float32),
    )
    size = min(params.budget.batch, len(ids) - 1)
    records = [
        Record(tuple(sorted(random.choice(ids, size, replace=False).tolist())), "random", float(random.random()), 0.0)
        for _ in range(params.proxy.records)
    ]
    gpu, worlds = machine.torch_device.type == "cuda", None
    state: Seen = embeddings
    if params.table.representation == "growth":
        world = _any_world(embeddings, random)
        worlds, state = Worlds(world), BatchPrice(world, None).agent_state(embeddings)
    table = LookupTable(records, embeddings, params.table, gpu, worlds)
    policy = Policy.of(params.agent, state.width, 0)
    policy.save(folder / CYCLE.agent)

    def iterate(steps: int) -> object:
        own = params.search.model_copy(update={"iterations": steps, "patience": 0})
        return reinforce.run(policy, state, ids, table, size, own, seed=0, train_on=params.agent.train_on)

    return _line(clock, iterate)[1], (folder / CYCLE.agent).stat().st_size


def _any_world(embeddings: Embeddings, random: np.random.Generator) -> World:
    """A pool with made-up signals, all of it unlabelled."""
    assert embeddings.objects is not None
    count, classes = embeddings.objects.shape
    return World(
        ids=embeddings.ids,
        expected=embeddings.objects.astype(np.float64),
        boxes=np.ones(classes),
        competence=np.ones(classes),
        scores=random.random((count, len(COVERED + PLAIN))),
        squares=np.full(count, np.inf),
        scale=1.0,
        labelled=0,
        vectors=embeddings.vectors,
    )


def _of(plan: TrainingConfig, steps: int) -> TrainingConfig:
    return TrainingConfig(**{**vars(plan), "steps": steps})


def _line(clock: Clock, work: Callable[[int], object]) -> tuple[float, float]:
    """Seconds of no step, and of one, of work whose time is a straight line over its steps."""
    work(2)  # memory is allocated, kernels are chosen
    short = clock(lambda: work(2))
    long = clock(lambda: work(2 + STEPS))
    slope = max((long - short) / STEPS, 0.0)
    return max(short - 2 * slope, 0.0), slope


def _clock(machine: Device, threads: int) -> Clock:
    """A stop watch for a call."""

    def stop(work: Callable[[], object]) -> float:
        if machine.torch_device.type == "cuda":
            torch.cuda.synchronize()
            began = time.perf_counter()
            work()
            torch.cuda.synchronize()
            return time.perf_counter() - began
        began = time.process_time()
        work()
        return (time.process_time() - began) / threads

    return stop


def _started(*modules: str) -> float:
    """Processor time of an interpreter that imports some modules."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
