"""What the agent reads of images where batches have a price: the embedding, and a few numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.core.types import Embeddings, Floats, Ints, places_of


class AgentState:
    """Embeddings of some images and numbers beside them, as one row an image.

    Rows are read where they are asked for, so the embeddings may lie in a mapped file.
    """

    def __init__(self, ids: Ints, embeddings: Embeddings, beside: Floats) -> None:
        """Put numbers beside embeddings.

        Args:
            ids: [n] int64, ascending.
            embeddings: of these images, and of others.
            beside: [n, k] float32.

        Raises:
            MgralError: one of the images has no embedding.
        """
        self.ids, self._embeddings, self._beside = ids, embeddings, beside
        self._places = embeddings.places(ids)

    @property
    def width(self) -> int:
        """d + k."""
        return self._embeddings.width + int(self._beside.shape[1])

    def rows(self, ids: Sequence[int]) -> Floats:
        """[len(ids), d + k], in the order asked for. Raises MgralError for an image that is none of these."""
        at = places_of(self.ids, ids, "number in the price; run `mgral table` again")
        own = self._embeddings.vectors[self._places[at]].astype(np.float32, copy=False)
        return np.hstack([own, self._beside[at]])

    def columns(self, some: slice) -> Floats:
        """[n, …] some columns of all images; no more of the embeddings is read."""
        inner = self._embeddings.width
        low, high = some.start, min(some.stop, self.width)
        own = self._embeddings.vectors[self._places, low : min(high, inner)]
        return np.hstack([own, self._beside[:, max(low - inner, 0) : max(high - inner, 0)]])
