"""Ten iterations of the search on a pool of VOC's size, against a loop of LSTM cells under autograd.

python tests/benchmarks/search.py. To reach: 5 seconds on two cores; published: 180 s on four GPUs. The recurrence alone
is 0.39 s an iteration in float32 on one core of the machine in docs/performance.md. ``--bf16 1`` scans in bfloat16.
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
FEW = 2  # iterations of the others, whose time is given per iteration
PARALLEL = 64  # as params/base.yaml has it


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
    given = _measure.read(__doc__ or "", THREADS, bf16=0)
    images, batch, records = (1_100, 20, 10) if given.small else (IMAGES, BATCH, RECORDS)
    iterations, few = (1, 1) if given.small else (ITERATIONS, FEW)
    embeddings = _measure.pool(images, WIDTH)
    table = _measure.table(embeddings, records, batch)

    def timed(policy: Policy, iterations: int) -> tuple[float, float, reinforce.Row]:
        params = _measure.search_params(iterations)
        start, worked = time.perf_counter(), time.process_time()
        result = reinforce.run(policy, embeddings, embeddings.ids.tolist(), table, batch, params, 0)
        return time.perf_counter() - start, time.process_time() - worked, result.rows[0]

    def parts() -> Policy:
        return Policy(WIDTH, HIDDEN, 0, parallel=PARALLEL, precision="bfloat16" if given.bf16 else "float32")

    timed(parts(), 1)  # kernels are chosen and memory is fetched
    seconds, work, first = timed(parts(), iterations)
    peak = _measure.peak_mib()
    _, chain, second = timed(Policy(WIDTH, HIDDEN, 0), few)
    _, plain, same = timed(PlainPolicy(WIDTH, HIDDEN, 0), few)
    print(f"{images} images, {iterations} iterations: {seconds:.2f} s by the clock, {work:.2f} s of processor time")
    print(
        f"an iteration, processor time: {work / iterations:.3f} s; one chain {chain / few:.3f}; plain {plain / few:.3f}"
    )
    if max(abs(first.entropy - same.entropy), abs(second.entropy - same.entropy)) > 1e-4:
        raise SystemExit(f"the scans disagree: entropy {first.entropy}, {second.entropy}, {same.entropy}")
    _measure.last_line(plain / few * iterations / work, seconds, peak)


if __name__ == "__main__":
    main()
