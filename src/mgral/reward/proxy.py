"""A proxy run: a short training that prices a batch, without its labels or, as replay, with them."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.config.loading import check_semi
from mgral.config.schema import DetectorParams, Evaluation, ProxyRun
from mgral.core import plugins, random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Dataset, Detections, Kind, Record
from mgral.data.image_cache import Cache
from mgral.data.pool import Pool
from mgral.detection import average_precision, feature_cache
from mgral.detection.base import Detector, build_detector, load_detector
from mgral.detection.detectors import command
from mgral.detection.device import Device
from mgral.detection.external import ExternalTrainer, is_external
from mgral.detection.inference import run_inference
from mgral.detection.training import TrainingConfig, fit

WEIGHT_DECAY = 0.0005
WARMUP = 10  # steps

ByClass = tuple[float | None, ...]


@dataclass(frozen=True)
class ProxyTrainer:
    """Trains proxies on one labelled pool.

    All of a kind share initial weights, and order and augmentation of the labelled images (common random numbers), so
    that their differences come from the batches.

    Attributes:
        dataset: ground truth; a batch's own is looked at for ``replay`` alone.
        cache: images, and their boxes.
        pool: labelled ids and cycle.
        weights: of a detector trained on ``pool``, the initial ones if ``proxy.start`` is ``detector``; else unused.
            For replay that is not the cycle's own, which has seen the batch.
        params: of detector, proxy and evaluation.
        device: device and precision.
        seed: of the experiment.
        maps: ``backbone_features.npy`` of these weights, of the images that :func:`shown` names, for a frozen backbone.
            None: they are computed again for each proxy.
    """

    dataset: Dataset
    cache: Cache
    pool: Pool
    weights: Path | None
    params: tuple[DetectorParams, ProxyRun, Evaluation]
    device: Device
    seed: int
    maps: Path | None = None

    def train(
        self,
        ids: Sequence[int],
        generator: str,
        kind: Kind = "unlabelled",
        repeat: int = 0,
        rivals: Sequence[Record] = (),
    ) -> Record:
        """Train a proxy on the labelled pool and a batch; its mAP on val is what the batch is worth.

        Args:
            ids: the batch, unlabelled in the pool.
            generator: what drew it, for the record.
            kind: how the batch enters, see :class:`mgral.core.types.Record`. A control's batch still passes through the
                detector, so that batch normalisation counts it among what it averages; nothing else of it is learnt.
            repeat: above 0, train with other random numbers: what chance alone does to this batch's mAP.
            rivals: records of random batches of the same cycle and kind. If the proxy lies below all of them after
                ``proxy.stop_at`` of the steps, it is stopped there. None: it is not.

        Raises:
            MgralError: the term is not for this detector; weights that do not fit; a loss that is not finite.
        """
        began = time.perf_counter()
        chosen, proxy, evaluate = self.params
        common = random_streams.stream(self.seed, "proxy", self.pool.cycle, *(("repeat", repeat) if repeat else ()))
        if is_external(chosen.name):
            external, by_class = self._external(ids, kind, common)
            seconds = time.perf_counter() - began
            return Record(tuple(sorted(ids)), generator, external, seconds, kind, self.pool.cycle, per_class=by_class)
        cache, device, labelled = self.cache, self.device, self.pool.labelled_ids
        detector = self._detector(kind, common)
        val = self.dataset.ids("val")
        known = self._activations(detector, kind, val) if proxy.backbone == "frozen" else None

        def score() -> tuple[float, ByClass]:
            return self._score(run_inference(detector, cache, val, evaluate, device, known).detections)

        race = Race(proxy.judged_after, lambda: score()[0], rivals)
        plan = TrainingConfig(proxy.steps, proxy.batch_size, proxy.learning_rate, WEIGHT_DECAY, WARMUP, augment=True)
        if kind == "replay":
            fit(detector, cache, labelled, plan, device, common, backbone_features=known, halt=race, added=ids)
        else:
            semi = plugins.load("semi", proxy.semi)
            given = {**proxy.options, "weight": 0.0} if kind == "control" else proxy.options
            options = semi.Options.parse(given, "proxy.options")
            shown_to = cache.inputs(ids), cache.inputs(labelled)
            term = semi.build(options, cache, *shown_to, plan, device, common)
            fit(detector, cache, labelled, plan, device, common, term, backbone_features=known, halt=race)
        mAP: float
        per_class: ByClass | None
        mAP, per_class = (race.expected, None) if race.lost else score()
        seconds = time.perf_counter() - began
        return Record(
            tuple(sorted(ids)), generator, mAP, seconds, kind, self.pool.cycle, race.partway, race.lost, per_class
        )

    def _score(self, found: Mapping[int, Detections]) -> tuple[float, ByClass]:
        """mAP and AP by class on val."""
        val, most = self.dataset.ids("val"), self.params[2].max_detections
        result = average_precision.evaluate(self.dataset, found, val, most)
        return result["mAP"], tuple(result["per_class"][name] for name in self.dataset.classes)

    def _external(self, ids: Sequence[int], kind: Kind, common: int) -> tuple[float, ByClass]:
        """mAP and AP by class on val of a replay proxy that a user's command trains, from scratch or the detector."""
        chosen, proxy, evaluate = self.params
        if kind != "replay":
            raise MgralError("proxy.kind: the detector command has replay proxies alone; set proxy.kind: replay")
        options = command.Options.parse(chosen.options, "detector.options")
        trainer = ExternalTrainer(self.dataset, self.cache, options, evaluate)
        with tempfile.TemporaryDirectory() as name:
            start = None
            if proxy.start == "detector":
                assert self.weights is not None
                trainer.load(self.weights, Path(name, "start"))
                start = trainer.weights
            trainer.train([*self.pool.labelled_ids, *sorted(ids)], common, Path(name, "proxy.ckpt"), start)
            val = self.dataset.ids("val")
            found = trainer.infer(val, embed=False).detections
        return self._score(found)

    def _detector(self, kind: Kind, common: int) -> Detector:
        """The detector that a proxy starts as."""
        chosen, proxy, _ = self.params
        initial = random_streams.stream(common, "weights")
        detector = build_detector(chosen.name, self.dataset.classes, self.cache.size, chosen.options, initial)
        if kind != "replay":
            check_semi(proxy.semi, detector.activation)
        if proxy.start == "detector":
            assert self.weights is not None
            load_detector(detector, self.weights)
        if proxy.backbone == "frozen":
            detector.freeze_backbone()
        return detector

    def _activations(self, detector: Detector, kind: Kind, val: Sequence[int]) -> feature_cache.BackboneFeatures:
        ids = shown(self.pool, kind, val)
        if self.maps is None:
            return feature_cache.make(detector, self.cache, ids, self.device)
        return feature_cache.read(detector, self.cache.inputs(ids), self.maps)


