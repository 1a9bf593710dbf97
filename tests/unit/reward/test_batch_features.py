"""Batches as vectors: numbers by hand, on images whose embeddings lie on a line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tables import detections, line, params, record

from mgral.core.errors import MgralError
from mgral.core.types import Embeddings, Floats
from mgral.reward.batch_features import describer, with_objects
from mgral.reward.lookup_table import LookupTable


def represent(batches: list[list[int]], embeddings: Embeddings, kind: str, centroids: int = 4) -> Floats:
    return describer(embeddings, kind, centroids)(batches)


def test_an_embedding_batch_is_the_mean_of_its_images() -> None:
    vectors = represent([[1, 3], [3, 2, 1]], line(0, 1, 5), "embedding")
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[2.5, 0], [2, 0]]


def test_index_batches_differ_by_the_images_only_one_holds() -> None:
    vectors = represent([[1, 2, 3], [3, 4, 1]], line(0, 0, 0, 0, 0), "index")
    assert vectors.tolist() == [[1, 1, 1, 0, 0], [1, 0, 1, 1, 0]]
    table = LookupTable([record((1, 2, 3), 0.2), record((4, 5), 0.4)], line(0, 0, 0, 0, 0), params(1, 1, "index"))
    assert table.price([[1, 3, 4]]).distance.tolist() == pytest.approx([math.sqrt(2)])  # images 2 and 4


def test_moments_are_the_mean_and_the_spread_end_to_end() -> None:
    # Places 1, 3, 8: mean 4, variance (9 + 1 + 16) / 3; the second dimension is constant.
    vectors = represent([[1, 2, 3], [2]], line(1, 3, 8), "moments")
    assert vectors[0].tolist() == pytest.approx([4, 0, math.sqrt(2 * 26 / 3), 0])
    assert vectors[1].tolist() == [3, 0, 0, 0]


def test_both_moments_weigh_the_same_between_random_batches() -> None:
    """Squared distances between batches of a normal pool: half from the means, half from the spreads."""
    rng = np.random.default_rng(0)
    embeddings = Embeddings(np.arange(4000), rng.normal(size=(4000, 40)).astype(np.float32))
    vectors = represent([rng.choice(4000, 50, replace=False).tolist() for _ in range(200)], embeddings, "moments")
    mean, spread = vectors[:, :40].var(axis=0).sum(), vectors[:, 40:].var(axis=0).sum()
    assert spread / mean == pytest.approx(1, abs=0.1)


def test_counts_are_shares_of_two_clusters() -> None:
    # Images at -1, 1 and 99, 101: centroids 0 and 100, squared distance to the nearest 1 each, so s² = 1. The
    # other centroid is farther by about 100² and gets nothing. Three images left and one right: 3/4 and 1/4.
    embeddings = line(-1, 1, 99, 101)
    vectors = represent([[1, 2, 3], [3, 4], [1, 2, 3, 4]], embeddings, "counts", centroids=2)
    left = 0 if vectors[0, 0] > vectors[0, 1] else 1
    assert vectors[:, left].tolist() == pytest.approx([2 / 3, 0, 1 / 2])
    assert vectors.sum(axis=1).tolist() == pytest.approx([1, 1, 1])


def test_counts_are_soft_between_centroids() -> None:
    # Images at 0 and 2 thrice each, and one at 1. k-means puts the middle one to either side; say left: centroids
    # 1/4 and 2. Squared distances to the nearest: 3 * 1/16, 9/16, 3 * 0: s² = (12/16) / 7 = 3/28. The image at 1 is
    # at 9/16 and 1: e^(-(9/16) / (2 s²)) : e^(-1 / (2 s²)), the left share is 1 / (1 + e^(-(7/16) * 14/3)).
    embeddings = line(0, 0, 0, 1, 2, 2, 2)
    shares = represent([[4]], embeddings, "counts", centroids=2)[0]
    assert shares.max() == pytest.approx(1 / (1 + math.exp(-(7 / 16) * (14 / 3))), rel=1e-5)
    assert shares.sum() == pytest.approx(1)


def test_objects_are_expected_ones_in_deviations_of_the_pool() -> None:
    # Of class 0: 1, 0, 0.5, 0.5, on the mean 0.5; variance (0.25 + 0.25) / 4 = 1/8. Class 1 is expected nowhere.
    seen = {1: detections(0, 0), 2: detections(), 3: detections(0), 4: detections(0)}
    embeddings = with_objects(line(7, 7, 7, 7), seen, 2)
    assert embeddings.objects is not None
    assert embeddings.objects.tolist() == [[1, 0], [0, 0], [0.5, 0], [0.5, 0]]
    vectors = represent([[1, 2], [1, 3], [2]], embeddings, "objects")
    assert vectors.tolist() == [
        [pytest.approx(0.5 * math.sqrt(8)), 0],
        [pytest.approx(0.75 * math.sqrt(8)), 0],
        [0, 0],
    ]
    with pytest.raises(MgralError, match="objects needs the detections of the pool; give --detections"):
        represent([[1]], line(7), "objects")
    with pytest.raises(MgralError, match="image 5 has an embedding and is not among the detections"):
        with_objects(line(1, 2, 3, 4, 5), seen, 2)


def test_counts_repeat_to_the_last_bit_and_take_no_more_centroids_than_images() -> None:
    rng = np.random.default_rng(2)
    embeddings = Embeddings(np.arange(500), rng.normal(size=(500, 32)).astype(np.float32))
    batches = [rng.choice(500, 20, replace=False).tolist() for _ in range(5)]
    one, other = (represent(batches, embeddings, "counts", 16) for _ in range(2))
    assert one.shape == (5, 16)
    assert one.tobytes() == other.tobytes()
    assert represent([[1], [2]], line(0, 5, 9), "counts", 16).shape == (2, 3)


def test_order_within_a_batch_is_of_no_account() -> None:
    # (1e20 + 1) - 1e20 = 0 in float64, (1e20 - 1e20) + 1 = 1
    first, other = represent([[1, 2, 3], [1, 3, 2]], line(1e20, 1, -1e20), "embedding")
    assert first.tolist() == other.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([[1], [7]], "batch 1: image 7 is not in the pool"),
        ([[1, 1]], "batch 0: holds an image twice"),
        ([[]], "batch 0: holds no image"),
        ([], "no batch"),
    ],
)
def test_unfit_batches_are_refused(batches: list[list[int]], message: str) -> None:
    with pytest.raises(MgralError, match=message):
        represent(batches, line(0, 1, 2), "embedding")


def test_an_unknown_representation_is_refused() -> None:
    with pytest.raises(MgralError, match="did you mean 'embedding'"):
        represent([[1]], line(0), "embeding")
