"""Which proxies a cycle trains, and which of them share a job."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mgral.config.schema import Proxy
from mgral.core import run_layout
from mgral.core.errors import MgralError, nearest

GENERATORS = (
    "random",
    "uncertain",
    "cluster",
    "class",
    "designed",
)  # of the first round, in the order in which they draw

READ_PROBABILITIES = frozenset({"uncertain", "class", "designed"})
"""Generators that read the class probabilities of detections."""


@dataclass(frozen=True)
class Proxies:
    """Proxies of one draw of batches; paths are relative to the cycle's folder.

    Attributes:
        folder: of ``batches.json``; a path that ends in a slash, or empty.
        kind: of their records.
        second: whether the batches are a second round, drawn by an agent.
        names: of the records below ``folder``, without ``.json``; :func:`options` gives what ``mgral proxy`` is told.
        rivals: records of the random batches of the first round, against which others race (``proxy.stop_at``).
        split: the replay split that they are of, from 1; 1 for unlabelled ones.
    """

    folder: str
    kind: str
    second: bool
    names: list[str]
    rivals: list[str]
    split: int = 1

    @property
    def files(self) -> list[str]:
        """The records."""
        return [f"{self.folder}{name}.json" for name in self.names]

    @property
    def rule(self) -> str:
        """``proxy``, ``proxy_second_round_replay``, ``proxy_replay_2`` of the second split, and so on."""
        return "_".join(["proxy", *Path(self.folder).parts]).replace("-", "_")

    def jobs(self, params: Proxy) -> Iterator[tuple[int, list[str], list[str]]]:
        """Of each job: the number of proxies in those before it, its names, and the rivals if these race.

        Where hopeless proxies are stopped, jobs of what is never stopped come first; random batches are among it.
        """
        racing = {n for n in self.names if n.startswith("proxies/") and f"{self.folder}{n}.json" not in self.rivals}
        if not params.stop_at:
            racing = set()
        position = 0
        for raced in (False, True):
            names = [name for name in self.names if (name in racing) == raced]
            for some in (names[k : k + params.per_job] for k in range(0, len(names), params.per_job)):
                yield position, some, self.rivals if raced else []
                position += len(some)


def proxies(params: Proxy) -> list[Proxies]:
    """All proxies of a cycle, those of an agent's round after those it is trained on."""
    found = []
    drawn = [(kind, split) for kind in params.kinds for split in range(1, params.splits_of(kind) + 1)]
    for kind, split in drawn:
        folder = run_layout.replay(split) if kind == "replay" else run_layout.FIRST
        first, second = ([f"proxies/{k}" for k in range(count)] for count in params.rounds(kind))
        random = allot(len(first), params.first_shares)["random"]
        rivals = [f"{folder}{name}.json" for name in first[:random]]
        if kind == "unlabelled":
            first += [f"control/{k}" for k in range(params.control)]
        first += [f"repeats/{k}" for k in range(1, params.repeats + 1)]
        found += [
            Proxies(folder, kind, False, first, rivals, split),
            Proxies(f"{run_layout.SECOND}{folder}", kind, True, second, rivals, split),
        ]
    return [some for some in found if some.names]


def options(records: Iterable[str]) -> list[str]:
    """What tells ``mgral proxy`` to make some records: the numbers of their batches and repetitions, and the split.

    Args:
        records: of one split; paths of the files: ``…/proxies/3.json``, ``…/control/0.json``, ``…/repeats/1.json``.
    """
    names = {run_layout.PROXIES: "--batch", run_layout.CONTROL: "--control", run_layout.REPEATS: "--repeat"}
    numbers: dict[str, list[str]] = {name: [] for name in names}
    split = 1
    for path in map(Path, records):
        numbers[path.parent.name].append(path.stem)
        split = run_layout.split_of(f"{path.parent.parent.name}/")
    found = [text for name, some in numbers.items() if some for text in (names[name], *some)]
    return found + (["--split", str(split)] if split > 1 else [])


def allot(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Divide ``count`` batches among the kinds by largest remainder (Hamilton).

    Each kind gets the whole part of its quota, count · share / Σ shares; what is left goes to the largest
    fractions, equal ones in the order of ``GENERATORS``.

    Raises:
        MgralError: an unknown kind, a negative share, or no share above zero.
    """
    for kind, share in shares.items():
        if kind not in GENERATORS:
            raise MgralError(f"proxy.generators: unknown kind '{kind}'; {nearest(kind, GENERATORS)}")
        if not 0 <= share < math.inf:
            raise MgralError(f"proxy.generators.{kind}: the share is {share}; give a number of at least 0")
    total = sum(shares.values())
    if total <= 0:
        raise MgralError("proxy.generators: the shares must not all be zero; raise one of them")
    kinds = [kind for kind in GENERATORS if kind in shares]
    quotas = {kind: count * shares[kind] / total for kind in kinds}
    numbers = {kind: math.floor(quotas[kind]) for kind in kinds}
    by_fraction = sorted(kinds, key=lambda kind: numbers[kind] - quotas[kind])
    for kind in by_fraction[: count - sum(numbers.values())]:
        numbers[kind] += 1
    return numbers