class Race:
    """Looks at a run once, and stops it if it then lies below all its rivals.

    Milder than median stopping (Golovin et al. 2017): what is stopped should be hopeless, and not the lesser half.

    Attributes:
        partway: mAP when it was looked at, 0..1; None before that.
        lost: whether the run was stopped.
    """

    def __init__(self, after: int, score: Callable[[], float], rivals: Sequence[Record]) -> None:
        self._after, self._score = after, score
        self._rivals = [(rival.partway, rival.mAP) for rival in rivals if rival.partway is not None]
        self.partway: float | None = None
        self.lost = False

    def __call__(self, step: int) -> bool:
        """Whether the training ends after this step."""
        if step == self._after:
            self.partway = self._score()
            self.lost = bool(self._rivals) and self.partway < min(partway for partway, _ in self._rivals)
        return self.lost

    @property
    def expected(self) -> float:
        """mAP at the end, 0..1, if the run had kept its distance from the mean of its rivals."""
        assert self.partway is not None
        gains = [whole - partway for partway, whole in self._rivals]
        return min(max(self.partway + math.fsum(gains) / len(gains), 0.0), 1.0)


def shown(pool: Pool, kind: Kind, val: Sequence[int]) -> list[int]:
    """Images whose labels proxies of a kind learn from or are judged by, ascending.

    Args:
        pool: that of the proxies; what is unlabelled there is held out, for replay, and its labels are known.
        kind: of the proxies.
        val: ids of the split val.
    """
    return sorted({*pool.labelled, *val, *(pool.unlabelled if kind == "replay" else ())})
