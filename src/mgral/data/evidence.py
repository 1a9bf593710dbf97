"""What a strategy may use to choose images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.core.errors import MgralError
from mgral.core.types import Activation, Boxes, Detections, Doubles, Embeddings, Floats, ImageScores, Patterns
from mgral.data.pool import Pool


@dataclass(frozen=True)
class Evidence:
    """What a strategy may use to choose images.

    The methods return a part of the evidence or raise the one error that names what is missing. Their last argument,
    ``user``, says who asks, for the message: ``strategy entropy``, ``proxy.generators.cluster``.

    Attributes:
        pool: labelled and unlabelled ids.
        classes: class names; detections' labels index them.
        detections: of every image of the pool, after non-maximum suppression, best score first.
        activation: whether ``detections`` hold softmax or sigmoid probabilities.
        embeddings: of every image of the pool.
        agent: file of the trained policy.
        labels: ground truth of the labelled images.
        truth: ground truth of every image of the pool, the unlabelled ones too. It exists in simulations only; a
            strategy that reads it cheats.
        image_scores: of every unlabelled image, by the strategy's own ``score``.
        competence: [C] AP on val of the cycle's detector, by class, 0..1; 0 for a class without ground truth there.
        patterns: local patterns of every image of the pool, by a backbone that is no part of the detector.
        held_out: detections of the labelled images that are held out from the replay detector, by that detector.
        more_held_out: the same of each further replay split, which holds out images of its own from its own detector.
        quality: of detection, expected by the rank of an image's entropy: intercept and slope, see
            :func:`mgral.reward.detection_quality.quality_by_rank`; 1 everywhere where it was not measured.
        price: file of the table's price of batches, where its representation is ``growth``.
        polish: passes over an agent's batch that exchange images where that raises this price.
        caution: standard deviations that are subtracted from the price in these exchanges.
        certainty: probability, by the price, from which another batch is chosen over that of the rule in its prior.
        confident: detections on val with a score of at least 0.3 by the cycle's detector, and how many of them are
            right.
    """

    pool: Pool
    classes: tuple[str, ...]
    detections: Mapping[int, Detections] | None = None
    activation: Activation | None = None
    embeddings: Embeddings | None = None
    agent: Path | None = None
    labels: Mapping[int, Boxes] | None = None
    truth: Mapping[int, Boxes] | None = None
    image_scores: ImageScores | None = None
    competence: Doubles | None = None
    held_out: Mapping[int, Detections] | None = None
    patterns: Patterns | None = None
    quality: tuple[float, float] = (1.0, 0.0)
    price: Path | None = None
    polish: int = 0
    caution: float = 0.0
    certainty: float = 0.0
    confident: tuple[int, int] | None = None
    more_held_out: tuple[Mapping[int, Detections], ...] = ()

    def detections_of(self, ids: Iterable[int], user: str) -> Mapping[int, Detections]:
        """The detections, among them those of every image of ``ids``.

        Raises:
            MgralError: there are no detections, or one of the images has no entry (one without detections has an
                empty one).
        """
        if self.detections is None:
            raise _without_detections(user)
        missing = next((i for i in ids if i not in self.detections), None)
        if missing is not None:
            raise MgralError(f"image {missing} has no detections entry; run `mgral embed` again for detections.npz")
        return self.detections

    def activation_for(self, user: str) -> Activation:
        """How the detections' probabilities are normalised.

        Raises:
            MgralError: there are no detections, or their probabilities were not kept.
        """
        if self.activation is None:
            raise _without_detections(user)
        _require_probabilities(self.detections or {}, user)
        return self.activation

    def embeddings_of(self, ids: Sequence[int], user: str) -> Floats:
        """[n, 256] the embeddings of some images, in their order.

        Raises:
            MgralError: there are no embeddings, or one of the images has none.
        """
        if self.embeddings is None:
            raise MgralError(f"{user}: needs embeddings; {_give('embeddings', 'made by `mgral embed`')}")
        return self.embeddings.rows(ids)

    def patterns_of(self, ids: Sequence[int], user: str) -> Patterns:
        """The local patterns, among them those of every image of ``ids``.

        Raises:
            MgralError: there are none, or one of the images has none.
        """
        if self.patterns is None:
            raise MgralError(
                f"{user}: needs local patterns; {_give('patterns', 'made by `mgral foundation-features`')}"
            )
        self.patterns.rows(ids)
        return self.patterns

    def labels_for(self, user: str) -> Mapping[int, Boxes]:
        """Ground truth of the labelled images. Raises MgralError if it was not given."""
        if self.labels is None:
            raise MgralError(f"{user}: needs the labels of the labelled images (in Python: Evidence.labels)")
        return self.labels

    def truth_of(self, ids: Iterable[int], user: str) -> Mapping[int, Boxes]:
        """Ground truth, among it that of every image of ``ids``.

        Raises:
            MgralError: it was not given, or one of the images has no annotation: the data set is no simulation.
        """
        if self.truth is None:
            raise MgralError(f"{user}: needs the ground truth of the pool; it works in simulations only")
        missing = next((i for i in ids if i not in self.truth), None)
        if missing is not None:
            raise MgralError(f"image {missing} has no annotation; {user} works in simulations only")
        return self.truth

    def image_scores_for(self, user: str) -> ImageScores:
        """The strategy's image scores. Raises MgralError if they were not given."""
        if self.image_scores is None:
            raise MgralError(f"{user}: needs its image scores; {_give('image_scores', 'made by `mgral score`')}")
        return self.image_scores

    def competence_for(self, user: str) -> Doubles:
        """[C] AP on val by class. Raises MgralError if it was not given."""
        if self.competence is None:
            given = _give("competence", "the cycle's metrics.json")
            raise MgralError(f"{user}: needs the AP of the cycle's detector; {given}")
        return self.competence

    def confident_for(self, user: str) -> tuple[int, int]:
        """Confident detections on val, and how many of them are right. Raises MgralError if they were not given."""
        if self.confident is None:
            given = _give("competence", "the cycle's metrics.json", "confident")
            raise MgralError(f"{user}: needs the confident detections on val; {given}")
        return self.confident

    def held_out_for(self, user: str) -> list[Mapping[int, Detections]]:
        """By replay split what its detector finds in its held-out images. Raises MgralError if it was not given."""
        if self.held_out is None:
            raise MgralError(f"{user}: needs held-out images; {_give('held_out', 'made by `mgral embed` for replay')}")
        splits = [self.held_out, *self.more_held_out]
        for found in splits:
            _require_probabilities(found, user)
        return splits


def _require_probabilities(detections: Mapping[int, Detections], user: str) -> None:
    some = next((one for one in detections.values() if len(one)), None)
    if some is not None and not some.probs.shape[1]:
        raise MgralError(
            f"{user}: detections.npz has no class probabilities; run `mgral embed` again, with --keep probabilities"
        )


def _without_detections(user: str) -> MgralError:
    return MgralError(f"{user}: needs detections; {_give('detections', 'made by `mgral embed`')}")


def _give(field: str, made: str, in_python: str = "") -> str:
    """How evidence is given to a verb, and how to :func:`mgral.select`."""
    return f"give --{field.replace('_', '-')}, {made} (in Python: Evidence.{in_python or field})"
