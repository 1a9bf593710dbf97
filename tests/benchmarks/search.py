"""Ten iterations of the search on a pool of VOC's size, against a loop of LSTM cells under autograd.

python tests/benchmarks/search.py. To reach: ratio 5 and 15 seconds on two cores; published: 180 s on four GPUs.
"""

from __future__ import annotations

import time

import _measure
import torch
from torch import Tensor

from mgral.agent import reinforce
from mgral.agent.policy import Policy

THREADS = 2
IMAGES, WIDTH, HIDDEN = 15_551, 256, 257
BATCH, RECORDS = 1_000, 200
ITERATIONS = 10
PLAIN_ITERATIONS = 2  # of the plain loop, whose time is given per iteration


class PlainPolicy(Policy):
    """The paper's scan as it is written down: the score of each image is an input of the next step."""

    def forward(self, features: Tensor) -> Tensor:
        weights = self.lstm.all_weights[0]
        state = features.new_zeros(1, self.hidden), features.new_zeros(1, self.hidden)
        score, scores = features.new_zeros(1, 1), []
        for feature in features:
            state = torch.lstm_cell(torch.cat([feature[None], score], dim=1), state, *weights)
            score = self.decoder(state[0])
            scores.append(score)
        return torch.cat(scores).view(-1)


def main() -> None:
    small = _measure.small(__doc__ or "", THREADS)
    images, batch, records = (300, 20, 10) if small else (IMAGES, BATCH, RECORDS)
    embeddings = _measure.pool(images, WIDTH)
    table = _measure.table(embeddings, records, batch)

    def timed(policy: Policy, iterations: int) -> tuple[float, reinforce.Row]:
        params = _measure.search_params(iterations)
        start = time.perf_counter()
        result = reinforce.run(policy, embeddings, embeddings.ids.tolist(), table, batch, params, 0)
        return time.perf_counter() - start, result.rows[0]

    timed(Policy(WIDTH, HIDDEN, 0), 1)  # kernels are chosen and memory is fetched
    seconds, first = timed(Policy(WIDTH, HIDDEN, 0), ITERATIONS)
    peak = _measure.peak_mib()
    plain, same = timed(PlainPolicy(WIDTH, HIDDEN, 0), PLAIN_ITERATIONS)
    print(f"{images} images, {ITERATIONS} iterations: {seconds:.2f} s; plain: {plain / PLAIN_ITERATIONS:.2f} s each")
    if abs(first.entropy - same.entropy) > 1e-4:
        raise SystemExit(f"the scans disagree: entropy {first.entropy} against {same.entropy}")
    _measure.last_line(plain / PLAIN_ITERATIONS * ITERATIONS / seconds, seconds, peak)


if __name__ == "__main__":
    main()
